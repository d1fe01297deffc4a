import type { Clock } from '../ports/clock.ts'

/** Milliseconds to wait after `failures` failures in a row: 1 s, doubled each time up to `longest`; the upper half is random. */
export function backOff(failures: number, clock: Pick<Clock, 'random'>, longest = 300_000): number {
  const most = Math.min(longest, 1000 * 2 ** Math.min(failures - 1, 20))
  return most * (0.5 + clock.random() / 2)
}
