import { member, text } from '../domain/members.ts'

/** What the agent says of itself in the twin (`piAdu`); a device may report anything. */
export interface OwnState {
  readonly phase: string
  readonly percent?: number
  /** What it waits for, and until when. */
  readonly waits?: string
  /** Slots, layers, the last trial and the last local update, a line each. */
  readonly lines: readonly string[]
}

/** Undefined where there is none, or one of another format. */
export function ownState(reported: unknown): OwnState | undefined {
  const own = member(reported, 'piAdu')
  const phase = text(member(own, 'phase'))
  if (member(own, 'format') !== 1 || phase === undefined) return undefined
  const percent = member(own, 'progress')
  const waitsFor = member(own, 'waitsFor')
  const [what, why, until] = ['what', 'why', 'until'].map(name => text(member(waitsFor, name)))
  const waits = what === undefined ? undefined : `${why ?? what}${until === undefined ? '' : ` (until ${until})`}`
  const lines = [
    ['slots', slotsOf(member(own, 'slots'))],
    ['layers', listOf(member(own, 'layers'))],
    ['last trial', trialOf(member(own, 'lastTrial'))],
    ['local update', resultOf(member(own, 'local'))],
    ['certificate', certificateOf(member(own, 'certificate'))],
  ].flatMap(([name = '', line]) => (line ? [`${name.padEnd(14)}${line}`] : []))
  return {
    phase,
    ...(typeof percent === 'number' ? { percent } : {}),
    ...(waits === undefined ? {} : { waits }),
    lines,
  }
}

function slotsOf(slots: unknown): string {
  const [booted, trial] = ['booted', 'trial'].map(name => text(member(slots, name)))
  const each = ['a', 'b'].flatMap(name => {
    const version = text(member(slots, name))
    return version === undefined ? [] : [`${name} ${version}${name === booted ? ' (runs)' : ''}`]
  })
  return [...each, ...(trial === undefined ? [] : [`trial ${trial}`])].join(', ')
}

const listOf = (list: unknown): string =>
  Array.isArray(list) ? list.filter(each => typeof each === 'string').join(', ') : ''

function trialOf(trial: unknown): string {
  const [reached, end] = ['reached', 'end'].map(name => text(member(trial, name)))
  return [
    ...(reached === undefined ? [] : [`reached ${reached}`]),
    ...(end === undefined ? [] : [`ended by ${end}`]),
  ].join('; ')
}

function resultOf(result: unknown): string {
  const resultCode = member(result, 'resultCode')
  const [codes, cause] = ['codes', 'cause'].map(name => text(member(result, name)))
  return typeof resultCode === 'number' ? [`result ${resultCode}`, cause ?? codes].filter(Boolean).join(': ') : ''
}

function certificateOf(certificate: unknown): string {
  const notAfter = text(member(certificate, 'notAfter'))
  return notAfter === undefined ? '' : `ends ${notAfter}`
}
