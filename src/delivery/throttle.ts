import type { Clock } from '../ports/clock.ts'

/** After a pause, at most this many milliseconds' worth of bytes may catch up; more would be a burst. */
const CREDIT = 1_000

/**
 * The same pieces, on average no faster than `bytesPerSecond`. The producer is not asked while we wait, so the sender slows
 * down too and nothing accumulates.
 */
export async function* throttled(
  source: AsyncIterable<Buffer>,
  bytesPerSecond: number,
  clock: Pick<Clock, 'monotonic' | 'sleep'>,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  let due = clock.monotonic()
  for await (const piece of source) {
    yield piece
    due = Math.max(due, clock.monotonic() - CREDIT) + (piece.length / bytesPerSecond) * 1000
    const early = due - clock.monotonic()
    if (early > 0) await clock.sleep(early, signal)
  }
}
