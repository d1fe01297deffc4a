import type { Contract } from './contract.ts'

/** Keeps the newest root key package. */
export interface KeyStore {
  /** As it was written; `undefined` when there is none. */
  read(): Promise<Buffer | undefined>
  /** Atomic; on the disk when it resolves. */
  write(bytes: Buffer): Promise<void>
}

export const keyStoreContract: Contract<KeyStore> = {
  read: ['PACKAGE_STORE'],
  write: ['PACKAGE_STORE'],
}
