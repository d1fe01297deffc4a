export interface Clock {
  /** Milliseconds since some fixed point; never goes back. */
  monotonic(): number
  /** Wall clock, which may be wrong and may jump: for people only, never for decisions. */
  now(): Date
  /** Rejects with the signal's reason on abort. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>
  /** 0 ≤ x < 1, for jitter. */
  random(): number
}
