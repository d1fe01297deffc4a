import { Writable } from 'node:stream'
import type { OpenBlob } from '../ports/log-upload.ts'

/** In bytes: this much of the file is in memory. The storage takes 50,000 blocks. */
export const BLOCK_BYTES = 64 * 1024

/**
 * Uploads what is written as a block blob: Put Block for each 64 KiB, then Put Block List, which makes the blob visible at once. An upload
 * that ends early leaves nothing but blocks that the storage forgets.
 */
export class BlockBlob extends Writable {
  readonly #put: OpenBlob['put']
  readonly #type: string
  readonly #block = Buffer.allocUnsafe(BLOCK_BYTES)
  #used = 0
  readonly #ids: string[] = []
  bytes = 0

  constructor(put: OpenBlob['put'], type: string) {
    super({ highWaterMark: BLOCK_BYTES })
    this.#put = put
    this.#type = type
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#take(chunk).then(() => done(), done)
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#end().then(() => done(), done)
  }

  async #take(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.copy(this.#block, this.#used, at)
      at += part
      this.#used += part
      if (this.#used === BLOCK_BYTES) await this.#send()
    }
  }

  async #send(): Promise<void> {
    // All ids of a blob have the same length.
    const id = Buffer.from(String(this.#ids.length).padStart(6, '0')).toString('base64')
    await this.#put(`comp=block&blockid=${encodeURIComponent(id)}`, this.#block.subarray(0, this.#used), {})
    this.#ids.push(id)
    this.bytes += this.#used
    this.#used = 0
  }

  async #end(): Promise<void> {
    if (this.#used > 0) await this.#send()
    const list = this.#ids.map(id => `<Latest>${id}</Latest>`).join('')
    const body = Buffer.from(`<?xml version="1.0" encoding="utf-8"?><BlockList>${list}</BlockList>`)
    await this.#put('comp=blocklist', body, { 'x-ms-blob-content-type': this.#type })
  }
}
