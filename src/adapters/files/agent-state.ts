import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { messageOf } from '../../domain/errors.ts'
import type { Log } from '../../ports/log.ts'
import type { AgentView } from '../../view/view.ts'

/**
 * A small file that says whether the agent is connected, and whether somebody looks for this device, for shell scripts and systemd path units. It is written on each change;
 * on a device it is in memory (tmpfs). A write error is logged once.
 */
export class AgentState {
  readonly #file: string
  readonly #log: Log
  #written = ''
  #complained = false

  constructor(file: string, log: Log) {
    this.#file = file
    this.#log = log
  }

  show({ agent, hub, identifyUntil }: AgentView): void {
    const identify = identifyUntil === null ? {} : { identify: true }
    // The hub comes last: by its end a script sees that the line is whole.
    const text = `${JSON.stringify({ pid: agent?.pid, version: agent?.version, ...identify, hub })}\n`
    if (text === this.#written) return
    this.#written = text
    try {
      writeFileSync(`${this.#file}.new`, text, { mode: 0o644 })
      renameSync(`${this.#file}.new`, this.#file)
    } catch (error) {
      if (!this.#complained) this.#log.warn('state.not-written', { file: this.#file, why: messageOf(error) })
      this.#complained = true
    }
  }

  end(): void {
    rmSync(this.#file, { force: true })
  }
}
