import { HubError, messageOf } from '../domain/errors.ts'
import { isObject } from '../domain/members.ts'
import type { SendReport, TwinPart } from '../hub/twin-part.ts'
import type { Clock } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'
import type { AgentView } from '../view/view.ts'
import { endedLocally, type Facts, type OwnProperty, ownProperty } from './own-property.ts'
import { patchTo } from './patch.ts'

export interface OwnReporterOptions {
  /** Whether the progress in percent is reported too. */
  readonly progress: boolean
  readonly layers: Facts['layers']
  /** Seconds since the machine's start. */
  readonly uptime: () => number
}

/** Milliseconds: a new phase is written when it has lasted this long, any other change this long after the last write. */
const LASTING = 3_000
const BETWEEN = 60_000

/** Keeps `piAdu` in the twin as the view is. A failed report costs nothing but the report. */
export class OwnReporter implements TwinPart {
  readonly #clock: Clock
  readonly #log: Log
  readonly #options: OwnReporterOptions
  #view: AgentView | undefined
  #send: SendReport | undefined
  /** What the twin shows, without what others write. */
  #shown: Readonly<Record<string, unknown>> = {}
  #hasLocal = false
  /** Milliseconds of the monotonic clock. */
  #phaseSince = 0
  #written = Number.NEGATIVE_INFINITY
  #timer: AbortController | undefined
  #isSending = false
  /** What the hub has refused. */
  #refused: string | undefined

  constructor(clock: Clock, log: Log, options: OwnReporterOptions) {
    this.#clock = clock
    this.#log = log
    this.#options = options
  }

  /** Called with each new view. */
  show(view: AgentView): void {
    if (view.phase !== this.#view?.phase) this.#phaseSince = this.#clock.monotonic()
    this.#view = view
    this.#hasLocal ||= endedLocally(view)
    this.#look()
  }

  onConnected(reported: unknown, send: SendReport): void {
    const { piAdu } = isObject(reported) ? reported : {}
    const { certificate: _, local, ...own } = isObject(piAdu) ? piAdu : {}
    this.#hasLocal ||= local !== undefined
    this.#shown = own
    this.#refused = undefined
    this.#send = send
    this.#look()
  }

  onDesired(): void {}

  onLost(): void {
    this.#send = undefined
    this.#timer?.abort()
  }

  /** Writes now or later, if there is something to write. */
  #look(): void {
    this.#timer?.abort()
    const send = this.#send
    if (!send || this.#isSending || !this.#view) return
    const wanted = this.#wanted(this.#view)
    const patch = patchTo(this.#shown, { ...wanted })
    if (patch === undefined || JSON.stringify(wanted) === this.#refused) return
    const due = 'phase' in patch ? this.#phaseSince + LASTING : this.#written + BETWEEN
    const pause = due - this.#clock.monotonic()
    if (pause <= 0) {
      void this.#write(send, patch, wanted)
      return
    }
    const timer = new AbortController()
    this.#timer = timer
    this.#clock.sleep(pause, timer.signal).then(
      () => this.#look(),
      () => {},
    )
  }

  #wanted(view: AgentView): OwnProperty {
    const { progress, layers, uptime } = this.#options
    const moment = { now: this.#clock.now().getTime(), uptime: uptime() }
    return ownProperty({ view, progress, layers, hasLocal: this.#hasLocal, ...moment })
  }

  async #write(send: SendReport, patch: object, wanted: OwnProperty): Promise<void> {
    this.#isSending = true
    this.#written = this.#clock.monotonic()
    try {
      await send({ piAdu: patch })
      this.#refused = undefined
    } catch (error) {
      // A refused one is not repeated; after a lost connection the twin is read again.
      this.#refused = JSON.stringify(wanted)
      const isKnown = error instanceof HubError
      this.#log.warn('own-property.skipped', {
        why: messageOf(error),
        ...(isKnown ? {} : { stack: (error as Error)?.stack }),
      })
    } finally {
      this.#isSending = false
    }
    // A newer connection has read the twin itself.
    if (this.#send === send && this.#refused === undefined) this.#shown = { ...wanted }
    this.#look()
  }
}
