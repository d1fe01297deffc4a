import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../ports/clock.ts'

export const systemClock: Clock = {
  monotonic: () => performance.now(),
  now: () => new Date(),
  async sleep(milliseconds, signal) {
    try {
      await sleep(milliseconds, undefined, { signal })
    } catch (error) {
      signal.throwIfAborted()
      throw error
    }
  },
  random: () => Math.random(),
}
