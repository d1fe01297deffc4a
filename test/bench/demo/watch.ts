import { ercText, RESULT_CODE } from '../../../src/domain/result-codes.ts'
import type { AgentEvent } from '../../../src/view/event.ts'
import { clientOf } from '../authoring/contract-2021.ts'
import type { Bench } from '../bench.ts'
import type { Json } from '../hub/json.ts'
import type { SlotName } from '../workbench/boot-env.ts'
import type { Boot, DemoDevice } from './device.ts'
import { mib, type PhaseKey, type Scene } from './scene.ts'
import type { DeviceFacts } from './stage.ts'

const LOOK_MS = 100
/** After these a trial may begin. */
const STARTING: readonly PhaseKey[] = ['start', 'restart', 'cut']

/** Turns what the device, the hub and the content server show of themselves into the scene. Returns the end of it. */
export function watch(
  scene: Scene,
  bench: Bench,
  id: string,
  device: DemoDevice,
  onEvent: (event: AgentEvent) => void,
): () => Promise<void> {
  const over = new AbortController()
  let sentBefore = 0
  let told = 0
  let lookedAt = 0

  const onAgent = (event: AgentEvent, at: number): void => {
    switch (event.event) {
      case 'mood':
        scene.mood = { name: event.mood, since: at }
        scene.tell('light', event.mood, at)
        break
      case 'agent.started':
        scene.tell('device', `the agent of system ${event.system} has started`, at)
        // Boots and the agent's words may come from two places: this may be seen before the boot is.
        void lookAtBoot().then(() => onStarted(at))
        break
      case 'install.begin':
        sentBefore = sent()
        told = 0
        scene.transfer = { into: event.slot, size: event.size ?? 0, begun: at, fetched: 0, resumed: 0 }
        scene.enter('install', at)
        break
      case 'install.progress':
        onProgress(event.bytes, event.of ?? 0, at)
        break
      case 'install.resumed':
        onResumed(scene, event.bytes, at)
        break
      case 'install.end':
        if (scene.transfer) {
          const { size, resumed } = scene.transfer
          scene.transfer = { ...scene.transfer, fetched: size - resumed, ended: at }
        }
        void look('b')
        break
      case 'step.begin':
        scene.enter(scene.transfer ? 'after' : 'before', at)
        scene.tell('step', `${event.step} of ${event.of}: ${event.handler}`, at)
        break
      case 'step.end':
        scene.leave('done', event.resultDetails, at)
        break
      case 'reboot':
        if (scene.phase?.key !== 'fallBack') scene.enter('restart', at)
        break
      case 'committed':
        scene.enter('trial', at)
        scene.leave('done', '', at)
        break
      case 'fall-back':
        scene.enter('trial', at)
        scene.leave('failed', 'not healthy', at)
        scene.enter('fallBack', at)
        break
      case 'deployment.refused':
        scene.leave('failed', 'refused', at)
        break
      case 'result':
        onResult(event.resultCode, at)
        break
      case 'reported':
        // A refused deployment is reported at once.
        scene.enter('report', at)
        scene.leave('done', '', at)
        break
    }
    onEvent(event)
  }

  /** The agent's next words may have come before the boot state was read. */
  const onStarted = (at: number): void => {
    const isStarting = scene.phase && STARTING.includes(scene.phase.key)
    if (isStarting && scene.trial === 'pending' && scene.booted === scene.primary) scene.enter('trial', at)
    else if (scene.phase?.key === 'cut') scene.leave('done', '', at)
  }

  const onProgress = (bytes: number, of: number, at: number): void => {
    const percent = Math.floor((100 * bytes) / of)
    if (percent - told < 10 && percent < 100) return
    told = percent
    scene.tell('install', `${String(percent).padStart(3)} %, ${mib(bytes)} of ${mib(of)} MiB`, at)
  }

  /** An installation that came to no end has failed, or was cancelled. */
  const onResult = (resultCode: number, at: number): void => {
    if (scene.phase?.key === 'install' && resultCode !== RESULT_CODE.applied) {
      scene.leave('failed', resultCode === RESULT_CODE.cancelled ? 'cancelled' : 'refused', at)
      if (scene.transfer) scene.transfer.ended = at
    }
    scene.enter('report', at)
  }

  const onBoot = ({ slot, reason, cause, tries }: Boot, at: number): void => {
    scene.booted = slot
    const left = reason === 'trial' ? `, ${tries} more ${tries === 1 ? 'try' : 'tries'}` : ''
    scene.tell('boot', `slot ${slot}: ${reason}${left} (${cause})`, at)
    void lookAtBoot()
    void look('a')
    void look('b')
  }

  async function lookAtBoot(): Promise<void> {
    lookedAt = Date.now()
    const env = await device.readBootState()
    if (!env || over.signal.aborted) return
    scene.primary = env.primary
    scene.trial = env.trial
  }

  async function look(slot: SlotName): Promise<void> {
    const version = await device.readVersion(slot)
    if (!over.signal.aborted) scene.versions[slot] = version
  }

  const sent = () => Object.values(bench.content.stats).reduce((sum, { bytesSent }) => sum + bytesSent, 0)

  const timer = setInterval(() => {
    const { transfer } = scene
    // Finer than the agent's own words, and the same bytes.
    if (transfer && !transfer.ended && scene.power)
      transfer.fetched = Math.min(transfer.size - transfer.resumed, sent() - sentBefore)
    scene.twin.connected = bench.hub.isConnected(id)
    if (Date.now() - lookedAt >= device.lookMs) void lookAtBoot()
  }, LOOK_MS)

  const off = bench.hub.onReported((deviceId, _patch, reported) => {
    if (deviceId === id) onReported(scene, reported)
  })
  const followed = device.follow({ onEvent: onAgent, onBoot }, over.signal)
  return async () => {
    off()
    clearInterval(timer)
    over.abort()
    await followed
  }
}

