import { PATTERNS } from '../../src/lights/patterns.ts'
import type { Mood } from '../../src/view/event.ts'

export const MOODS = Object.keys(PATTERNS) as Mood[]

/**
 * How differently two rhythms look: infinite if one has more flashes in its cycle, else the largest ratio between two times,
 * at the beginning of the cycle that makes it smallest. The viewer knows neither the beginning nor the absolute time.
 */
export function distance(one: readonly number[], two: readonly number[]): number {
  if (one.length !== two.length) return Number.POSITIVE_INFINITY
  const turned = Array.from({ length: two.length / 2 }, (_, i) => [...two.slice(2 * i), ...two.slice(0, 2 * i)])
  return Math.min(...turned.map(each => Math.max(...each.map((time, i) => ratio(time, one[i] ?? 0)))))
}

const ratio = (a: number, b: number): number => Math.max(a, b) / Math.min(a, b)

/** A light as somebody sees it: milliseconds, and whether it is lit. Samples need not be evenly spaced. */
export type Sample = readonly [at: number, lit: boolean]

/** Milliseconds lit, dark, lit, dark, … in turn, from the first change to lit to the last change. */
export function timesIn(samples: readonly Sample[]): readonly number[] {
  const changes = samples.filter(([, lit], i) => i > 0 && lit !== samples[i - 1]?.[1])
  const begins = changes.findIndex(([, lit]) => lit)
  if (begins < 0) return []
  return changes.slice(begins).flatMap(([at], i, all) => (i === 0 ? [] : [at - (all[i - 1]?.[0] ?? 0)]))
}

/** The mood whose rhythm fits the whole cycles in `samples` best; undefined for a constant light, or when none fits. */
export function recognised(samples: readonly Sample[]): Mood | undefined {
  const times = timesIn(samples)
  const fits = MOODS.flatMap(mood => {
    const { rhythm } = PATTERNS[mood]
    const n = rhythm.length
    // Two whole cycles: fewer flashes might be the beginning of a longer rhythm.
    if (times.length < 2 * n) return []
    const seen = Array.from({ length: Math.floor(times.length / n) }, (_, i) => times.slice(i * n, (i + 1) * n))
    const apart = seen.map(cycle => distance(cycle, rhythm)).sort((a, b) => a - b)
    // A busy machine may spoil each fourth.
    return { mood, n, apart: apart[Math.ceil(0.75 * apart.length) - 1] ?? Number.POSITIVE_INFINITY }
  })
  // Most of a long rhythm may be a short one, repeated.
  return fits.filter(({ apart }) => apart < 1.6).sort((a, b) => b.n - a.n || a.apart - b.apart)[0]?.mood
}
