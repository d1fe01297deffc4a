import type { Clock } from '../ports.ts'

/** A pause may be made up for by this much time's worth of bytes, in milliseconds: more would be a burst. */
const CREDIT = 1_000

/**
 * The same pieces, on average no faster than `bytesPerSecond`. Who gives them is not asked while we wait, so the sender is
 * slowed down as well, and nothing piles up.
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
