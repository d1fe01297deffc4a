import type { SlotName } from '../domain/slot.ts'
import type { Contract } from './contract.ts'

/** A part of a bundle that is in the slot already. */
export interface Leftover {
  /** Offsets in the bundle; `end` is not included. */
  readonly first: number
  readonly end: number
  /** The bytes from `first` on; `head` are those before. It may end early. A piece is valid until the next is requested. */
  bytes(head: Buffer): AsyncIterable<Buffer>
}

/**
 * The part of a bundle that an installation left in its slot before a power cut, so it need not be downloaded again. It is only an
 * optimisation: the hash that the withheld end waits for decides whether the bytes are right.
 */
export interface Leftovers {
  find(sha256: Buffer, slot: SlotName): Promise<Leftover | undefined>
  /** The same bytes; notes their progress. `digest`: SHA-256 of all pieces before the one that is being requested. */
  noting(bundle: AsyncIterable<Buffer>, sha256: Buffer, slot: SlotName, digest: () => Buffer): AsyncIterable<Buffer>
  forget(): Promise<void>
}

/** Only an optimisation, so errors are only logged. */
export const leftoversContract: Contract<Leftovers & Leftover> = {
  find: [],
  noting: [],
  forget: [],
  bytes: [],
}

/** Keeps nothing: every installation starts at the first byte. */
export const noLeftovers: Leftovers = {
  find: async () => undefined,
  noting: bundle => bundle,
  forget: async () => {},
}
