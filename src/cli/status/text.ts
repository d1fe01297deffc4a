import { describeWlan, type Wlan } from '../../adapters/system/wlan.ts'
import { other, type SlotName } from '../../domain/slot.ts'
import type { AgentView } from '../../view/view.ts'
import { duration, type Line, mib, minute, rows } from '../lines.ts'

const MAX_MILESTONES = 3

/** When and how the view was obtained. */
export interface Seen {
  readonly now: Date
  /** Seconds since the machine's start. */
  readonly uptime: number
  /** Whether the device has slots. Default: it has. */
  readonly hasSlots?: boolean
  /** Layers of the booted system's image. */
  readonly layers?: readonly { readonly name: string; readonly version: string }[]
  /** Wireless interfaces of this device. */
  readonly wlans?: readonly Wlan[]
  /** A clause for each certificate of the device that expires soon. */
  readonly certificates?: readonly string[]
  /** Why the agent did not answer, so that the view was read from the disk. */
  readonly trouble?: string
}

/** A few lines for a person, in 80 columns. Pure; foreign texts are made safe for a terminal. */
export const describeStatus = (view: AgentView, seen: Seen): string =>
  statusLines(view, seen)
    .flatMap(rows)
    .map(row => `${row}\n`)
    .join('')

export function statusLines(view: AgentView, seen: Seen): readonly Line[] {
  const { lastUpdate } = view
  return [
    ...ofAgent(view, seen),
    ...(seen.certificates ?? []).map(says => ['certificate', says] as const),
    ...(seen.wlans ?? []).map(wlan => ['WLAN', describeWlan(wlan)] as const),
    ...ofSlots(view, seen),
    ...ofLayers(seen),
    ['last update', lastUpdate ? `${lastUpdate.name}, ${minute(lastUpdate.time)}` : 'none known'],
    ...(view.journalDamage === null ? [] : [['journal', `damaged: ${view.journalDamage}`] as const]),
    ...ofDeployment(view),
  ]
}

function ofSlots(view: AgentView, { hasSlots = true }: Seen): readonly Line[] {
  const { boot } = view
  if (!hasSlots) return [['slots', 'none: this device takes packages and scripts, no images']]
  return boot ? [slot(view, boot.booted), slot(view, other(boot.booted))] : []
}

const ofLayers = ({ layers = [] }: Seen): readonly Line[] =>
  layers.length === 0 ? [] : [['layers', layers.map(({ name, version }) => `${name} ${version}`).join(', ')]]

function ofAgent(view: AgentView, seen: Seen): readonly Line[] {
  const { agent, time, renewalRefused, stickRefused, configRefused, page } = view
  if (!agent) return [['agent', seen.trouble ?? 'not running']]
  return [
    ['agent', `running for ${duration(seen.uptime - agent.since)} (version ${agent.version})`],
    ['hub', ofHub(view, seen)],
    ['doing', doing(view, seen)],
    ...(time.trusted ? [] : [['time', 'the clock is wrong: waiting for time synchronisation'] as const]),
    ...(renewalRefused === null ? [] : [['certificate', `not renewed: ${renewalRefused}`] as const]),
    ...(stickRefused === null ? [] : [['stick', `cannot be used: ${stickRefused}`] as const]),
    ...(page ? [['page', page.why === null ? page.url : `not at ${page.url}: ${page.why}`] as const] : []),
    ...(configRefused ? [['configuration', 'the newest one was refused: see pi-adu check-config'] as const] : []),
  ]
}

function ofHub({ hub }: AgentView, { uptime, now }: Seen): string {
  const seconds = uptime - (hub.since ?? uptime)
  if (!hub.connected) return `not connected for ${duration(seconds)}${hub.why ? `: ${hub.why}` : ''}`
  return `connected since ${minute(new Date(now.getTime() - seconds * 1000).toISOString())} (${duration(seconds)})`
}

