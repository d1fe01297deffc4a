import type { SlotName } from '../../src/domain/slot.ts'
import type { Leftover, Leftovers } from '../../src/ports/leftovers.ts'

/** Where the image begins in a bundle. */
const FIRST = 1000

/** What came before a power cut, in memory that outlives it. */
export class FakeLeftovers implements Leftovers {
  #left: { readonly sha256: Buffer; readonly slot: SlotName; bytes: Buffer } | undefined

  async find(sha256: Buffer, slot: SlotName): Promise<Leftover | undefined> {
    const left = this.#left
    if (left && left.slot === slot && left.sha256.equals(sha256) && left.bytes.length > FIRST) {
      const { bytes } = left
      async function* rest(head: Buffer): AsyncGenerator<Buffer> {
        for (let at = head.length; at < bytes.length; at += 32_768) yield bytes.subarray(at, at + 32_768)
      }
      return { first: FIRST, end: bytes.length, bytes: rest }
    }
    this.#left = undefined
    return undefined
  }

  async *noting(bundle: AsyncIterable<Buffer>, sha256: Buffer, slot: SlotName): AsyncGenerator<Buffer> {
    const left = { sha256, slot, bytes: Buffer.alloc(0) }
    this.#left = left
    for await (const piece of bundle) {
      const copy = Buffer.from(piece)
      yield piece
      left.bytes = Buffer.concat([left.bytes, copy])
    }
  }

  async forget(): Promise<void> {
    this.#left = undefined
  }
}
