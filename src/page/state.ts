import { moodOf } from '../lights/mood.ts'
import { PATTERNS } from '../lights/patterns.ts'
import type { LightRole } from '../ports/lights.ts'
import type { ToldEvent } from '../view/event.ts'
import type { AgentView } from '../view/view.ts'

export interface DrawnLight {
  readonly name: string
  readonly role: LightRole
}

/** What a page shows of a device: texts as they are, never HTML. */
export interface Card {
  /** Name of the device. */
  readonly host: string
  /** Name and text, for a person. */
  readonly lines: readonly (readonly [name: string, text: string])[]
  readonly slots: readonly { readonly name: string; readonly text: string; readonly booted: boolean }[]
  readonly progress: { readonly percent: number; readonly text: string } | null
  readonly light: {
    readonly mood: string
    readonly means: string
    /** Milliseconds lit, dark, lit, … */
    readonly rhythm: readonly number[]
    /** Milliseconds since the pattern began. */
    readonly age: number
    /** Lights, and whether each takes part in the pattern. */
    readonly lamps: readonly { readonly name: string; readonly plays: boolean }[]
  }
  /** Newest last. */
  readonly events: readonly { readonly time: string; readonly text: string }[]
}

/** What the local page shows. */
export interface PageState extends Card {
  readonly consent: boolean
  /** Whether a PIN opens anything. */
  readonly pin: boolean
}

/** Lights of a device that has none: what one would show. */
export const NO_LIGHTS: readonly DrawnLight[] = [{ name: 'status (not connected)', role: 'status' }]

/** The lights of a view, as the player plays them. `now`: seconds since the machine's start. Pure. */
export function lightOf(
  view: AgentView,
  lights: readonly DrawnLight[],
  events: readonly ToldEvent[],
  now: number,
): Card['light'] {
  const mood = moodOf(view, now)
  const { rhythm, also, means } = PATTERNS[mood]
  const told = events.findLast(({ event }) => event === 'mood')
  const began = told?.event === 'mood' && told.mood === mood ? told.uptime : now
  return {
    mood: mood.replace(/[A-Z]/g, sign => ` ${sign.toLowerCase()}`),
    means: means.replaceAll(/[*`]/g, ''),
    rhythm,
    age: Math.max(0, Math.round((now - began) * 1000)),
    lamps: (lights.length > 0 ? lights : NO_LIGHTS).map(({ name, role }) => ({
      name,
      plays: role === 'status' || role === also,
    })),
  }
}
