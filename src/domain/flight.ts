import { createHash } from 'node:crypto'
import { type Attempt, slotOnTrial } from './attempt.ts'
import { onOneLine } from './terminal.ts'
import { cut } from './text.ts'

// The flight record of a trial: how far each of its boots came, written by the new system, read by the old one after a
// fall-back. Two files have one format, a line for each entry: `boots` is written by the initramfs and root's units
// (image/initramfs/flight, image/rootfs/usr/lib/pi-adu/milestone), the other one by the agent.
//
//   pi-adu-flight 1 KEY       the trial that the record is about
//   boot ID START             START: uptime in seconds at the kernel's start; 0 except on the workbench
//   NAME SECONDS [TEXT]       a milestone, at this uptime
//   end HOW [TEXT]            how the boot before ended, as the next one found it: panic, watchdog, initramfs, or unknown

export const FLIGHT_HEADER = 'pi-adu-flight 1'

/** Bytes of each file that are read, and beyond which nothing more is written. */
export const MAX_FLIGHT = 16 * 1024

const MAX_BOOTS = 9
const MAX_TEXT = 160

export interface Milestone {
  readonly name: string
  /** Seconds since the kernel's start. */
  readonly seconds: number
  readonly text?: string
}

export interface FlightBoot {
  readonly id: string
  /** In the order of their times. */
  readonly milestones: readonly Milestone[]
  readonly end?: { readonly how: string; readonly text: string }
}

/** The boots of one trial, oldest first. */
export type Flight = readonly FlightBoot[]

/** What a boot passes, in this order, and how a sentence names it. `time` is missing: a trial does not need it. */
const WAY = {
  initramfs: 'its initramfs',
  root: 'its root file system',
  init: 'its services',
  agent: 'the agent',
  network: 'the network',
  hub: 'the hub',
} as const

export type Reached = keyof typeof WAY | 'time'

/** Names the attempt that a record is about; the same before the trial and after the fall-back. */
export function flightKeyOf(attempt: Attempt): string {
  const { workflow, fingerprint } = attempt
  const text = JSON.stringify([workflow.id, workflow.retryTimestamp ?? '', fingerprint, slotOnTrial(attempt) ?? ''])
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}

const HEADER = new RegExp(`^${FLIGHT_HEADER} ([0-9a-f-]{1,64})$`)
const BOOT = /^boot ([\w-]{1,64}) (\d{1,9}(?:\.\d{1,9})?)$/
const END = /^end ([a-z]{1,16})(?: (.*))?$/
const MILESTONE = /^([a-z][a-z-]{0,15}) (\d{1,9}(?:\.\d{1,9})?)(?: (.*))?$/

/** The key in the first line of a record; undefined when it is not one of this version. */
export const keyOf = (text: string): string | undefined => HEADER.exec(text.split('\n', 1)[0] ?? '')?.[1]

/** The last `boot` line of a record. */
export const lastBootOf = (text: string): string | undefined => text.split('\n').findLast(line => BOOT.test(line))

/**
 * Reads both files of a record. Another system wrote them, and a power cut may have torn a line: what is not as it should be is
 * passed over, and a text is cut and made safe to show. Undefined when no boot of `key` is in them. Pure.
 */
export function readFlight(files: readonly string[], key: string): Flight | undefined {
  const boots = new Map<string, { start: number; milestones: Milestone[]; end?: FlightBoot['end'] }>()
  for (const file of files.filter(text => keyOf(text) === key)) {
    let boot: { start: number; milestones: Milestone[]; end?: FlightBoot['end'] } | undefined
    // A line without its end is torn.
    for (const line of file.slice(0, MAX_FLIGHT).split('\n').slice(1, -1)) {
      const [, id, start] = BOOT.exec(line) ?? []
      if (id !== undefined) {
        boot = boots.get(id) ?? { start: Number(start), milestones: [] }
        if (boots.size < MAX_BOOTS) boots.set(id, boot)
        continue
      }
      const [, how, why = ''] = END.exec(line) ?? []
      if (how !== undefined) {
        if (boot) boot.end ??= { how, text: shown(why) }
        continue
      }
      const [, name, at, text] = MILESTONE.exec(line) ?? []
      if (boot && name !== undefined) {
        const seconds = Math.round((Number(at) - boot.start) * 100) / 100
        if (seconds >= 0) boot.milestones.push({ name, seconds, ...(text === undefined ? {} : { text: shown(text) }) })
      }
    }
  }
  if (boots.size === 0) return undefined
  return [...boots].map(([id, { milestones, end }]) => ({
    id,
    milestones: milestones.sort((one, two) => one.seconds - two.seconds),
    ...(end ? { end } : {}),
  }))
}

const shown = (text: string): string => cut(onOneLine(text).trim(), MAX_TEXT)

/** `health`, `other`: what the agent itself gave the trial up for; undefined: it did not. */
export type Judged = 'health' | 'other' | undefined

/** How far the last boot came, and why it ended, in a clause. Pure. */
export function flightClause(flight: Flight, judged: Judged): string {
  const last = flight.at(-1)
  if (!last) return ''
  const boot = flight.length === 1 ? 'the trial boot' : `the last of ${flight.length} trial boots`
  return [`${boot} ${reachedBy(last, judged)}`, ...endingOf(last, judged)].join(', ')
}

function reachedBy({ milestones }: FlightBoot, judged: Judged): string {
  const names = Object.keys(WAY) as (keyof typeof WAY)[]
  const passed = new Set(milestones.map(({ name }) => name))
  const at = names.findLastIndex(name => passed.has(name))
  const name = names[at]
  if (name === undefined) return 'left no milestone'
  const { seconds } = milestones.find(each => each.name === name)!
  const next = names[at + 1]
  return `reached ${WAY[name]} after ${Math.round(seconds)} s${next && judged !== 'other' ? ` and never ${WAY[next]}` : ''}`
}

/** Why the boot ended, as far as it is known. */
function endingOf({ milestones, end }: FlightBoot, judged: Judged): readonly string[] {
  const ends = milestones.filter(({ name }) => name === 'agent-ended')
  const crashes =
    ends.length > 0 ? [`its agent ended ${times(ends.length)} (${ends.at(-1)?.text || 'why is unknown'})`] : []
  switch (end?.how) {
    case 'panic':
      return [...crashes, `and ended in a kernel panic: ${end.text || 'no message was kept'}`]
    case 'initramfs':
      return [`and was given up by its initramfs: ${end.text}`]
    case 'watchdog':
      return [...crashes, 'and was ended by the watchdog']
    default:
  }
  if (milestones.some(({ name }) => name === 'guard'))
    return [...crashes, 'and was restarted because nobody settled it']
  if (judged) return crashes
  return [...crashes, 'and ended for an unknown reason: no kernel message was kept']
}

const times = (count: number): string => (count === 1 ? 'once' : `${count} times`)

/** Whether any of the boots came as far as an agent that ended. */
export const hasAgentEnded = (flight: Flight): boolean =>
  flight.some(({ milestones }) => milestones.some(({ name }) => name === 'agent-ended'))
