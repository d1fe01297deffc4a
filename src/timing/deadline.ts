import type { Clock } from '../ports/clock.ts'

/** A timeout for other code's work. `clear` ends it and must be called. */
export interface Deadline {
  /** Aborts with the caller's signal, or with `late` at the timeout, however busy the work is. */
  readonly signal: AbortSignal
  clear(): void
}

/** Use it for everything from the network: a check between two pieces would have to wait for a piece. */
export function deadline(clock: Clock, milliseconds: number, late: () => Error, signal: AbortSignal): Deadline {
  const over = new AbortController()
  const cleared = new AbortController()
  clock.sleep(milliseconds, AbortSignal.any([signal, cleared.signal])).then(
    () => over.abort(late()),
    () => {},
  )
  return { signal: AbortSignal.any([signal, over.signal]), clear: () => cleared.abort() }
}
