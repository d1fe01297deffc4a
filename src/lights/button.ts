import type { Clock } from '../ports/clock.ts'

export interface PressOptions {
  /** Milliseconds. */
  readonly long: number
  /** Milliseconds after which nothing happens any more. */
  readonly tooLong: number
  readonly onShort: () => void
  /** The press is long now: the person may let go. */
  readonly onHeld: () => void
  readonly onLong: () => void
}

/**
 * Makes presses of the edges of a button. A long press counts when it ends, and one that never ends does not count at all: a button
 * that is stuck, or held while the power comes on, does nothing.
 */
export class Presses {
  readonly #clock: Pick<Clock, 'monotonic' | 'sleep'>
  readonly #options: PressOptions
  #isPressed: boolean
  /** When this press began; undefined when it does not count. */
  #since: number | undefined
  #holding = new AbortController()

  /** `isPressed`: in the first moment. */
  constructor(isPressed: boolean, clock: Pick<Clock, 'monotonic' | 'sleep'>, options: PressOptions) {
    this.#isPressed = isPressed
    this.#clock = clock
    this.#options = options
  }

  /** The level after an edge; the same one again is not an edge. */
  level(isPressed: boolean): void {
    if (isPressed === this.#isPressed) return
    this.#isPressed = isPressed
    this.#holding.abort()
    if (isPressed) this.#press()
    else this.#release()
  }

  end(): void {
    this.#since = undefined
    this.#holding.abort()
  }

  #press(): void {
    this.#since = this.#clock.monotonic()
    this.#holding = new AbortController()
    // Rejects only on abort.
    this.#clock.sleep(this.#options.long, this.#holding.signal).then(this.#options.onHeld, () => {})
  }

  #release(): void {
    if (this.#since === undefined) return
    const held = this.#clock.monotonic() - this.#since
    this.#since = undefined
    const { long, tooLong, onShort, onLong } = this.#options
    if (held < long) onShort()
    else if (held < tooLong) onLong()
  }
}
