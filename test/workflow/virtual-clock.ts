import { setImmediate as turn } from 'node:timers/promises'
import type { Clock } from '../../src/ports/clock.ts'

interface Timer {
  readonly due: number
  readonly ring: () => void
}

/** Time that passes only while everything waits: days of back-off cost no time, and every run is the same. */
export class VirtualClock implements Clock {
  #now = 0
  #timers: Timer[] = []

  monotonic(): number {
    return this.#now
  }

  now(): Date {
    return new Date(Date.UTC(2026, 0, 1) + this.#now)
  }

  sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const onAbort = (): void => {
        this.#timers = this.#timers.filter(each => each !== timer)
        reject(signal.reason)
      }
      const ring = (): void => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      }
      const timer: Timer = { due: this.#now + milliseconds, ring }
      this.#timers.push(timer)
      signal.addEventListener('abort', onAbort, { once: true })
    })
  }

  random(): number {
    return 0.5
  }

  /** How many sleep. */
  get timers(): number {
    return this.#timers.length
  }

  /** Lets time pass until `done`, or for `limit` milliseconds. */
  async passUntil(done: () => boolean, limit: number): Promise<boolean> {
    const end = this.#now + limit
    while (!done()) {
      // Whatever can still run without time runs first.
      for (let turns = 0; turns < 8; turns++) await turn()
      if (done()) break
      const next = this.#timers.reduce<Timer | undefined>((a, b) => (a && a.due <= b.due ? a : b), undefined)
      if (!next) continue
      if (next.due > end) return false
      this.#timers = this.#timers.filter(each => each !== next)
      this.#now = Math.max(this.#now, next.due)
      next.ring()
    }
    return true
  }
}