const PHASES: Readonly<Record<AgentView['phase'], string>> = {
  stopped: 'nothing',
  starting: 'starting',
  idle: 'nothing',
  waiting: 'nothing yet',
  beginning: 'beginning with a deployment',
  installing: 'installing',
  activating: 'making the new system the next one to start',
  rebooting: 'rebooting',
  trial: 'trying the new system',
  committing: 'committing the new system',
  fallingBack: 'going back to the old system',
  ending: 'writing down how it ended',
  reporting: 'reporting to the hub',
}

const WAITS: Readonly<Record<NonNullable<AgentView['waitsFor']>['what'], string>> = {
  news: 'waits for a deployment',
  hub: 'waits for the hub',
  health: 'waits for its health checks',
  retry: 'tries again',
  gate: 'waits',
  consent: 'waits',
}

/** What the agent is doing, and what it is waiting for. */
export function doing({ phase, progress, step, waitsFor }: AgentView, { uptime }: Pick<Seen, 'uptime'>): string {
  const size = progress?.size
    ? ` of ${mib(progress.size)}, ${Math.floor((100 * progress.bytes) / progress.size)} %`
    : ''
  const part = step
    ? ` step ${step.number} of ${step.of}, ${step.handler}${step.component ? ` for ${step.component}` : ''}`
    : ''
  const percent = step && step.percent !== null && !progress ? `: ${step.percent} %` : ''
  const done = progress ? `${part}: ${mib(progress.bytes)}${size}` : part + percent
  if (!waitsFor) return `${PHASES[phase]}${done}`
  const { what, why, until } = waitsFor
  const rest = until === null ? '' : duration(until - uptime)
  const limit = rest === '' ? '' : what === 'retry' ? ` in ${rest}` : `, for another ${rest} at most`
  return `${PHASES[phase]}${done}; ${WAITS[what]}${limit}${why ? `: ${why}` : ''}`
}

function slot({ boot, slots, deployment }: AgentView, name: SlotName): Line {
  const { version, partial } = slots[name]
  const isBooted = boot?.booted === name
  const unknown = isBooted ? 'version unknown (no version file)' : 'version unknown'
  const content = partial ? 'partly written: an installation began and did not end' : (version ?? unknown)
  const isNew = !isBooted && deployment?.installedTo === name && !deployment.ended && version !== null
  const marks = [isBooted && 'booted', isNew && 'installed', boot?.primary === name && 'primary', trial(boot, name)]
  return [`slot ${name}`, [content, ...marks.filter(Boolean)].join(', ')]
}

function trial(boot: AgentView['boot'], name: SlotName): string | undefined {
  if (boot?.trial === 'pending' && boot.primary === name) {
    return `on trial, ${boot.tries} more ${boot.tries === 1 ? 'start' : 'starts'}`
  }
  return boot?.trial === 'failed' && boot.primary !== name ? 'its trial failed' : undefined
}

/** What is known of the newest deployment. */
export function ofDeployment({ deployment, lastResult }: AgentView): readonly Line[] {
  if (!deployment) return [['deployment', 'none known']]
  const { workflowId, action, origin, updateId, version, installs, installedTo, milestones, ended } = deployment
  const what = updateId
    ? `${updateId.provider} ${updateId.name} ${updateId.version}`
    : origin !== 'deviceUpdate'
      ? `asked for by ${origin === 'firmwareUpdate' ? 'the method firmwareUpdate' : origin}`
      : action === 255
        ? 'a cancel'
        : 'refused'
  const progress = installedTo ? `installed to slot ${installedTo}` : installs > 0 ? 'install begun' : 'not begun'
  const result = ended ? lastResult : null
  const codes = result?.extendedResultCodes.join(', ')
  const boots = milestones.slice(-MAX_MILESTONES).join(' → ')
  const earlier = milestones.length - MAX_MILESTONES
  return [
    ['deployment', `${workflowId}: ${what}`],
    ...(version === null ? [] : [['criteria', `version "${version}"`] as const]),
    ...(result
      ? [['result', `${result.resultCode}, ${codes}, ${result.reported ? 'reported' : 'not yet reported'}`] as const]
      : [['progress', progress] as const]),
    ...(result?.details ? [['details', result.details] as const] : []),
    ...(boots ? [['trial boots', `${earlier > 0 ? `${earlier} earlier → ` : ''}${boots}`] as const] : []),
  ]
}
