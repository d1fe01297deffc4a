import { setTimeout as sleep } from 'node:timers/promises'
import type { Job } from './worker.ts'

/** What a worker gets instead of its program's end. The order has no end then: it is as after a power cut. */
class Interrupted extends Error {
  override readonly name = 'Interrupted'

  constructor() {
    super('the step service is stopping')
  }
}

/** When a machine goes down, systemd refuses new units some moments before it tells the service to stop. In milliseconds. */
const SOON = 1000

/** Whether this service is stopping: what runs may go on to its end, and nothing more begins. */
export class Stopping {
  #is = false

  begin(): void {
    this.#is = true
  }

  /** Calls `interrupted` and throws `Interrupted` when this service is stopping. */
  check(interrupted: () => void): void {
    if (!this.#is) return
    interrupted()
    throw new Interrupted()
  }

  /**
   * The same launch, which rejects with `Interrupted`, after a call of `interrupted`, if the stop has kept the program from
   * starting or has ended it: such an end says nothing about the step.
   */
  around(launch: Job['launch'], interrupted: () => void): Job['launch'] {
    return async (command, options) => {
      this.check(interrupted)
      const launched = await launch(command, options)
      if (launched.exitCode !== undefined || launched.timedOut || options.signal.aborted) return launched
      if (launched.signal === undefined) await sleep(SOON)
      this.check(interrupted)
      return launched
    }
  }
}
