import type { Bench } from '../bench.ts'
import type { SlotName } from '../workbench/boot-env.ts'
import type { Boot, DemoDevice } from './device.ts'
import type { Mood, Scene } from './scene.ts'

const LOOK_MS = 100

/** Turns what the device, the hub and the content server show of themselves into the scene. Returns the end of it. */
export function watch(
  scene: Scene,
  bench: Bench,
  id: string,
  device: DemoDevice,
  onEvent: (event: string, record: Readonly<Record<string, unknown>>) => void,
): () => Promise<void> {
  const over = new AbortController()
  let sentBefore = 0
  let told = 0
  let lookedAt = 0

  const onAgent = (record: Readonly<Record<string, unknown>>, at: number): void => {
    const event = String(record.event)
    if (event === 'mood') {
      scene.mood = { name: record.mood as Mood, since: at }
      scene.tell('light', String(record.mood), at)
    } else if (event === 'agent.started') {
      scene.tell('device', `the agent of system ${record.system} has started`, at)
      // Boots and the agent's words may come from two files: this may be seen before the boot is.
      void lookAtBoot().then(() => {
        if (scene.trial === 'pending' && scene.booted === scene.primary) scene.enter('trial', at)
        else if (scene.phase?.key === 'cut') scene.leave('done', '', at)
      })
    } else if (event === 'install.begin') {
      sentBefore = sent()
      told = 0
      scene.transfer = { into: record.slot as SlotName, size: Number(record.size), begun: at, fetched: 0 }
      scene.enter('install', at)
    } else if (event === 'install.progress') {
      const percent = Math.floor((100 * Number(record.bytes)) / Number(record.of))
      if (percent - told < 10 && percent < 100) return
      told = percent
      scene.tell('install', `${String(percent).padStart(3)} %, ${mib(Number(record.bytes))}`, at)
    } else if (event === 'install.end') {
      if (scene.transfer) scene.transfer = { ...scene.transfer, fetched: scene.transfer.size, ended: at }
      void look('b')
    } else if (event === 'reboot') {
      if (scene.phase?.key !== 'fallBack') scene.enter('restart', at)
    } else if (event === 'committed') {
      scene.leave('done', '', at)
    } else if (event === 'fall-back') {
      scene.leave('failed', 'not healthy', at)
      scene.enter('fallBack', at)
    } else if (event === 'order.refused') {
      scene.leave('failed', 'refused', at)
    } else if (event === 'step.failed' && record.step === 'install') {
      scene.leave('failed', 'refused', at)
      if (scene.transfer) scene.transfer.ended = at
    } else if (event === 'step' && record.step === 'abandon') {
      scene.leave('failed', 'cancelled', at)
      if (scene.transfer) scene.transfer.ended = at
    } else if (event === 'result') {
      scene.enter('report', at)
    } else if (event === 'reported') {
      // A refused order is reported at once.
      scene.enter('report', at)
      scene.leave('done', '', at)
    }
    onEvent(event, record)
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
    if (!env) return
    scene.primary = env.primary
    scene.trial = env.trial
  }

  async function look(slot: SlotName): Promise<void> {
    scene.versions[slot] = await device.readVersion(slot)
  }

  const sent = () => Object.values(bench.content.stats).reduce((sum, { bytesSent }) => sum + bytesSent, 0)

  const timer = setInterval(() => {
    const { transfer } = scene
    // Finer than the agent's own words, and the same bytes.
    if (transfer && !transfer.ended && scene.power) transfer.fetched = Math.min(transfer.size, sent() - sentBefore)
    scene.twin.connected = bench.hub.isConnected(id)
    if (Date.now() - lookedAt >= device.lookMs) void lookAtBoot()
  }, LOOK_MS)

  const off = bench.hub.onReported((deviceId, _patch, reported) => {
    if (deviceId === id) onReported(scene, reported)
  })
  const followed = device.follow({ onAgent, onBoot }, over.signal)
  return async () => {
    off()
    clearInterval(timer)
    over.abort()
    await followed
  }
}

function onReported(scene: Scene, reported: Record<string, unknown>): void {
  const { agent } = (reported.deviceUpdate ?? {}) as { agent?: AgentReport }
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

/** What the twin's `deviceUpdate.agent` has for us (device-update-protocol.md, chapter 1.6). */
export interface AgentReport {
  readonly state?: number
  readonly workflow?: { readonly id?: string }
  readonly installedUpdateId?: string
  readonly lastInstallResult?: {
    readonly resultCode?: number
    readonly extendedResultCodes?: string
    readonly resultDetails?: string | null
  }
}

function installedText(updateId: string | undefined): string {
  if (!updateId) return ''
  const { name, version } = JSON.parse(updateId) as { name: string; version: string }
  return `${name} ${version}`
}

export const mib = (bytes: number): string => `${(bytes / (1 << 20)).toFixed(1)} MiB`
