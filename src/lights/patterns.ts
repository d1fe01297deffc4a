import type { LightRole, Lit } from '../ports/lights.ts'
import type { Mood } from '../view/event.ts'

export interface Pattern {
  /** Milliseconds lit, dark, lit, dark, … in turn; then from the beginning. */
  readonly rhythm: readonly number[]
  /** The role that shows it beside `status`. */
  readonly also?: Exclude<LightRole, 'status'>
  /** For the person in front of the device. */
  readonly means: string
}

/**
 * The only table of light patterns: boards play it, the demo draws it, the documentation shows it. One light is enough to tell
 * them apart: either the number of flashes differs, or one time by a factor of two. None is constant, so a light that is
 * always lit or always dark means that no agent runs.
 */
export const PATTERNS: Readonly<Record<Mood, Pattern>> = {
  starting: { rhythm: [2000, 2000], means: 'the agent has started, and connects for the first time' },
  online: { rhythm: [2800, 200], means: 'connected to the hub, nothing to do' },
  offline: { rhythm: [200, 2800], means: 'not connected to the hub, nothing to do' },
  waiting: {
    rhythm: [200, 300, 200, 2300],
    means: 'an update waits: for a time window, a lock, power, or the next try',
  },
  waitingForConsent: { rhythm: [200, 300, 200, 300, 200, 1800], means: 'an update waits for consent' },
  downloading: { rhythm: [750, 750], also: 'activity', means: 'downloading' },
  writing: { rhythm: [250, 250], also: 'activity', means: '**do not cut the power**: an update is being written' },
  rebooting: { rhythm: [100, 100], also: 'activity', means: 'rebooting' },
  trial: { rhythm: [200, 300, 1000, 1500], also: 'activity', means: 'a new system is on trial' },
  updated: { rhythm: [300, 200, 300, 200, 2000, 200], means: 'the update is done; for a minute' },
  fellBack: {
    rhythm: [1000, 300, 200, 300, 200, 1500],
    also: 'fault',
    means: 'the new system failed its trial, and the old one runs; until the next deployment',
  },
  failed: {
    rhythm: [1000, 300, 1000, 1700],
    also: 'fault',
    means:
      'the deployment failed, until the next one; the stick cannot be used, until it is taken out; or the certificate of the device could not be renewed',
  },
  identify: {
    rhythm: [100, 100, 100, 100, 100, 100, 100, 100, 100, 900],
    means: 'somebody asked for this device (`identify`)',
  },
  configRefused: {
    rhythm: [1000, 300, 1000, 300, 1000, 1400],
    also: 'fault',
    means: 'the new configuration was refused, and the old one is in use',
  },
}

export const DARK: Lit = { status: false, activity: false, fault: false }

/** After this process has ended a light can only be constant. */
export const REFUSED_AND_ENDED: Lit = { status: true, activity: false, fault: true }

/** Which lights are lit, `age` milliseconds after the pattern began. */
export function litAt({ rhythm, also }: Pattern, age: number): Lit {
  const lit = at(rhythm, age).index % 2 === 0
  return { status: lit, activity: lit && also === 'activity', fault: lit && also === 'fault' }
}

/** Milliseconds from `age` until a light changes. */
export const untilChange = ({ rhythm }: Pattern, age: number): number => at(rhythm, age).left

/** Where in the rhythm `age` is, and how long that part still lasts. */
function at(rhythm: readonly number[], age: number): { readonly index: number; readonly left: number } {
  const cycle = rhythm.reduce((sum, part) => sum + part, 0)
  let left = -(age % cycle)
  const index = rhythm.findIndex(part => {
    left += part
    return left > 0
  })
  return { index, left }
}
