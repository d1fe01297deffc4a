import { createReadStream } from 'node:fs'
import { EXIT, Failure } from '../failure.ts'

/** One file of a bundle: cpio "new ASCII format with checksum" (cpio(5): magic 070702), which SWUpdate wants. */
export interface CpioEntry {
  readonly name: string
  readonly size: number
  /** Sum of all bytes, modulo 2^32. */
  readonly checksum: number
}

export const TRAILER = 'TRAILER!!!'
const HEADER_BYTES = 110
const MAGIC_CRC = '070702'
const MAGIC_NEWC = '070701'
/** The size has eight hexadecimal digits. */
export const MAX_FILE_BYTES = 0xffffffff
const MAX_NAME_BYTES = 4096
/** One moment for every file: the same content gives the same bytes. */
const MTIME = 1_600_000_000
const REGULAR_FILE = 0o100644

const padding = (bytes: number): number => (4 - (bytes % 4)) % 4

export function checksumOf(chunk: Uint8Array, sum = 0): number {
  let total = sum
  for (const byte of chunk) total = (total + byte) >>> 0
  return total
}

/** Header and name, up to where the content begins. `index` numbers the files of the archive. */
export function cpioHeader({ name, size, checksum }: CpioEntry, index: number): Buffer {
  const nameBytes = Buffer.byteLength(name) + 1
  const isTrailer = name === TRAILER
  const fields = [
    ...[isTrailer ? 0 : index, isTrailer ? 0 : REGULAR_FILE, 0, 0, 1, isTrailer ? 0 : MTIME],
    ...[size, 0, 0, 0, 0, nameBytes, checksum],
  ]
  const header = MAGIC_CRC + fields.map(field => field.toString(16).padStart(8, '0')).join('')
  return Buffer.concat([Buffer.from(`${header}${name}\0`), Buffer.alloc(padding(HEADER_BYTES + nameBytes))])
}

/** The bytes between the end of a content and the next header. */
export const cpioPadding = (size: number): Buffer => Buffer.alloc(padding(size))

/** What ends the archive; filled up to whole blocks of 512 bytes, as cpio(1) does. `written` is all before it. */
export function cpioTrailer(written: number): Buffer {
  const trailer = cpioHeader({ name: TRAILER, size: 0, checksum: 0 }, 0)
  return Buffer.concat([trailer, Buffer.alloc((512 - ((written + trailer.length) % 512)) % 512)])
}

export interface CpioFile extends CpioEntry {
  /** Must be read to its end before the next file is asked for. */
  readonly content: AsyncGenerator<Buffer>
  /** The format without checksums has none to compare. */
  readonly hasChecksum: boolean
}

/** The files of an archive, in order, as a stream; `onBytes` sees every byte of it. Errors: Failure where it is no such archive, or ends early. */
export async function* readCpio(path: string, onBytes: (chunk: Buffer) => void): AsyncGenerator<CpioFile> {
  const bytes = new Reader(path, onBytes)
  try {
    for (;;) {
      const header = (await bytes.take(HEADER_BYTES)).toString('latin1')
      const magic = header.slice(0, 6)
      if (magic !== MAGIC_CRC && magic !== MAGIC_NEWC) {
        throw new Failure(
          EXIT.failed,
          `${path} is not a bundle: there is no cpio header at byte ${bytes.at - HEADER_BYTES}`,
        )
      }
      const field = (index: number): number => Number.parseInt(header.slice(6 + index * 8, 14 + index * 8), 16)
      const size = field(6)
      const nameBytes = field(11)
      if (!(nameBytes > 1 && nameBytes <= MAX_NAME_BYTES) || Number.isNaN(size)) {
        throw new Failure(EXIT.failed, `${path}: the cpio header at byte ${bytes.at - HEADER_BYTES} makes no sense`)
      }
      const name = (await bytes.take(nameBytes + padding(HEADER_BYTES + nameBytes))).toString('utf8', 0, nameBytes - 1)
      if (name === TRAILER) return await bytes.drain()
      const content = bytes.content(size)
      yield { name, size, checksum: field(12), hasChecksum: magic === MAGIC_CRC, content }
      for await (const _ of content);
      await bytes.take(padding(size))
    }
  } finally {
    bytes.close()
  }
}

class Reader {
  readonly #path: string
  readonly #onBytes: (chunk: Buffer) => void
  readonly #stream: ReturnType<typeof createReadStream>
  readonly #chunks: AsyncIterator<Buffer>
  #rest: Buffer = Buffer.alloc(0)
  at = 0

  constructor(path: string, onBytes: (chunk: Buffer) => void) {
    this.#path = path
    this.#onBytes = onBytes
    this.#stream = createReadStream(path, { highWaterMark: 256 * 1024 })
    this.#chunks = this.#stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  }

  close(): void {
    this.#stream.destroy()
  }

  /** What comes after the archive belongs to the file all the same. */
  async drain(): Promise<void> {
    while (await this.#next());
  }

  async #next(): Promise<Buffer | undefined> {
    const { done, value } = await this.#chunks.next().catch(cause => {
      throw new Failure(EXIT.unavailable, `cannot read ${this.#path}: ${cause.message}`, { cause })
    })
    if (done) return undefined
    this.#onBytes(value)
    return value
  }

  async take(count: number): Promise<Buffer> {
    const parts: Buffer[] = []
    for await (const part of this.content(count)) parts.push(part)
    return Buffer.concat(parts)
  }

  async *content(count: number): AsyncGenerator<Buffer> {
    let missing = count
    while (missing > 0) {
      if (this.#rest.length === 0) {
        const next = await this.#next()
        if (!next) throw new Failure(EXIT.failed, `${this.#path} ends early, at byte ${this.at}`)
        this.#rest = next
      }
      const part = this.#rest.subarray(0, missing)
      this.#rest = this.#rest.subarray(part.length)
      missing -= part.length
      this.at += part.length
      yield part
    }
  }
}
