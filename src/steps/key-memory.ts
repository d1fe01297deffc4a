import { readFile } from 'node:fs/promises'
import { writeAtomically } from '../adapters/files/atomic-file.ts'
import { AgentError, messageOf } from '../domain/errors.ts'
import type { KeyRing } from '../trust/keys.ts'
import { type Anchors, compareAge, type RootKeyPackage, readRootKeyPackage } from '../trust/root-key-package.ts'
import { ringOf } from '../trust/root-keys.ts'

/**
 * The root keys of this service: built in, from its settings, and from the newest package that it has ever seen. It keeps that one in
 * a file of its own, so that a withdrawn key stays withdrawn, whatever package the agent offers.
 */
export class KeyMemory {
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  /** `offered`: the agent's package, unverified. Errors: AgentError `PACKAGE_…`; `STEP_SERVICE` when the file cannot be kept. */
  async ring(anchors: Anchors, offered: string | undefined): Promise<KeyRing> {
    const known = await this.#known(anchors)
    if (offered === undefined) {
      if (known instanceof AgentError) throw known
      return ringOf(anchors, known)
    }
    const next = readRootKeyPackage(Buffer.from(offered), anchors)
    if (known && !(known instanceof AgentError) && compareAge(known, next) !== 'newer') return ringOf(anchors, known)
    try {
      await writeAtomically(this.#file, offered)
    } catch (cause) {
      throw new AgentError('STEP_SERVICE', `the step service cannot write ${this.#file}: ${messageOf(cause)}`, {
        cause,
      })
    }
    return ringOf(anchors, next)
  }

  /** An error for a package that cannot be used, which a newer one replaces. */
  async #known(anchors: Anchors): Promise<RootKeyPackage | AgentError | undefined> {
    try {
      return readRootKeyPackage(await readFile(this.#file), anchors)
    } catch (error) {
      if (error instanceof AgentError) return error
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw new AgentError('STEP_SERVICE', `the step service cannot read ${this.#file}: ${messageOf(error)}`)
    }
  }
}
