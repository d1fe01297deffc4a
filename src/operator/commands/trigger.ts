import type { Command } from 'commander'
import { openView } from '../../cli/live-view.ts'
import { jsonText, onOneLine } from '../../domain/terminal.ts'
import { CONNECTION_HELP, connectionString, type LoginOptions, withLogin } from '../connection.ts'
import { EXIT, type ExitCode, Failure } from '../failure.ts'
import { FOLLOW_HELP, follow, Stopped, unlessAborted, untilInterrupted } from '../follow.ts'
import { HubService } from '../hub-service.ts'
import { firmwareProgress } from '../progress.ts'
import { block, summary } from '../view.ts'
import {
  type FollowFlags,
  followOptions,
  type PayloadFlags,
  payloadOf,
  wholeNumber,
  withFollow,
  withPayload,
} from './flags.ts'

interface TriggerOptions extends LoginOptions, FollowFlags, PayloadFlags {
  readonly device: string
  readonly connectTimeout: number
  readonly watch: boolean
}

const HELP = `
Examples:
  pi-adu-operator trigger --device pi1 --uri https://files.example.com/system.swu --sha256 9f86d0…
  pi-adu-operator trigger --device pi1 --uri https://files.example.com/system.swu --file system.swu
      --file takes hash, size and version from a copy of the bundle that you have here
  pi-adu-operator trigger --device pi1 --uri https://… --no-watch --json
`

export function addTrigger(program: Command): void {
  const command = program
    .command('trigger')
    .description('calls the method firmwareUpdate on one device and follows the update to its end')
    .requiredOption('--device <id>', 'device id')
  withFollow(withLogin(withPayload(command)))
    .option(
      '--connect-timeout <seconds>',
      'how long to wait for a device that is not connected',
      wholeNumber(0, 300),
      0,
    )
    .option('--no-watch', 'stop after the device’s answer')
    .addHelpText('after', HELP + CONNECTION_HELP + FOLLOW_HELP)
    .action(trigger)
}

async function trigger(options: TriggerOptions): Promise<void> {
  const { device, json } = options
  const payload = await payloadOf(options)
  const hub = await HubService.open(await connectionString(options))
  // The twin may still show an earlier run; that one is not followed.
  const before = shownBy(await hub.twin(device))
  const call = { name: 'firmwareUpdate', payload, responseSeconds: 30, connectSeconds: options.connectTimeout }
  const stop = untilInterrupted()
  const { status, payload: answer } = await unlessAborted(hub.invoke(device, call), stop).catch(error => {
    if (!(error instanceof Stopped)) throw error
    const text = `stopped; the device may have taken the call: pi-adu-operator watch --device ${device} shows it`
    throw new Failure(EXIT.stopped, text)
  })
  const words = typeof answer === 'string' ? answer : JSON.stringify(answer)
  if (status !== 200) throw new Failure(EXIT.refused, `${device} refused (${status}): ${words}`)
  process.stdout.write(
    json
      ? `${jsonText({ deviceId: device, status, answer })}\n`
      : `${onOneLine(`${device} answered ${status}: ${words}`)}\n`,
  )
  if (!options.watch) return

  const view = await openView(json)
  const look = async (): Promise<ExitCode | undefined> => {
    const twin = await hub.twin(device)
    const progress = firmwareProgress(twin.properties.reported)
    if (!progress || shownBy(twin) === before) return undefined
    view.show(block(device, progress), summary(device, progress), { deviceId: device, ...progress })
    if (progress.phase === 'failed') return EXIT.failed
    return progress.phase === 'succeeded' ? EXIT.ok : undefined
  }
  const onTrouble = (why: string, ms: number): void => view.trouble(`${why} (for ${Math.round(ms / 1000)} s)`)
  try {
    process.exitCode = await follow(look, onTrouble, followOptions(options), stop)
  } catch (error) {
    if (!(error instanceof Stopped)) throw error
    throw new Stopped(`pi-adu-operator watch --device ${device} looks again`)
  } finally {
    await view.end()
  }
}

const shownBy = ({ properties }: { readonly properties: { readonly reported: unknown } }): string => {
  const { iothubDM } = properties.reported as { iothubDM?: { firmwareUpdate?: unknown } }
  return JSON.stringify(iothubDM?.firmwareUpdate ?? null)
}
