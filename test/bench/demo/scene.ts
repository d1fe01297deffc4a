import type { Mood } from '../../../src/view/event.ts'
import type { SlotName } from '../workbench/boot-env.ts'

export type PhaseKey = keyof typeof TITLES

/** A part of the story. Times in milliseconds since the epoch. */
export interface Phase {
  readonly key: PhaseKey
  title: string
  state: 'to come' | 'now' | 'done' | 'failed'
  begun: number
  ended: number
  note: string
}

export interface Transfer {
  readonly into: SlotName
  /** Of the bundle, in bytes. */
  readonly size: number
  readonly begun: number
  /** From the network, in this attempt. */
  fetched: number
  /** Bytes that an earlier attempt had left in the slot. */
  resumed: number
  ended?: number
}

/** Bytes of the bundle that have been dealt with. */
export const positionOf = ({ size, fetched, resumed }: Transfer): number => Math.min(size, fetched + resumed)

export const mib = (bytes: number): string => (bytes / (1 << 20)).toFixed(1)

export interface TwinView {
  connected: boolean
  state: number | undefined
  resultCode: number | undefined
  extended: string
  details: string
  /** `name version` of installedUpdateId. */
  installed: string
}

const TITLES = {
  prepare: 'a fresh device, two signed systems',
  start: 'power on: boot, connect to the hub',
  order: 'order: check signature and manifest',
  before: 'step 1: a script, in the old system',
  install: 'download, check, write into slot b',
  restart: 'restart into slot b',
  trial: 'trial: health checks, then commit',
  after: 'step 3: a script, in the new system',
  fallBack: 'fall back: restart into slot a',
  cut: 'power cut, and back on',
  report: 'report to the hub',
} as const

const phaseOf = (key: PhaseKey): Phase => ({ key, title: TITLES[key], state: 'to come', begun: 0, ended: 0, note: '' })

/** Everything a spectator sees. Real events change it; the drawing code reads it. */
export class Scene {
  readonly title: string
  /** Called with one line per event, for output without a terminal. */
  readonly #tell: (at: number, subject: string, text: string) => void
  readonly begun = Date.now()
  act = ''
  phases: Phase[] = []
  /** Earlier acts. */
  readonly past: { readonly act: string; readonly phases: readonly Phase[] }[] = []
  power = false
  transfer: Transfer | undefined
  booted: SlotName | undefined
  primary: SlotName | undefined
  trial: 'none' | 'pending' | 'failed' = 'none'
  versions: Record<SlotName, string | undefined> = { a: undefined, b: undefined }
  mood: { readonly name: Mood; readonly since: number } | undefined
  readonly twin: TwinView = {
    connected: false,
    state: undefined,
    resultCode: undefined,
    extended: '',
    details: '',
    installed: '',
  }

  constructor(title: string, tell: (at: number, subject: string, text: string) => void) {
    this.title = title
    this.#tell = tell
  }

  tell(subject: string, text: string, at = Date.now()): void {
    this.#tell((at - this.begun) / 1000, subject, text)
  }

  /** What should come next, after all that is planned already. */
  expect(keys: readonly PhaseKey[]): void {
    this.phases.push(...keys.map(key => phaseOf(key)))
  }

  /** Of a phase that is to come. */
  rename(key: PhaseKey, title: string): void {
    const phase = this.phases.find(each => each.key === key && each.state === 'to come')
    if (phase) phase.title = title
  }

  /** A new act with a story of its own. */
  open(act: string, keys: readonly PhaseKey[]): void {
    this.past.push({ act: this.act, phases: this.phases })
    this.act = act
    this.transfer = undefined
    this.phases = []
    this.expect(keys)
    this.tell('act', act)
  }

  get phase(): Phase | undefined {
    return this.phases.find(({ state }) => state === 'now')
  }

  /** Ends what was going on, well, and begins `key`: the next planned one of that kind, or one that was not planned. */
  enter(key: PhaseKey, at = Date.now()): void {
    if (this.phase?.key === key) return
    this.leave('done', '', at)
    let next = this.phases.find(phase => phase.key === key && phase.state === 'to come')
    if (!next) {
      next = phaseOf(key)
      const reached = this.phases.findLastIndex(({ state }) => state !== 'to come')
      this.phases.splice(reached + 1, 0, next)
    }
    next.state = 'now'
    next.begun = at
    this.tell('begin', next.title, at)
  }

  /** What is being done in this phase. */
  note(what: string): void {
    const { phase } = this
    if (phase) phase.note = what
    this.tell('make', what)
  }

  leave(state: 'done' | 'failed', note = '', at = Date.now()): void {
    const phase = this.phase
    if (!phase) return
    phase.state = state
    phase.ended = at
    phase.note = note
    const seconds = ((phase.ended - phase.begun) / 1000).toFixed(1)
    this.tell(state, `${phase.title} (${seconds} s)${note && `: ${note}`}`, at)
  }
}
