import { readFile } from 'node:fs/promises'
import * as v from 'valibot'
import { AgentError, messageOf } from '../../domain/errors.ts'
import type { Log } from '../../ports/log.ts'
import type { WorkNote, WorkNotes } from '../../ports/work-notes.ts'
import { bootIdOf } from '../system/boot-id.ts'
import { writeAtomically } from './atomic-file.ts'
import { sealed, unsealed } from './sealed.ts'

const notes = v.record(v.string(), v.strictObject({ starts: v.pipe(v.number(), v.integer()), boot: v.string() }))

/** Work notes in one JSON file. */
export class FileWorkNotes implements WorkNotes {
  readonly #file: string
  readonly #kernelCommandLine: string
  readonly #log: Log

  /** `kernelCommandLine`: see `bootIdOf`. */
  constructor(file: string, kernelCommandLine: string, log: Log) {
    this.#file = file
    this.#kernelCommandLine = kernelCommandLine
    this.#log = log
  }

  async read(): Promise<{ boot: string; begun: Readonly<Record<string, WorkNote>> }> {
    return { boot: await bootIdOf(this.#kernelCommandLine), begun: await this.#begun() }
  }

  async #begun(): Promise<Readonly<Record<string, WorkNote>>> {
    let bytes: Buffer
    try {
      bytes = await readFile(this.#file)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return {}
      throw new AgentError('JOURNAL', `cannot read ${this.#file}: ${messageOf(cause)}`, { cause })
    }
    try {
      return v.parse(notes, unsealed(bytes))
    } catch (error) {
      this.#log.warn('work.unreadable', { file: this.#file, why: messageOf(error) })
      return {}
    }
  }

  async write(begun: Readonly<Record<string, WorkNote>>): Promise<void> {
    try {
      await writeAtomically(this.#file, sealed(begun))
    } catch (cause) {
      throw new AgentError('JOURNAL', `cannot write ${this.#file}: ${messageOf(cause)}`, { cause })
    }
  }
}
