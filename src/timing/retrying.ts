import type { Clock } from '../ports/clock.ts'

export interface RetryPolicy {
  /** Milliseconds until the next try after `failures` failures in a row. Undefined, or an error that it throws, ends the tries. */
  readonly pause: (error: unknown, failures: number) => number | undefined
  /** Called before the pause, for the log. */
  readonly onRetry: (error: unknown, pause: number) => void
  /** Whether a try of this duration worked for a while. If so, its failure is the first of a new row. */
  readonly hasWorked?: (milliseconds: number) => boolean
}

/**
 * Repeats `work` until it succeeds, with a pause after each failure. Errors: the reason of `signal`; the error after which the policy
 * ends the tries.
 */
export async function retrying<T>(
  work: () => Promise<T>,
  policy: RetryPolicy,
  clock: Clock,
  signal: AbortSignal,
): Promise<T> {
  const failed = retries(policy, clock, signal)
  for (;;) {
    const begun = clock.monotonic()
    try {
      return await work()
    } catch (error) {
      await failed(error, policy.hasWorked?.(clock.monotonic() - begun))
    }
  }
}

/** The same policy for work that yields results on the way, such as a generator. Call the result with each failure. */
export function retries(
  policy: Pick<RetryPolicy, 'pause' | 'onRetry'>,
  clock: Clock,
  signal: AbortSignal,
): (error: unknown, hasWorked?: boolean) => Promise<void> {
  let failures = 0
  return async (error, hasWorked = false) => {
    signal.throwIfAborted()
    failures = hasWorked ? 1 : failures + 1
    const pause = policy.pause(error, failures)
    if (pause === undefined) throw error
    policy.onRetry(error, pause)
    await clock.sleep(pause, signal)
  }
}