/** What an earlier attempt has left in the slot is not fetched again. */
export function onResumed(scene: Scene, bytes: number, at: number): void {
  const { transfer, phase } = scene
  if (!transfer || bytes <= 0) return
  transfer.resumed = bytes
  if (phase?.key === 'install') phase.title += `, ${mib(bytes)} MiB were there`
  scene.tell('install', `resumes: ${mib(bytes)} of ${mib(transfer.size)} MiB are in slot ${transfer.into} already`, at)
}

/**
 * Makes the picture say what the verdict has found: what was seen on the way may be some tenths of a second old. Nothing watches
 * any more.
 */
export function settle(scene: Scene, facts: DeviceFacts, reported: Record<string, unknown>): void {
  const { alive, booted, boot, versions } = facts
  scene.twin.connected = alive
  if (booted === 'a' || booted === 'b') scene.booted = booted
  if (boot) Object.assign(scene, { primary: boot.primary, trial: boot.trial })
  scene.versions = { ...versions }
  onReported(scene, reported)
  scene.leave('done')
}

/** The report of either contract, in the form of today's. */
function agentIn(reported: Record<string, unknown>): AgentReport | undefined {
  if (!('azureDeviceUpdateAgent' in reported))
    return (reported.deviceUpdate as { agent?: AgentReport } | undefined)?.agent
  const { extendedResultCode = 0, resultCode, state, installedUpdateId } = clientOf(reported as Json)
  return {
    ...(state === undefined ? {} : { state }),
    ...(installedUpdateId === undefined ? {} : { installedUpdateId }),
    lastInstallResult: {
      ...(resultCode === undefined ? {} : { resultCode }),
      extendedResultCodes: ercText(extendedResultCode),
    },
  }
}

function onReported(scene: Scene, reported: Record<string, unknown>): void {
  const agent = agentIn(reported)
  if (!agent?.lastInstallResult) return
  const { twin } = scene
  const { resultCode, extendedResultCodes, resultDetails } = agent.lastInstallResult
  const before = JSON.stringify(twin)
  twin.state = agent.state
  twin.resultCode = resultCode
  twin.extended = extendedResultCodes ?? ''
  twin.details = resultDetails ?? ''
  twin.installed = installedText(agent.installedUpdateId)
  if (JSON.stringify(twin) === before) return
  const installed = twin.installed && `, installed ${twin.installed}`
  scene.tell('twin', `state ${twin.state}, result ${twin.resultCode}, extended ${twin.extended}${installed}`)
  if (twin.details) scene.tell('twin', twin.details)
}

/** What the twin's `deviceUpdate.agent` has for us (PROTOCOL.md, "Final report"). */
export interface AgentReport {
  readonly state?: number
  readonly workflow?: { readonly id?: string }
  readonly installedUpdateId?: string
  readonly lastInstallResult?: {
    readonly resultCode?: number
    readonly extendedResultCodes?: string
    readonly resultDetails?: string | null
    readonly stepResults?: Readonly<Record<string, { readonly resultCode?: number }>> | null
  }
}

function installedText(updateId: string | undefined): string {
  if (!updateId) return ''
  const { name, version } = JSON.parse(updateId) as { name: string; version: string }
  return `${name} ${version}`
}
