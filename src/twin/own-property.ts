import { cut } from '../domain/text.ts'
import type { AgentView, DoingPhase } from '../view/view.ts'

/** What `piAdu` says in the twin, beside the certificate (PROTOCOL.md, "Our own property"). Absent members are not known. */
export interface OwnProperty {
  readonly format: 1
  readonly phase: DoingPhase
  readonly waitsFor?: { readonly what: string; readonly why?: string; readonly until?: string }
  readonly step?: { readonly number: number; readonly of: number }
  /** Percent of the installation or of the step. */
  readonly progress?: number
  readonly last?: OwnResult
  readonly lastTrial?: { readonly id: string; readonly reached?: string; readonly end?: string }
  readonly slots?: {
    readonly booted: string
    readonly a?: string
    readonly b?: string
    readonly trial?: 'pending' | 'failed'
  }
  /** Name and version of each layer, in the order of the image. */
  readonly layers?: readonly string[]
}

/** `codes`: extended result codes as text, without the one that means none. `cause`: why, in one sentence. */
interface OwnResult {
  readonly id: string
  readonly resultCode: number
  readonly codes?: string
  readonly cause?: string
}

export interface Facts {
  readonly view: AgentView
  /** Milliseconds since 1970, and seconds since the machine's start, of the same moment. */
  readonly now: number
  readonly uptime: number
  readonly layers: readonly { readonly name: string; readonly version: string }[]
  /** Whether the progress in percent is wanted. */
  readonly progress: boolean
  /** Whether the twin has the result of a local update, which its reporter writes. */
  readonly hasLocal: boolean
}

/** In bytes of JSON, without and with a local result: with the certificate, the whole property stays below 1 KiB. */
export const MAX_OWN = { alone: 840, besideLocal: 400 } as const

/** Bytes for each text, tried in this order. */
const CAPS = [240, 120, 60, 30, 16] as const

/** The property, in at most `MAX_OWN` bytes: texts are cut, the shorter the more there are. Pure. */
export function ownProperty(facts: Facts): OwnProperty {
  const room = facts.hasLocal ? MAX_OWN.besideLocal : MAX_OWN.alone
  for (const most of CAPS) {
    const whole = at(facts, most, room)
    if (size(whole) <= room) return whole
  }
  const { view } = facts
  return { format: 1, phase: view.phase }
}

const size = (value: unknown): number => Buffer.byteLength(JSON.stringify(value))

function at({ view, now, uptime, layers, progress }: Facts, most: number, room: number): OwnProperty {
  const short = (text: string, limit = most): string => cut(text, Math.min(limit, most))
  const { phase, step, lastResult, lastTrial } = view
  const percent = progress ? percentOf(view) : undefined
  const list = layers.map(({ name, version }) => short(`${name} ${version}`, 60))
  return {
    ...{ format: 1, phase },
    ...waitsOf(view, now - uptime * 1000, short),
    ...(step ? { step: { number: step.number, of: step.of } } : {}),
    ...(percent === undefined ? {} : { progress: percent }),
    // A local one has a member of its own.
    ...(lastResult && !endedLocally(view) ? { last: resultOf(lastResult, short) } : {}),
    ...(lastTrial ? { lastTrial: trialOf(lastTrial, short) } : {}),
    ...slotsOf(view, short),
    ...(layers.length > 0 ? { layers: listed(list, room / 3) } : {}),
  }
}

/** Whether the newest update was started on the device itself, and has ended. */
export const endedLocally = ({ deployment, lastResult }: AgentView): boolean =>
  deployment?.ended === true && deployment.origin === 'local' && deployment.workflowId === lastResult?.workflowId

/** The last boot of the trial. */
function trialOf(
  { workflowId, boots }: NonNullable<AgentView['lastTrial']>,
  short: Short,
): NonNullable<OwnProperty['lastTrial']> {
  const { milestones = [], end } = boots.at(-1) ?? {}
  const reached = milestones.map(({ name, seconds }) => `${name} ${Math.round(seconds)}`).join(', ')
  return {
    id: short(workflowId, 64),
    ...(reached ? { reached: short(reached, 120) } : {}),
    ...(end ? { end: short(end.how, 20) } : {}),
  }
}

type Short = (text: string, limit?: number) => string

/** `start`: when the machine was started, in milliseconds since 1970. */
function waitsOf({ waitsFor, time }: AgentView, start: number, short: Short): Pick<OwnProperty, 'waitsFor'> {
  // Idle; and who reads this knows that the hub is there.
  if (!waitsFor || waitsFor.what === 'news' || waitsFor.what === 'hub') return {}
  const { what, why, until } = waitsFor
  // To the minute: the clocks drift against each other, and each change would be a message.
  const end =
    until === null || !time.trusted ? undefined : new Date(Math.round((start + until * 1000) / 60_000) * 60_000)
  return {
    waitsFor: {
      what,
      ...(why ? { why: short(why) } : {}),
      ...(end === undefined || Number.isNaN(end.getTime()) ? {} : { until: `${end.toISOString().slice(0, 16)}Z` }),
    },
  }
}

function resultOf(result: NonNullable<AgentView['lastResult']>, short: Short): OwnResult {
  const { workflowId, resultCode, extendedResultCodes, details } = result
  const codes = extendedResultCodes.filter(code => code !== '00000000').slice(0, 3)
  return {
    ...{ id: short(workflowId, 64), resultCode },
    ...(codes.length > 0 ? { codes: codes.join(',') } : {}),
    ...(details ? { cause: short(details) } : {}),
  }
}

function slotsOf({ boot, slots: { a, b } }: AgentView, short: Short): Pick<OwnProperty, 'slots'> {
  if (!boot) return {}
  const version = (text: string | null): string => short(text ?? '', 64)
  return {
    slots: {
      booted: boot.booted,
      ...(a.version ? { a: version(a.version) } : {}),
      ...(b.version ? { b: version(b.version) } : {}),
      ...(boot.trial === 'none' ? {} : { trial: boot.trial }),
    },
  }
}

/** As many as fit into `most` bytes, then how many there are more. */
function listed(all: readonly string[], most: number): readonly string[] {
  for (let count = all.length; count > 0; count--) {
    const more = all.length - count
    const list = [...all.slice(0, count), ...(more > 0 ? [`and ${more} more`] : [])]
    if (size(list) <= most) return list
  }
  return [`${all.length} layers`]
}

function percentOf({ progress, step, phase }: AgentView): number | undefined {
  if (step?.percent !== null && step?.percent !== undefined) return Math.floor(step.percent)
  if (phase !== 'installing' || !progress?.size) return undefined
  return Math.min(100, Math.floor((100 * progress.bytes) / progress.size))
}
