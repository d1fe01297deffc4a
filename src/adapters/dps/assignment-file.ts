import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as v from 'valibot'
import { messageOf } from '../../domain/errors.ts'
import { idFlaw, isHost } from '../../domain/hub-names.ts'
import type { Log } from '../../ports/log.ts'
import { writeAtomically } from '../files/atomic-file.ts'
import type { Assigned } from './onboarding.ts'

/** The inputs of a registration. If any of them changes, the device registers again. */
export interface Inputs {
  readonly idScope: string
  readonly registrationId: string
  readonly host: string
  /** Hash of key or certificate. */
  readonly credential: string
}

/** The last assignment. Holds no secret. */
export interface Assignment extends Omit<Assigned, 'chain'> {
  readonly inputs: Inputs
  /** ISO 8601, by this device's clock; for people. */
  readonly at: string
  /** The newest order of the twin that was carried out. */
  readonly order?: string | undefined
}

const schema = v.object({
  version: v.literal(1),
  inputs: v.object({ idScope: v.string(), registrationId: v.string(), host: v.string(), credential: v.string() }),
  hub: v.pipe(v.string(), v.check(isHost)),
  deviceId: v.pipe(
    v.string(),
    v.check(id => idFlaw(id) === undefined),
  ),
  substatus: v.optional(v.string()),
  at: v.string(),
  order: v.exactOptional(v.optional(v.string())),
})

/** The assignment, and the order to register again, in the data folder, which survives updates. */
export class AssignmentFile {
  readonly #file: string
  readonly #order: string
  readonly #log: Log
  readonly #complained = new Set<string>()

  constructor(folder: string, log: Log) {
    this.#file = join(folder, 'assignment.json')
    this.#order = join(folder, 'register-again')
    this.#log = log
  }

  /** Undefined if there is no usable assignment. Never fails. */
  async read(): Promise<Assignment | undefined> {
    try {
      const { version: _, substatus, ...assignment } = v.parse(schema, JSON.parse(await readFile(this.#file, 'utf8')))
      return { ...assignment, substatus }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#complain('identity.assignment-unreadable', error)
      return undefined
    }
  }

  /** Survives a power cut. If it cannot be written, only this process remembers it. */
  async write(assignment: Assignment): Promise<void> {
    try {
      await writeAtomically(this.#file, `${JSON.stringify({ version: 1, ...assignment }, null, 2)}\n`)
    } catch (error) {
      this.#complain('identity.assignment-not-written', error)
    }
  }

  /** Run by a person, perhaps as root. Without the folder there is no assignment, and the agent registers without an order. */
  async order(): Promise<void> {
    await writeFile(this.#order, '').catch(error => {
      if (error.code !== 'ENOENT') throw error
    })
  }

  /** Which order there is: two orders differ. Undefined: none. */
  async readOrder(): Promise<string | undefined> {
    return await stat(this.#order).then(
      ({ mtimeMs, ino }) => `${mtimeMs} ${ino}`,
      () => undefined,
    )
  }

  /** Call it after the registration, so that a power cut loses no order. An order that came meanwhile stays. */
  async removeOrder(order: string): Promise<void> {
    if ((await this.readOrder()) === order) await rm(this.#order).catch(() => {})
  }

  /** Once for each event. */
  #complain(event: string, error: unknown): void {
    if (!this.#complained.has(event)) this.#log.warn(event, { file: this.#file, why: messageOf(error) })
    this.#complained.add(event)
  }
}
