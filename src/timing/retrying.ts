import type { Clock } from '../ports/clock.ts'
import { backOff } from './back-off.ts'

export interface RetryPolicy {
  /** Milliseconds until the next try after `failures` failures in a row. Undefined, or an error that it throws, ends the tries. */
  readonly pause: (error: unknown, failures: number) => number | undefined
  /** Called before the pause, for the log. */
  readonly onRetry: (error: unknown, pause: number) => void
  /** Whether a try of this duration worked for a while. If so, its failure is the first of a new row. */
  readonly hasWorked?: (milliseconds: number) => boolean
  /**
   * Resolves when the next try has better chances than this error says, such as with a new network. That ends the pause soon, and
   * begins a new row. Rejects with the reason of the signal.
   */
  readonly news?: (error: unknown, signal: AbortSignal) => Promise<void> | undefined
}

/**
 * The back-off after this many failures is the longest wait after news: 4 to 8 s, in which a name server and routes follow an address,
 * and in which the devices of one site, which have them at the same time, do not come at the same time.
 */
const NEWS = 4

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
  policy: Omit<RetryPolicy, 'hasWorked'>,
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
    if (await rest(pause, stop => policy.news?.(error, stop), clock, signal)) failures = 0
  }
}

/** Waits for `pause`, or shortly after news. Returns whether there were any. */
async function rest(
  pause: number,
  news: (signal: AbortSignal) => Promise<void> | undefined,
  clock: Clock,
  signal: AbortSignal,
): Promise<boolean> {
  const begun = clock.monotonic()
  const over = new AbortController()
  const either = AbortSignal.any([signal, over.signal])
  try {
    const slept = clock.sleep(pause, either).then(() => false)
    const told = news(either)?.then(() => true)
    if (!(await (told ? Promise.race([slept, told]) : slept))) return false
  } finally {
    over.abort()
  }
  const left = Math.max(0, pause - (clock.monotonic() - begun))
  await clock.sleep(Math.min(left, backOff(NEWS, clock)), signal)
  return true
}
