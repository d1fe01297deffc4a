import type { Command } from 'commander'
import { openView } from '../../cli/live-view.ts'
import { CONNECTION_HELP, connectionString, type LoginOptions, withLogin } from '../connection.ts'
import { EXIT, type ExitCode } from '../failure.ts'
import { FOLLOW_HELP, follow, untilInterrupted } from '../follow.ts'
import { HubService } from '../hub-service.ts'
import { ownState } from '../own-state.ts'
import { deploymentProgress, firmwareProgress, progress2021 } from '../progress.ts'
import { block, summary } from '../view.ts'
import { type FollowFlags, followOptions, withFollow } from './flags.ts'

interface WatchOptions extends LoginOptions, FollowFlags {
  readonly device: string
  readonly forever: boolean
}

const HELP = `
Examples:
  pi-adu-operator watch --device pi1              until no update is running
  pi-adu-operator watch --device pi1 --forever    until Ctrl-C
Shows deployments of Device Update (deviceUpdate; azureDeviceUpdateAgent with the contract of 2021) and of the method firmwareUpdate
(iothubDM), and what the agent says of itself (piAdu). Ends with ${EXIT.failed} if
the update failed.
`

export function addWatch(program: Command): void {
  const command = program
    .command('watch')
    .description('shows the update that one device is running, of either kind, and follows it to its end')
    .requiredOption('--device <id>', 'device id')
  withFollow(withLogin(command))
    .option('--forever', 'keep watching when nothing is running', false)
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
    const { desired, reported } = properties
    const all = [deploymentProgress(desired, reported), progress2021(desired, reported), firmwareProgress(reported)]
    const own = ownState(reported)
    const found = all.filter(each => each !== undefined)
    const lines = found.flatMap(each => block(device, each))
    const nothing = `· ${device}  has never been updated through this hub`
    const state = `  ${device} is ${connectionState === 'Connected' ? 'connected' : 'not connected'}`
    view.show(
      [...(lines.length > 0 ? lines : [nothing]), ...(own?.lines ?? []).map(line => `    ${line}`), state],
      found.map(each => summary(device, each)).join('\n          ') || nothing,
      { deviceId: device, connectionState, updates: found, ...(own ? { own } : {}) },
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
