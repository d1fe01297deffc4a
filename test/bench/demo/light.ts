import type { Mood } from './scene.ts'

/** [milliseconds on, milliseconds off]; 0 off: steady. The patterns of the real lights, see src/adapters/leds.ts. */
type Blink = readonly [number, number]
const PATTERN: Readonly<Record<Mood, { readonly green?: Blink; readonly red?: Blink }>> = {
  connecting: { green: [100, 1900] },
  idle: { green: [1, 0] },
  installing: { green: [250, 250] },
  restarting: { green: [100, 100] },
  trial: { green: [250, 250], red: [250, 250] },
  failed: { green: [1, 0], red: [1, 0] },
}

/** Which lights are lit, `age` milliseconds after the mood began. */
export function light(mood: Mood, age: number): { green: boolean; red: boolean } {
  const lit = (blink: Blink | undefined) =>
    blink !== undefined && (blink[1] === 0 || age % (blink[0] + blink[1]) < blink[0])
  return { green: lit(PATTERN[mood].green), red: lit(PATTERN[mood].red) }
}
