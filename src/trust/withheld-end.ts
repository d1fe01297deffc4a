import { createHash, type Hash } from 'node:crypto'
import type { FileEntity, SelfSigned, Verified } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'

/** No file is complete without its last bytes. In a bundle, `guarded` also holds back what SWUpdate needs earlier. */
export const WITHHELD_BYTES = 64 * 1024

/**
 * The same bytes, but the last `WITHHELD_BYTES` only after size and SHA-256 of the whole file match the signed manifest. A
 * reader therefore never sees the end of a wrong file. A piece is valid until the next is requested. Errors, thrown
 * before the end is released: AgentError `FILE_SIZE` (as soon as one byte too many arrives, or at an early end), `FILE_HASH`.
 * `hash`: a new SHA-256. The caller may read it on the way: it covers all bytes that were requested so far.
 */
export function withholdEnd(
  bytes: AsyncIterable<Buffer>,
  file: Verified<FileEntity>,
  hash: Hash = createHash('sha256'),
): Verified<AsyncIterable<Buffer>> {
  return withheld(bytes, file, hash) as AsyncIterable<Buffer> as Verified<AsyncIterable<Buffer>>
}

/** What is known about a file in advance. */
export type ExpectedFile = Pick<FileEntity, 'fileName'> & Partial<Pick<FileEntity, 'sizeInBytes' | 'sha256'>>

/** The same with whatever is known. If nothing is known, only the bundle's own signature protects. */
export function withholdSelfSigned(
  bytes: AsyncIterable<Buffer>,
  file: ExpectedFile,
  hash: Hash = createHash('sha256'),
): SelfSigned<AsyncIterable<Buffer>> {
  return withheld(bytes, file, hash) as AsyncIterable<Buffer> as SelfSigned<AsyncIterable<Buffer>>
}

async function* withheld(bytes: AsyncIterable<Buffer>, file: ExpectedFile, hash: Hash): AsyncGenerator<Buffer> {
  const { sizeInBytes = Number.POSITIVE_INFINITY, sha256 } = file
  // The producer reuses its buffers, so withheld bytes must be copied.
  const buffer = Buffer.allocUnsafeSlow(WITHHELD_BYTES)
  let held = buffer.subarray(0, 0)
  let seen = 0
  let given = 0
  for await (const piece of bytes) {
    seen += piece.length
    if (seen > sizeInBytes) throw wrongSize(file, `has more than the ${sizeInBytes} bytes that were ordered`)
    hash.update(piece)
    // If the size is known, only the end is withheld; otherwise any byte may belong to the end.
    const end = (file.sizeInBytes ?? seen) - WITHHELD_BYTES
    const released = Math.min(held.length + piece.length, Math.max(0, end - given))
    given += released
    const fromHeld = Math.min(released, held.length)
    if (fromHeld > 0) yield held.subarray(0, fromHeld)
    const direct = released - fromHeld
    if (direct > 0) yield piece.subarray(0, direct)
    const kept = held.copy(buffer, 0, fromHeld)
    held = buffer.subarray(0, kept + piece.copy(buffer, kept, direct))
  }
  if (seen !== sizeInBytes && file.sizeInBytes !== undefined) {
    throw wrongSize(file, `ended after ${seen} of ${sizeInBytes} bytes`)
  }
  if (sha256 && !hash.digest().equals(sha256)) {
    throw new AgentError('FILE_HASH', `${file.fileName}: its SHA-256 is not the expected one; nothing was activated`)
  }
  yield held
}

const wrongSize = (file: ExpectedFile, what: string): AgentError =>
  new AgentError('FILE_SIZE', `${file.fileName} ${what}`)

/** Reads a small file into memory. Errors: as `withholdEnd`. */
export async function verifiedWhole(
  bytes: AsyncIterable<Buffer>,
  file: Verified<FileEntity>,
): Promise<Verified<Buffer>> {
  const chunks: Buffer[] = []
  for await (const piece of withholdEnd(bytes, file)) chunks.push(Buffer.from(piece))
  return Buffer.concat(chunks) as Buffer as Verified<Buffer>
}
