import { readFile } from 'node:fs/promises'
import * as v from 'valibot'
import type { Attempt } from '../domain/deployment.ts'
import { AgentError, messageOf } from '../domain/errors.ts'
import type { Journal, Log } from '../ports.ts'
import { writeAtomically } from './atomic-file.ts'

const result = v.looseObject({
  resultCode: v.number(),
  extendedResultCodes: v.array(v.number()),
  resultDetails: v.string(),
  stepResultCode: v.exactOptional(v.number()),
})

const workflow = v.looseObject({ action: v.number(), id: v.string(), retryTimestamp: v.exactOptional(v.string()) })

const firmware = v.looseObject({
  update: v.looseObject({
    url: v.string(),
    sha256: v.exactOptional(v.string()),
    sizeInBytes: v.exactOptional(v.number()),
    version: v.exactOptional(v.string()),
  }),
  startedWaitingTime: v.string(),
  downloadCompleteTime: v.exactOptional(v.string()),
  startedApplyingImage: v.exactOptional(v.string()),
  lastFirmwareUpdate: v.exactOptional(v.string()),
})
const updateId = v.looseObject({ provider: v.string(), name: v.string(), version: v.string() })

/** Loose: an older agent reads after a fall-back what a newer one wrote. */
const attempt = v.looseObject({
  workflow,
  fingerprint: v.string(),
  updateId: v.exactOptional(updateId),
  installedCriteria: v.exactOptional(v.string()),
  extraCodes: v.exactOptional(v.array(v.number())),
  before: v.exactOptional(v.looseObject({ updateId, installedCriteria: v.string() })),
  installs: v.number(),
  reboots: v.number(),
  installedTo: v.exactOptional(v.picklist(['a', 'b'])),
  failedBefore: v.exactOptional(v.array(v.string())),
  milestones: v.array(v.string()),
  cause: v.exactOptional(v.looseObject({ extendedResultCode: v.number(), details: v.string() })),
  cancelledBy: v.exactOptional(v.string()),
  result: v.exactOptional(result),
  reported: v.boolean(),
  firmware: v.exactOptional(firmware),
  answered: v.exactOptional(
    v.looseObject({ workflow, fingerprint: v.string(), cancelledBy: v.exactOptional(v.string()) }),
  ),
})

/** Journal in one JSON file. */
export class FileJournal implements Journal {
  readonly #file: string
  readonly #log: Log

  constructor(file: string, log: Log) {
    this.#file = file
    this.#log = log
  }

  async read(): Promise<Attempt | undefined> {
    let text: string
    try {
      text = await readFile(this.#file, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw this.#failure('read', error)
    }
    try {
      return v.parse(attempt, JSON.parse(text))
    } catch (error) {
      // Without it the deployment is looked at afresh, which is safe; to stop here for ever would not be.
      this.#log.error('journal.unreadable', { file: this.#file, why: messageOf(error) })
      return undefined
    }
  }

  async write(value: Attempt): Promise<void> {
    try {
      await writeAtomically(this.#file, `${JSON.stringify(value)}\n`)
    } catch (error) {
      throw this.#failure('write', error)
    }
  }

  #failure(what: string, cause: unknown): AgentError {
    return new AgentError('JOURNAL', `cannot ${what} the journal ${this.#file}: ${messageOf(cause)}`, { cause })
  }
}
