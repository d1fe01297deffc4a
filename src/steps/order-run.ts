import type { End } from './order-records.ts'

/** An order that runs or waits. */
export interface Run {
  readonly what: string
  readonly control: AbortController
  readonly watchers: Set<(percent: number) => void>
  /** Known once the order is verified. */
  step?: string
  percent?: number
  /** It has no end: see `Stopping`. */
  isInterrupted?: boolean
  ended: Promise<End | undefined>
}

/** An order that was taken. */
export interface Taken {
  readonly ended: Promise<End | undefined>
  leave(): void
}

/** Tells whoever waits for it, in whole percent. */
export function progress(run: Run, percent: number): void {
  const whole = Math.max(0, Math.min(100, Math.floor(percent)))
  if (Number.isNaN(whole) || run.percent === whole) return
  run.percent = whole
  for (const watcher of run.watchers) watcher(whole)
}
