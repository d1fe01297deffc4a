import { uptime } from 'node:os'
import { readInstalledLayers } from '../../adapters/files/layers.ts'
import { readSlotMemory } from '../../adapters/slot/slot-memory.ts'
import { programs } from '../../adapters/system/exec.ts'
import { jsonLog } from '../../adapters/system/log.ts'
import { readWlans } from '../../adapters/system/wlan.ts'
import { type Config, readConfig, slotMemoryFile } from '../../config/config.ts'
import { askForView, ControlError } from '../../control/client.ts'
import { flightKeyOf } from '../../domain/flight.ts'
import { jsonText } from '../../domain/terminal.ts'
import { afterLook, afterMemory } from '../../view/changes.ts'
import { type AgentView, NOTHING } from '../../view/view.ts'
import { certificateWarnings } from '../device-certificates.ts'
import { describeStatus } from './text.ts'

export interface StatusOptions {
  readonly config: string
  readonly json: boolean
  /** Everything that is known of the last deployment and its trial boots. */
  readonly last?: boolean
}

/** `pi-adu status`: shows what the agent is doing, what is in the slots, and how the last deployment ended. */
export async function showStatus({ config: file, json, last = false }: StatusOptions): Promise<void> {
  const config = await readConfig(file)
  let trouble: ControlError | undefined
  const view = await askForView(config.piAdu.controlSocket).catch(error => {
    if (!(error instanceof ControlError)) throw error
    if (error.kind !== 'absent') trouble = error
    return viewFromDisk(config)
  })
  const layers = await readInstalledLayers(config.piAdu.layersFile)
  const wlans = await readWlans(programs)
  const now = new Date()
  const certificates = await certificateWarnings(config, now)
  const { hasSlots } = config
  const seen = {
    now,
    uptime: uptime(),
    hasSlots,
    layers,
    certificates,
    wlans,
    ...(trouble ? { trouble: trouble.message } : {}),
  }
  if (last && !json) {
    const { describeLast } = await import('./last.ts')
    process.stdout.write(await describeLast(view))
    return
  }
  process.stdout.write(json ? `${jsonText({ ...view, layers, certificates, wlans })}\n` : describeStatus(view, seen))
}

/** The view as far as it is known without an agent. */
async function viewFromDisk(config: Config): Promise<AgentView> {
  const { localPorts } = await import('../../compose.ts')
  const { knownFrom } = await import('../../workflow/observe.ts')
  const { boot, host, journal, flight } = localPorts(config, jsonLog(false))
  const { attempt, lost } = knownFrom(await journal.read())
  const state = await boot.read(new AbortController().signal)
  const look = {
    boot: state,
    version: await host.version(),
    attempt,
    journalDamage: lost ?? attempt?.gap,
    ...(attempt?.installedTo && state.trial === 'failed' ? { flight: await flight.read(flightKeyOf(attempt)) } : {}),
    ...({ phase: 'stopped', waitsFor: undefined } as const),
  }
  return afterLook(afterMemory(NOTHING, await readSlotMemory(slotMemoryFile(config))), look, uptime())
}
