import type { Command } from 'commander'
import { CONNECTION_HELP, connectionString, type LoginOptions, withLogin } from '../connection.ts'
import { EXIT, type ExitCode, Failure } from '../failure.ts'
import { FOLLOW_HELP, follow, Stopped, untilInterrupted } from '../follow.ts'
import { HubService } from '../hub-service.ts'
import { firmwareProgress } from '../progress.ts'
import { block, openView, summary } from '../view.ts'
import { type FollowFlags, followOptions, type PayloadFlags, payloadOf, withFollow, withPayload } from './flags.ts'

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
    .description('invokes the method firmwareUpdate of one device and follows it to its end')
    .requiredOption('--device <id>', 'device id')
  withFollow(withLogin(withPayload(command)))
    .option('--connect-timeout <seconds>', 'wait so long for a device that is not connected', Number, 0)
    .option('--no-watch', 'end after the device’s answer')
    .addHelpText('after', HELP + CONNECTION_HELP + FOLLOW_HELP)
    .action(trigger)
}

async function trigger(options: TriggerOptions): Promise<void> {
  const { device, json } = options
  const payload = await payloadOf(options)
  const hub = await HubService.open(await connectionString(options))
  // What the twin shows of an earlier run is not ours to follow.
  const before = shownBy(await hub.twin(device))
  const call = { name: 'firmwareUpdate', payload, responseSeconds: 30, connectSeconds: options.connectTimeout }
  const { status, payload: answer } = await hub.invoke(device, call)
  const words = typeof answer === 'string' ? answer : JSON.stringify(answer)
  if (status !== 200) throw new Failure(EXIT.refused, `${device} refused (${status}): ${words}`)
  process.stdout.write(
    json ? `${JSON.stringify({ deviceId: device, status, answer })}\n` : `${device} answered ${status}: ${words}\n`,
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
    process.exitCode = await follow(look, onTrouble, followOptions(options), untilInterrupted())
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
