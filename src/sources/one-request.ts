import type { Request } from '../domain/deployment.ts'
import type { Clock } from '../ports/clock.ts'
import type { Loop, OnceSource, Outcome } from './once-source.ts'

/** Milliseconds within which the loop must accept a request; callers of the tutorials wait for 30 s. */
const PATIENCE = 20_000

/** `slow`: the loop has taken it and is not done with it. `late`: the loop did not come to it, and it was taken back. */
export type Answer = Outcome | { readonly is: 'slow' | 'late' }

/** One request on its way to the loop, which accepts or refuses it. */
export class OneRequest implements OnceSource {
  readonly #clock: Clock
  readonly #loop: Pick<Loop, 'wake'>
  #waiting: { readonly request: Request; readonly settle: (answer: Answer) => void; isTaken: boolean } | undefined

  constructor(clock: Clock, loop: Pick<Loop, 'wake'>) {
    this.#clock = clock
    this.#loop = loop
  }

  get request(): Request | undefined {
    return this.#waiting?.request
  }

  /** The loop begins `request`; false when its caller has been answered meanwhile, so it must not begin. */
  take(request: Request): boolean {
    if (this.#waiting?.request !== request) return false
    this.#waiting.isTaken = true
    return true
  }

  settle(request: Request, outcome: Outcome): void {
    if (this.#waiting?.request === request) this.#end(outcome)
  }

  /** Only while there is no `request`. */
  offer(request: Request): Promise<Answer> {
    return new Promise(resolve => {
      const taken = new AbortController()
      const settle = (answer: Answer): void => {
        taken.abort()
        resolve(answer)
      }
      const waiting = { request, settle, isTaken: false }
      this.#waiting = waiting
      this.#clock.sleep(PATIENCE, taken.signal).then(
        () => {
          if (this.#waiting === waiting) this.#end({ is: waiting.isTaken ? 'slow' : 'late' })
        },
        () => {},
      )
      this.#loop.wake(request)
    })
  }

  #end(answer: Answer): void {
    this.#waiting?.settle(answer)
    this.#waiting = undefined
  }
}
