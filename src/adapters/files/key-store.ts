import { readFile } from 'node:fs/promises'
import { AgentError, messageOf } from '../../domain/errors.ts'
import type { KeyStore } from '../../ports/key-store.ts'
import { writeAtomically } from './atomic-file.ts'

/** Keeps the package as it was received, where the reference agent keeps it (PROTOCOL.md, "Root key package"). */
export class FileKeyStore implements KeyStore {
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  async read(): Promise<Buffer | undefined> {
    try {
      return await readFile(this.#file)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw this.#failure('read', error)
    }
  }

  async write(bytes: Buffer): Promise<void> {
    try {
      await writeAtomically(this.#file, bytes)
    } catch (error) {
      throw this.#failure('write', error)
    }
  }

  #failure(what: string, cause: unknown): AgentError {
    return new AgentError('PACKAGE_STORE', `cannot ${what} the root key store ${this.#file}: ${messageOf(cause)}`, {
      cause,
    })
  }
}
