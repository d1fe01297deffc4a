import type { Command } from 'commander'
import { CONNECTION_HELP, connectionString, type LoginOptions, withLogin } from '../connection.ts'
import { EXIT, type ExitCode } from '../failure.ts'
import { FOLLOW_HELP, follow, untilInterrupted } from '../follow.ts'
import { HubService } from '../hub-service.ts'
import { deploymentProgress, firmwareProgress } from '../progress.ts'
import { block, openView, summary } from '../view.ts'
import { type FollowFlags, followOptions, withFollow } from './flags.ts'

interface WatchOptions extends LoginOptions, FollowFlags {
  readonly device: string
  readonly forever: boolean
}

const HELP = `
Examples:
  pi-adu-operator watch --device pi1              until nothing is running any more
  pi-adu-operator watch --device pi1 --forever    until Ctrl-C
Shows deployments of Device Update (deviceUpdate) and of the method firmwareUpdate (iothubDM). Ends with ${EXIT.failed} when
what was running has failed.
`

export function addWatch(program: Command): void {
  const command = program
    .command('watch')
    .description('shows what is running on one device, of both patterns, and follows it to its end')
    .requiredOption('--device <id>', 'device id')
  withFollow(withLogin(command))
    .option('--forever', 'go on when nothing is running', false)
    .addHelpText('after', HELP + CONNECTION_HELP + FOLLOW_HELP)
    .action(watch)
}

async function watch(options: WatchOptions): Promise<void> {
  const { device, json, forever } = options
  const hub = await HubService.open(await connectionString(options))
  const view = await openView(json)
  const wasRunning = new Set<string>()
  const look = async (): Promise<ExitCode | undefined> => {
    const { connectionState, properties } = await hub.twin(device)
    const all = [deploymentProgress(properties.desired, properties.reported), firmwareProgress(properties.reported)]
    const found = all.filter(each => each !== undefined)
    const lines = found.flatMap(each => block(device, each))
    const nothing = `· ${device}  has never been updated through this hub`
    const state = `  ${device} is ${connectionState === 'Connected' ? 'connected' : 'not connected'}`
    view.show(
      [...(lines.length > 0 ? lines : [nothing]), state],
      found.map(each => summary(device, each)).join('\n          ') || nothing,
      { deviceId: device, connectionState, updates: found },
    )
    for (const { pattern, phase } of found) if (phase === 'running') wasRunning.add(pattern)
    if (forever || found.some(({ phase }) => phase === 'running')) return undefined
    return found.some(({ pattern, phase }) => phase === 'failed' && wasRunning.has(pattern)) ? EXIT.failed : EXIT.ok
  }
  const onTrouble = (why: string, ms: number): void => view.trouble(`${why} (for ${Math.round(ms / 1000)} s)`)
  try {
    process.exitCode = await follow(look, onTrouble, followOptions(options), untilInterrupted())
  } finally {
    await view.end()
  }
}
