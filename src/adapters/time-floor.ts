import { readFileSync, statSync } from 'node:fs'
import { messageOf } from '../domain/errors.ts'
import type { Log } from '../ports.ts'
import { writeAtomically } from './atomic-file.ts'

/** systemd starts the clock no earlier than this file's time (systemd-timesyncd(8)). */
const EPOCH_FILE = '/usr/lib/clock-epoch'

/** Nothing that claims to be from later is believed: a floor may be too low, it must never be too high. In milliseconds. */
const BELIEVABLE = 20 * 365 * 86_400_000

/** The file is written anew when the floor has risen by so many milliseconds. */
const WORTH_A_WRITE = 3_600_000

/**
 * The time that it is at the least. A Pi has no clock that runs without power, and may believe to be in 1970: what it has
 * seen is known all the same, and a token is made out for then. Nothing is ever refused because of it.
 */
export class TimeFloor {
  readonly #file: string
  readonly #log: Log
  readonly #built: number
  #floor: number
  #written: number

  /** Of the newest of `program`, the system's epoch file and what `file` remembers. */
  constructor(file: string, program: string, log: Log) {
    this.#file = file
    this.#log = log
    this.#built = Math.max(modified(program), modified(EPOCH_FILE))
    this.#floor = this.#built
    this.#written = remembered(file)
    this.raise(this.#written)
  }

  /** It is `time`, in milliseconds since 1970, or later. */
  raise(time: number): void {
    if (time > this.#floor && time < this.#built + BELIEVABLE) this.#floor = time
  }

  /** It is what the clock says, or later; remembered over a restart. Never fails. */
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

  /** Milliseconds that the clock is behind at the least; 0 for one that may be right. */
  behind(now = Date.now()): number {
    return Math.max(0, this.#floor - now)
  }

  /** For an error that a wrong clock may have caused: says so. */
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
