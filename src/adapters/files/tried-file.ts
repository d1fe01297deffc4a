import { readFile } from 'node:fs/promises'
import * as v from 'valibot'
import { AgentError, messageOf } from '../../domain/errors.ts'
import type { Log } from '../../ports/log.ts'
import type { Tried } from '../../ports/tried.ts'
import { writeAtomically } from './atomic-file.ts'
import { sealed, unsealed } from './sealed.ts'

const fingerprints = v.array(v.string())

/** The fingerprints in one JSON file. */
export class TriedFile implements Tried {
  readonly #file: string
  readonly #log: Log

  constructor(file: string, log: Log) {
    this.#file = file
    this.#log = log
  }

  async read(): Promise<readonly string[]> {
    let bytes: Buffer
    try {
      bytes = await readFile(this.#file)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw new AgentError('JOURNAL', `cannot read ${this.#file}: ${messageOf(cause)}`, { cause })
    }
    try {
      return v.parse(fingerprints, unsealed(bytes))
    } catch (error) {
      this.#log.warn('local.tried-unreadable', { file: this.#file, why: messageOf(error) })
      return []
    }
  }

  async write(list: readonly string[]): Promise<void> {
    try {
      await writeAtomically(this.#file, sealed(list))
    } catch (cause) {
      throw new AgentError('JOURNAL', `cannot write ${this.#file}: ${messageOf(cause)}`, { cause })
    }
  }
}
