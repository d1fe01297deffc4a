import { systemClock } from '../adapters/system/clock.ts'
import { messageOf } from '../domain/errors.ts'
import { deadline } from '../timing/deadline.ts'
import { type RetryPolicy, retrying } from '../timing/retrying.ts'
import { EXIT, Failure } from './failure.ts'
import { HubFailure } from './hub-service.ts'

export interface FollowOptions {
  /** Milliseconds between two polls. */
  readonly interval: number
  /** Milliseconds that the hub may be unreachable before we give up. */
  readonly patience: number
  /** Total timeout in milliseconds. */
  readonly timeout: number
}

export const FOLLOW_HELP = `
Following tolerates failed polls and an unreachable hub. Ctrl-C stops the watching, never the update.`

/** The longest pause between two attempts while the hub is unreachable, in milliseconds. */
const LONGEST_PAUSE = 5_000

/** Why a watch ended before its end. */
export class Stopped extends Failure {
  constructor(more = '') {
    super(EXIT.stopped, `stopped watching; the update goes on${more && `: ${more}`}`)
  }
}

/** A timer of Node's runs no longer (timers.html, setTimeout). */
const LONGEST_TIMER = 2 ** 31 - 1

/**
 * Polls until `look` gives a result, and returns it. Transient failures are reported to `onTrouble` and tolerated. Errors:
 * Stopped when `signal` aborts; Failure when the hub is away for too long or refuses, or at the timeout, also during a `look`.
 */
export async function follow<T>(
  look: () => Promise<T | undefined>,
  onTrouble: (why: string, forMilliseconds: number) => void,
  { interval, patience, timeout }: FollowOptions,
  signal: AbortSignal,
): Promise<T> {
  const text = `the update did not end within ${Math.round(timeout / 60_000)} minutes`
  const late = () => new Failure(EXIT.unavailable, text)
  const limit = deadline(systemClock, Math.min(timeout, LONGEST_TIMER), late, signal)
  let troubleSince: number | undefined
  const away = (): number => systemClock.monotonic() - (troubleSince ?? 0)
  const policy: RetryPolicy = {
    pause(error, failures) {
      troubleSince ??= systemClock.monotonic()
      const passes = error instanceof HubFailure && error.passing && away() <= patience
      return passes ? Math.min(interval * 2 ** Math.min(failures, 10), LONGEST_PAUSE) : undefined
    },
    onRetry: error => onTrouble(messageOf(error), away()),
  }
  try {
    for (;;) {
      const result = await retrying(() => unlessAborted(look(), limit.signal), policy, systemClock, limit.signal)
      if (result !== undefined) return result
      troubleSince = undefined
      await systemClock.sleep(interval, limit.signal)
    }
  } catch (error) {
    throw signal.aborted ? new Stopped() : error
  } finally {
    limit.clear()
  }
}

let follower: AbortController | undefined

/** Aborts at Ctrl-C, SIGTERM and SIGHUP. A second Ctrl-C or SIGTERM ends the program at once. */
export function untilInterrupted(): AbortSignal {
  follower = new AbortController()
  return follower.signal
}

/**
 * Listens for the whole run of the program. A library's own SIGINT handler, such as the one that restores the cursor, would
 * otherwise end the program silently as soon as nobody else listens.
 */
export function endOnInterrupt(): void {
  const onSignal = (name: NodeJS.Signals): void => {
    // The terminal may be gone, and both the kernel and the shell say so.
    if (name === 'SIGHUP') for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
    if (!follower) process.stderr.write('pi-adu-operator: stopped\n')
    if (!follower || (follower.signal.aborted && name !== 'SIGHUP')) process.exit(EXIT.stopped)
    follower.abort()
  }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal)
}

/** `promise`, or Stopped as soon as `signal` aborts. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new Stopped())
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
