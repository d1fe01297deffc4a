import { createReadStream } from 'node:fs'
import {
  CpioError,
  type CpioMember,
  type CpioPart,
  CpioReader,
  HEADER_BYTES,
  padding,
  TRAILER,
} from '../../bundle/cpio.ts'
import { EXIT, Failure, messageOf } from '../failure.ts'

/** One file of a bundle: cpio "new ASCII format with checksum" (cpio(5): magic 070702), which SWUpdate requires. */
export interface CpioEntry {
  readonly name: string
  readonly size: number
  /** Sum of all bytes, modulo 2^32. */
  readonly checksum: number
}

const MAGIC_CRC = '070702'
/** The size has eight hexadecimal digits. */
export const MAX_FILE_BYTES = 0xffffffff
/** One fixed time for every file, so that the same content gives the same bytes. */
const MTIME = 1_600_000_000
const REGULAR_FILE = 0o100644

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

/** The padding between a file's content and the next header. */
export const cpioPadding = (size: number): Buffer => Buffer.alloc(padding(size))

/** The end of the archive, padded to whole blocks of 512 bytes as cpio(1) does. `written` is the size so far. */
export function cpioTrailer(written: number): Buffer {
  const trailer = cpioHeader({ name: TRAILER, size: 0, checksum: 0 }, 0)
  return Buffer.concat([trailer, Buffer.alloc((512 - ((written + trailer.length) % 512)) % 512)])
}

export interface CpioFile extends CpioMember {
  /** Must be read to its end before the next file is asked for. */
  readonly content: AsyncGenerator<Buffer>
}

/** The files of an archive, in order; `onBytes` sees every byte. Errors: Failure for another format or an early end. */
export async function* readCpio(path: string, onBytes: (chunk: Buffer) => void): AsyncGenerator<CpioFile> {
  const parts = partsOf(path, onBytes)
  for await (const part of parts) {
    if (part.is !== 'member') continue
    const content = contentOf(parts)
    yield { ...part.member, content }
    for await (const _ of content);
  }
}

async function* contentOf(parts: AsyncGenerator<CpioPart>): AsyncGenerator<Buffer> {
  for (let next = await parts.next(); !next.done && next.value.is !== 'end of member'; next = await parts.next()) {
    if (next.value.is === 'content') yield next.value.bytes
  }
}

async function* partsOf(path: string, onBytes: (chunk: Buffer) => void): AsyncGenerator<CpioPart> {
  const reader = new CpioReader()
  const stream = createReadStream(path, { highWaterMark: 256 * 1024 })
  const chunks: AsyncIterator<Buffer> = stream[Symbol.asyncIterator]()
  try {
    for (;;) {
      const { done, value } = await chunks.next().catch(cause => {
        throw new Failure(EXIT.usage, `cannot read ${path}: ${messageOf(cause)}`, { cause })
      })
      if (done) break
      onBytes(value)
      yield* reader.push(value)
    }
    reader.end()
  } catch (error) {
    if (!(error instanceof CpioError)) throw error
    throw new Failure(EXIT.failed, `${path} is not a bundle: ${error.message}`, { cause: error })
  } finally {
    stream.destroy()
  }
}
