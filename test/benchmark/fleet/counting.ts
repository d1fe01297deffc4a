import type { BenchHub, HubEvent, JsonObject } from '../../bench/hub/hub.ts'

/** What the hub counts against its quota, each once, however long the answer; and what else would be seen on its doors. */
export type Kind =
  | 'order'
  | 'acknowledgement'
  | 'in progress'
  | 'final report'
  | 'startup report'
  | 'twin read'
  | 'other'
export const KINDS: readonly Kind[] = [
  ...(['order', 'acknowledgement', 'in progress', 'final report'] as const),
  ...(['twin read', 'startup report', 'other'] as const),
]

export interface Seen {
  /** Milliseconds since the counting began. */
  readonly at: number
  readonly kind: Kind | 'connect' | 'download'
}

/** Writes down what happens at the hub, until stopped. */
export function counting(hub: BenchHub) {
  const begun = performance.now()
  const seen: Seen[] = []
  const add = (kind: Seen['kind']): void => void seen.push({ at: performance.now() - begun, kind })
  const stop = hub.onEvent(event => {
    const kind = kindOf(event)
    if (kind) add(kind)
  })
  return { add, stop, seen: seen as readonly Seen[] }
}

function kindOf(event: HubEvent): Seen['kind'] | undefined {
  if (event.type === 'connected') return 'connect'
  if (event.type === 'twinRead') return 'twin read'
  if (event.type === 'twinUpdated') return 'order'
  return event.type === 'reported' ? kindOfReport(event.patch) : undefined
}

function kindOfReport(patch: JsonObject): Kind {
  if (patch.deviceInformation) return 'startup report'
  const { service, agent } = (patch.deviceUpdate ?? {}) as { service?: object; agent?: { state?: number } }
  if (service) return 'acknowledgement'
  if (agent?.state === 6) return 'in progress'
  return agent?.state === 0 || agent?.state === 255 ? 'final report' : 'other'
}

export const countOf = (seen: readonly Seen[], kind: Seen['kind']): number =>
  seen.filter(each => each.kind === kind).length

/** Messages of the hub only: connections are not counted against the quota, downloads come from elsewhere. */
export const messagesOf = (seen: readonly Seen[]): Seen[] =>
  seen.filter(({ kind }) => kind !== 'connect' && kind !== 'download')

/** Of the devices: the orders are the service's. */
export const requestsOf = (seen: readonly Seen[]): Seen[] => messagesOf(seen).filter(({ kind }) => kind !== 'order')

/** How many fall into each second. */
export function perSecond(seen: readonly Seen[]): number[] {
  const counts: number[] = []
  for (const { at } of seen) counts[Math.floor(at / 1000)] = (counts[Math.floor(at / 1000)] ?? 0) + 1
  return Array.from(counts, count => count ?? 0)
}

/** The most in any one second, wherever it begins. */
export function peakOf(seen: readonly Seen[]): number {
  const times = seen.map(({ at }) => at).sort((a, b) => a - b)
  let peak = 0
  for (let first = 0, last = 0; last < times.length; last++) {
    while ((times[last] ?? 0) - (times[first] ?? 0) >= 1000) first += 1
    peak = Math.max(peak, last - first + 1)
  }
  return peak
}
