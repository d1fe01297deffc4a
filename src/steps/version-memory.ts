import * as v from 'valibot'
import { writeAtomically } from '../adapters/files/atomic-file.ts'
import { disk } from '../adapters/files/disk.ts'
import type { UpdateId } from '../domain/deployment.ts'
import { AgentError, messageOf } from '../domain/errors.ts'
import { compareVersions } from '../domain/versions.ts'
import type { Log } from '../ports/log.ts'

/** By provider and name, which have no blank: the version. */
const memory = v.object({ highest: v.record(v.string(), v.string()) })

/** The highest version of each update whose step was run: a signature stays good for ever, and says nothing about the order. */
export class VersionMemory {
  readonly #file: string
  readonly #log: Log

  constructor(file: string, log: Log) {
    this.#file = file
    this.#log = log
  }

  /** Errors: AgentError `DOWNGRADE`. */
  async check(updateId: UpdateId): Promise<void> {
    const highest = (await this.#read())[keyOf(updateId)]
    if (highest === undefined || compareVersions(updateId.version, highest) >= 0) return
    throw new AgentError(
      'DOWNGRADE',
      `a step of ${updateId.provider}/${updateId.name} ${highest} has run on this device, so the step service takes none of ${updateId.version}; "allowDowngrade": true in its settings allows it`,
    )
  }

  /** On the disk when it resolves. Errors: AgentError `STEP_SERVICE`. */
  async note(updateId: UpdateId): Promise<void> {
    const highest = await this.#read()
    const before = highest[keyOf(updateId)]
    if (before !== undefined && compareVersions(updateId.version, before) <= 0) return
    try {
      await writeAtomically(
        this.#file,
        JSON.stringify({ highest: { ...highest, [keyOf(updateId)]: updateId.version } }),
      )
    } catch (cause) {
      throw new AgentError('STEP_SERVICE', `the step service cannot write ${this.#file}: ${messageOf(cause)}`, {
        cause,
      })
    }
  }

  /** A damaged file is logged and begun anew: a device that takes no step any more could not be repaired from afar. */
  async #read(): Promise<Readonly<Record<string, string>>> {
    try {
      const bytes = await disk.read(this.#file)
      return bytes === undefined ? {} : v.parse(memory, JSON.parse(bytes.toString())).highest
    } catch (error) {
      this.#log.error('steps.versions-lost', { file: this.#file, why: messageOf(error) })
      return {}
    }
  }
}

const keyOf = ({ provider, name }: UpdateId): string => `${provider} ${name}`
