import { setTimeout as sleep } from 'node:timers/promises'
import { EXIT, Failure } from './failure.ts'
import { HubFailure } from './hub-service.ts'

export interface FollowOptions {
  /** Milliseconds between two looks. */
  readonly interval: number
  /** Milliseconds that the hub may be away before we give up. */
  readonly patience: number
  /** Milliseconds to follow at the most. */
  readonly timeout: number
}

export const FOLLOW_HELP = `
Following survives failed polls and a hub that is away; Ctrl-C ends the watching, never the update.`

/** The longest pause between two tries while the hub is away, in milliseconds. */
const LONGEST_PAUSE = 5_000

/** Why a watch ended before its end. */
export class Stopped extends Failure {
  constructor(more = '') {
    super(EXIT.stopped, `stopped watching; the update goes on${more && `: ${more}`}`)
  }
}

/**
 * Looks again and again until `look` gives a result, which is then ours. A failure that passes is told to `onTrouble`
 * and survived. Errors: Stopped when `signal` aborts; Failure when the hub is away for too long, refuses, or time is up.
 */
export async function follow<T>(
  look: () => Promise<T | undefined>,
  onTrouble: (why: string, forMilliseconds: number) => void,
  { interval, patience, timeout }: FollowOptions,
  signal: AbortSignal,
): Promise<T> {
  const deadline = Date.now() + timeout
  let troubleSince: number | undefined
  for (let failures = 0; ; ) {
    if (signal.aborted) throw new Stopped()
    try {
      const result = await aborted(look(), signal)
      if (result !== undefined) return result
      failures = 0
      troubleSince = undefined
    } catch (error) {
      if (!(error instanceof HubFailure) || !error.passing) throw error
      failures += 1
      troubleSince ??= Date.now()
      const away = Date.now() - troubleSince
      if (away > patience) throw error
      onTrouble(error.message, away)
    }
    if (Date.now() > deadline) {
      throw new Failure(EXIT.unavailable, `the update did not end within ${Math.round(timeout / 60_000)} minutes`)
    }
    const pause = failures === 0 ? interval : Math.min(interval * 2 ** Math.min(failures, 10), LONGEST_PAUSE)
    await sleep(pause, undefined, { signal }).catch(() => {})
  }
}

/** Aborts once somebody presses Ctrl-C. The second time the program ends at once, as ever. */
export function untilInterrupted(): AbortSignal {
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  return stop.signal
}

function aborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new Stopped())
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
