import { readFileSync, statSync } from 'node:fs'
import { messageOf } from '../../domain/errors.ts'
import type { Log } from '../../ports/log.ts'
import { writeAtomically } from '../files/atomic-file.ts'

/** systemd starts the clock no earlier than this file's time (systemd-timesyncd(8)). */
const EPOCH_FILE = '/usr/lib/clock-epoch'

/** Milliseconds after the build; later times are not believed. A floor may be too low, but must never be too high. */
const BELIEVABLE = 20 * 365 * 86_400_000

/** Milliseconds that the floor must rise before the file is written again. */
const WORTH_A_WRITE = 3_600_000

/**
 * A lower bound on the current time. A Pi has no clock that runs without power, and may start in 1970. The bound is then used
 * instead, to issue tokens. Nothing is ever refused because of it.
 */
export class TimeFloor {
  readonly #file: string
  readonly #log: Log
  readonly #built: number
  #floor: number
  #written: number

  /** The bound is the newest of: the time of `program`, the time of the system's epoch file, the time noted in `file`. */
  constructor(file: string, program: string, log: Log) {
    this.#file = file
    this.#log = log
    this.#built = Math.max(modified(program), modified(EPOCH_FILE))
    this.#floor = this.#built
    this.#written = remembered(file)
    this.raise(this.#written)
  }

  /** When this program was made, in milliseconds since 1970. A correct clock never showed an earlier time. */
  get built(): number {
    return this.#built
  }

  /** The current time is `time`, in milliseconds since 1970, or later. */
  raise(time: number): void {
    if (time > this.#floor && time < this.#built + BELIEVABLE) this.#floor = time
  }

  /** The current time is `now` or later. Noted for the next start. Never fails. */
  async seen(now = Date.now()): Promise<void> {
    this.raise(now)
    if (this.#floor - this.#written < WORTH_A_WRITE) return
    try {
      await writeAtomically(this.#file, `${new Date(this.#floor).toISOString()}\n`)
      this.#written = this.#floor
    } catch (error) {
      this.#log.warn('clock.not-remembered', { why: messageOf(error) })
    }
  }

  /** Milliseconds that the clock is behind, at least; 0 if it may be right. */
  behind(now = Date.now()): number {
    return Math.max(0, this.#floor - now)
  }

  /** `message`, with a hint if a wrong clock may be the cause. */
  explain(message: string, now = Date.now()): string {
    const clock = `this device's clock says ${iso(now)}`
    if (this.behind(now) > 0) {
      return `${message} (${clock}, but it is ${iso(this.#floor)} or later: waiting for time synchronisation)`
    }
    if (!/not yet valid|has expired|CERT_NOT_YET_VALID|CERT_HAS_EXPIRED/i.test(message)) return message
    return `${message} (${clock}; if that is wrong: waiting for time synchronisation)`
  }
}

const iso = (time: number): string => new Date(time).toISOString().slice(0, 19)

function modified(file: string): number {
  try {
    return statSync(file).mtimeMs
  } catch {
    return 0
  }
}

function remembered(file: string): number {
  try {
    return Date.parse(readFileSync(file, 'utf8').trim()) || 0
  } catch {
    return 0
  }
}
