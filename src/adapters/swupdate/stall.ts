/** Looks per limit. Looks are counted instead of time, so time in which the agent itself was stopped does not count. */
const LOOKS = 20

/** Notices that SWUpdate does nothing while the agent waits for it. */
export class StallWatch {
  readonly #position: () => Promise<string>
  readonly #late: () => Error
  readonly #over = new AbortController()
  readonly #timer: NodeJS.Timeout
  #waiting = 0
  #silent = 0
  #seen: string | undefined

  /**
   * `limit`: milliseconds without a sign of life. `position`: a text that changes while SWUpdate writes, for the times when it
   * neither reads nor speaks. `late`: the reason of `signal`.
   */
  constructor(limit: number, position: () => Promise<string>, late: () => Error) {
    this.#position = position
    this.#late = late
    this.#timer = setInterval(() => void this.#look(), limit / LOOKS)
  }

  /** Aborts at the limit. */
  get signal(): AbortSignal {
    return this.#over.signal
  }

  /** Waits for `work` of SWUpdate. The limit counts only meanwhile; the start and the end of `work` are signs of life. */
  async during<T>(work: Promise<T>): Promise<T> {
    this.#waiting += 1
    this.beat()
    try {
      return await work
    } finally {
      this.#waiting -= 1
      this.beat()
    }
  }

  beat(): void {
    this.#silent = 0
  }

  end(): void {
    clearInterval(this.#timer)
  }

  async #look(): Promise<void> {
    if (this.#waiting === 0) return
    this.#silent += 1
    const position = await this.#position()
    if (position !== this.#seen) this.beat()
    this.#seen = position
    if (this.#silent > LOOKS && !this.#over.signal.aborted) this.#over.abort(this.#late())
  }
}
