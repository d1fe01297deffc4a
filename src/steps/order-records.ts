import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import * as v from 'valibot'
import { writeAtomically } from '../adapters/files/atomic-file.ts'
import { disk } from '../adapters/files/disk.ts'
import { AgentError, messageOf } from '../domain/errors.ts'
import type { StepResult } from '../domain/step-record.ts'
import type { Refused } from './protocol.ts'

/** How many are kept. The agent asks for the result of its newest orders only. */
export const MAX_RECORDS = 256

const record = v.object({
  what: v.string(),
  end: v.exactOptional(
    v.union([
      v.object({
        result: v.object({ resultCode: v.number(), extendedResultCode: v.number(), resultDetails: v.string() }),
      }),
      v.object({ refused: v.object({ code: v.string(), extendedResultCode: v.number(), message: v.string() }) }),
    ]),
  ),
})

/** How an order ended. */
export type End = { readonly result: StepResult } | { readonly refused: Refused }

/** What is on the disk about an order. */
export interface OrderRecord {
  /** Hash of what was ordered: an id stands for one order only. Undefined: the record is damaged. */
  readonly what?: string
  /** Undefined: begun, and its end is unknown unless it is running now. */
  readonly end?: End
}

/** Begun, and nobody saw its end. `asked`: the hash of what is ordered now. */
export const isUnknown = ({ what, end }: OrderRecord, asked: string): boolean =>
  !end && (what === undefined || what === asked)

/** One small file for each order, so that none runs twice. Errors of all: AgentError `STEP_SERVICE`. */
export class OrderRecords {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  async read(id: string): Promise<OrderRecord | undefined> {
    const bytes = await disk.read(this.#file(id)).catch(cause => {
      throw failure('read the record of an order', cause)
    })
    if (!bytes) return undefined
    try {
      return v.parse(record, JSON.parse(bytes.toString()))
    } catch {
      return {}
    }
  }

  /** On the disk when it resolves, so the effect may follow. */
  async begin(id: string, what: string): Promise<void> {
    await this.#prune()
    await this.#write(id, { what })
  }

  async end(id: string, what: string, end: End): Promise<void> {
    await this.#write(id, { what, end })
  }

  async #write(id: string, content: OrderRecord): Promise<void> {
    try {
      await writeAtomically(this.#file(id), JSON.stringify(content))
    } catch (cause) {
      throw failure('write the record of an order', cause)
    }
  }

  /** The oldest go. */
  async #prune(): Promise<void> {
    const names = await readdir(this.#folder).catch(() => [])
    if (names.length < MAX_RECORDS) return
    const dated = await Promise.all(
      names.map(async name => ({
        name,
        time: (await stat(join(this.#folder, name)).catch(() => undefined))?.mtimeMs ?? 0,
      })),
    )
    dated.sort((one, two) => one.time - two.time)
    for (const { name } of dated.slice(0, names.length - MAX_RECORDS + 1))
      await rm(join(this.#folder, name), { force: true })
  }

  #file(id: string): string {
    return join(this.#folder, `${id}.json`)
  }
}

const failure = (what: string, cause: unknown): AgentError =>
  new AgentError('STEP_SERVICE', `the step service cannot ${what}: ${messageOf(cause)}`, { cause })
