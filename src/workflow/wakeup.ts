import type { Clock } from '../ports.ts'

/** "Look again": remembered when nobody waits, so that no news is slept through. One waiter at a time. */
export class Wakeup {
  #pending = false
  #release: (() => void) | undefined

  wake(): void {
    this.#pending = true
    this.#release?.()
  }

  /** Until the next `wake`, for `milliseconds` at the most; at once when one came since the last wait. */
  async wait(milliseconds: number | undefined, clock: Clock, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (!this.#pending) {
      const awake = new AbortController()
      const either = AbortSignal.any([signal, awake.signal])
      this.#release = () => awake.abort()
      // Longer than any timer may run; the loop looks again and waits on.
      await clock.sleep(milliseconds ?? 86_400_000, either).catch(() => {})
      this.#release = undefined
    }
    this.#pending = false
    signal.throwIfAborted()
  }
}
