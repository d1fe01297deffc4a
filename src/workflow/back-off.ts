import type { Clock } from '../ports.ts'

/** Milliseconds to wait after `failures` failures in a row: 1 s doubling to 5 min, of which a random upper half. */
export function backOff(failures: number, clock: Pick<Clock, 'random'>, longest = 300_000): number {
  const most = Math.min(longest, 1000 * 2 ** Math.min(failures - 1, 20))
  return most * (0.5 + clock.random() / 2)
}
