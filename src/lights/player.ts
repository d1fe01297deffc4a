import type { Schedule } from '../gates/window.ts'
import type { Clock } from '../ports/clock.ts'
import type { Events } from '../ports/events.ts'
import type { Lights } from '../ports/lights.ts'
import type { Mood } from '../view/event.ts'
import type { AgentView } from '../view/view.ts'
import { moodOf, untilMood } from './mood.ts'
import { DARK, litAt, PATTERNS, untilChange } from './patterns.ts'

/** Milliseconds between two looks at the wall clock, which may jump. */
const NIGHT_LOOK = 30_000

export interface PlayerOptions {
  /** When the lights are off, except for somebody who asks for them. */
  readonly off?: Schedule | undefined
  /** Seconds since the machine's start. */
  readonly uptime: () => number
}

/** Plays the pattern of the newest view's mood; the same mood again does not restart it. */
export class LightPlayer {
  readonly #lights: Lights
  readonly #clock: Pick<Clock, 'monotonic' | 'now' | 'sleep'>
  readonly #events: Pick<Events, 'tell'>
  readonly #options: PlayerOptions
  #mood: Mood | undefined
  #timeTrusted = false
  #playing = new AbortController()
  #timer = new AbortController()

  constructor(
    lights: Lights,
    clock: Pick<Clock, 'monotonic' | 'now' | 'sleep'>,
    events: Pick<Events, 'tell'>,
    options: PlayerOptions,
  ) {
    this.#lights = lights
    this.#clock = clock
    this.#events = events
    this.#options = options
  }

  /** The lights show it when this returns. */
  see(view: AgentView): void {
    this.#timer.abort()
    this.#timer = new AbortController()
    this.#timeTrusted = view.time.trusted
    const now = this.#options.uptime()
    const rest = untilMood(view, now)
    if (rest !== undefined) {
      // Rejects only on abort.
      this.#clock.sleep(rest * 1000, this.#timer.signal).then(
        () => this.see(view),
        () => {},
      )
    }
    this.#show(moodOf(view, now))
  }

  end(): void {
    this.#timer.abort()
    this.#playing.abort()
    this.#lights.end()
  }

  #show(mood: Mood): void {
    if (mood === this.#mood) return
    this.#mood = mood
    this.#playing.abort()
    this.#playing = new AbortController()
    // Rejects only on abort.
    this.#play(mood, this.#playing.signal).catch(() => {})
    // Last, because whoever is told may show another one.
    this.#events.tell({ event: 'mood', mood })
  }

  async #play(mood: Mood, signal: AbortSignal): Promise<void> {
    const pattern = PATTERNS[mood]
    const begun = this.#clock.monotonic()
    let looked = Number.NEGATIVE_INFINITY
    let isOff = false
    while (!signal.aborted) {
      const now = this.#clock.monotonic()
      if (now - looked >= NIGHT_LOOK) {
        looked = now
        isOff = this.#isOff(mood)
      }
      this.#lights.set(isOff ? DARK : litAt(pattern, now - begun))
      await this.#clock.sleep(isOff ? NIGHT_LOOK : untilChange(pattern, now - begun), signal)
    }
  }

  #isOff(mood: Mood): boolean {
    // A clock that is wrong does not know when it is night.
    if (mood === 'identify' || !this.#timeTrusted) return false
    return this.#options.off?.(this.#clock.now().getTime()).open === true
  }
}
