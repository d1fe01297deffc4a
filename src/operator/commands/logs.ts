import { randomBytes } from 'node:crypto'
import type { Command } from 'commander'
import { systemClock } from '../../adapters/system/clock.ts'
import { openView } from '../../cli/live-view.ts'
import { member } from '../../domain/members.ts'
import { explainExtended } from '../../explain/explain.ts'
import { retrying } from '../../timing/retrying.ts'
import { CONNECTION_HELP, connectionString, type LoginOptions, withLogin } from '../connection.ts'
import { EXIT, Failure } from '../failure.ts'
import { follow, Stopped, untilInterrupted } from '../follow.ts'
import { HubFailure, HubService } from '../hub-service.ts'
import { CONTAINER, containerUrl, fetchBlob, leavePart, mayBeWritten } from '../logs/container.ts'
import { bytes, print, warn } from '../output.ts'
import { type FollowFlags, followOptions, withFollow } from './flags.ts'

interface LogsOptions extends LoginOptions, FollowFlags {
  readonly device: string
  readonly out: string
  readonly containerFile?: string
}

const HELP = `
Examples:
  pi-adu-operator logs --device pi1 --out pi1.tar.gz --container-file container.url
      the device uploads its support bundle (logs, state, settings; no secrets), and it is fetched from there
  az storage container generate-sas --account-name ACCOUNT --name CONTAINER --permissions racw --expiry 2026-12-01T12:00Z --https-only
      gives the signature: the file has the line https://ACCOUNT.blob.core.windows.net/CONTAINER?SIGNATURE
The URL of the container comes from --container-file or ${CONTAINER}. It is never shown, and is in the desired properties of the device
only until the device has answered or this program ends. A device that is offline answers when it connects, within --timeout. Other hosts than Azure’s must be in
piAdu.diagnostics.allowedHosts of the device; a bench has its container in hub/container.url of its folder, and needs NODE_EXTRA_CA_CERTS.`

export function addLogs(program: Command): void {
  const command = program
    .command('logs')
    .description('collects the logs of one device through a container of a storage account')
    .requiredOption('--device <id>', 'device id')
    .requiredOption('--out <file.tar.gz>', 'where the support bundle goes')
    .option(
      '--container-file <file>',
      'file with the URL of a container, with a signature that allows to write and read',
    )
  withFollow(withLogin(command))
    .addHelpText('after', HELP + CONNECTION_HELP)
    .action(logs)
}

async function logs(options: LogsOptions): Promise<void> {
  const container = await containerUrl(options.containerFile)
  const hub = await HubService.open(await connectionString(options))
  await mayBeWritten(options.out)
  try {
    await collect(container, hub, options)
  } finally {
    await leavePart(options.out)
  }
}

async function collect(container: URL, hub: HubService, options: LogsOptions): Promise<void> {
  const { device, out, json } = options
  const operationId = `logs-${Date.now().toString(36)}-${randomBytes(3).toString('hex')}`
  const service = { operationId, storageSasUrl: container.href }
  const view = await openView(json)
  const look = async (): Promise<unknown> => {
    const { connectionState, properties } = await hub.twin(device)
    const component = member(properties.reported, 'diagnosticInformation')
    const agent = member(component, 'agent')
    if (member(agent, 'operationId') === operationId) return agent
    const isTaken = member(member(member(component, 'service'), 'value'), 'operationId') === operationId
    const state = isTaken
      ? 'the device collects its logs'
      : connectionState === 'Connected'
        ? 'asked'
        : 'asked; the device is not connected'
    view.show([`▸ ${device}  ${state}`], `${device}  ${state}`, { deviceId: device, operationId, state })
    return undefined
  }
  const onTrouble = (why: string, ms: number): void => view.trouble(`${why} (for ${Math.round(ms / 1000)} s)`)
  let answer: unknown
  let isRefused = false
  // Before the request: no signal may end the program while the request is in the twin.
  const stop = untilInterrupted()
  try {
    await hub.updateDesired(device, { diagnosticInformation: { __t: 'c', service } }).catch(error => {
      // Without an answer, or with a failure of the hub's own, the hub may have it.
      isRefused = error instanceof HubFailure && error.status !== undefined && error.status < 500
      throw error
    })
    answer = await follow(look, onTrouble, followOptions(options), stop)
  } catch (error) {
    throw error instanceof Stopped ? new Failure(EXIT.stopped, 'stopped; the request was taken back') : error
  } finally {
    await view.end()
    // The signature in it is a secret, and whoever reads the twin sees it.
    if (!isRefused)
      await takeBack(hub, device, operationId).catch(error => {
        warn(`the request may still be in the twin of ${device}, with the signature: ${(error as Error).message}`)
      })
  }
  const [resultCode, code] = ['resultCode', 'extendedResultCode'].map(name => member(answer, name))
  if (resultCode !== 200)
    throw new Failure(EXIT.failed, `${device} did not upload its logs (${resultCode}): ${whyOf(code)}`)
  const size = await fetchBlob(container, `${device}/${operationId}/pi-adu/support.tar.gz`, out, stop)
  print(json, { deviceId: device, operationId, file: out, bytes: size }, [`${out}: ${bytes(size)}`])
}

const MOST_TRIES = 4

/** Removes our request from the twin. A later one is somebody else's, and stays. Errors: HubFailure. */
async function takeBack(hub: HubService, device: string, operationId: string): Promise<void> {
  const work = async (): Promise<void> => {
    const { desired } = (await hub.twin(device)).properties
    const wanted = member(member(desired, 'diagnosticInformation'), 'service')
    if (member(wanted, 'operationId') === operationId) await hub.updateDesired(device, { diagnosticInformation: null })
  }
  const pause = (error: unknown, failures: number) =>
    error instanceof HubFailure && error.passing && failures < MOST_TRIES ? 1_000 * failures : undefined
  await retrying(work, { pause, onRetry: () => {} }, systemClock, new AbortController().signal)
}

function whyOf(code: unknown): string {
  if (typeof code !== 'number') return 'the device does not say why'
  const { means, next } = explainExtended(code)
  return next ? `${means}. ${next}` : means
}
