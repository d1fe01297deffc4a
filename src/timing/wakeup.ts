import type { Clock } from '../ports/clock.ts'

/** The signal to look again. It is kept while nobody waits, so no event is missed. One waiter at a time. */
export class Wakeup {
  #pending = false
  #release: (() => void) | undefined

  wake(): void {
    this.#pending = true
    this.#release?.()
  }

  /** Waits for the next `wake`, at most `milliseconds`; returns at once if one came since the last wait. */
  async wait(milliseconds: number | undefined, clock: Clock, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (!this.#pending) {
      const awake = new AbortController()
      const either = AbortSignal.any([signal, awake.signal])
      this.#release = () => awake.abort()
      // A timer cannot run for ever; the loop looks again and waits on.
      await clock.sleep(milliseconds ?? 86_400_000, either).catch(() => {})
      this.#release = undefined
    }
    this.#pending = false
    signal.throwIfAborted()
  }
}
