import { createHash, type Hash } from 'node:crypto'
import type { FileEntity, SelfSigned, Verified } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'

/** Without this much of its end no bundle can be finished: it holds the cpio trailer, and the end of the last image. */
export const WITHHELD_BYTES = 64 * 1024

/**
 * The same bytes, but the last `WITHHELD_BYTES` only once size and SHA-256 of the whole file match the signed manifest. A
 * reader therefore never sees the end of a wrong file. A piece is good until the next is asked for. Errors, thrown
 * before the end is released: AgentError `FILE_SIZE` (as soon as one byte too many arrives, or at an early end), `FILE_HASH`.
 * `hash`: a fresh SHA-256, which whoever gives it may look at on the way: it has seen all that was asked for.
 */
export function gate(
  bytes: AsyncIterable<Buffer>,
  file: FileEntity,
  hash: Hash = createHash('sha256'),
): Verified<AsyncIterable<Buffer>> {
  return gated(bytes, file, hash) as AsyncIterable<Buffer> as Verified<AsyncIterable<Buffer>>
}

/** What is known of a file beforehand. */
export type ExpectedFile = Pick<FileEntity, 'fileName'> & Partial<Pick<FileEntity, 'sizeInBytes' | 'sha256'>>

/** The same with as much as is known, which may be nothing: then the bundle's own signature is all there is. */
export function gateSelfSigned(
  bytes: AsyncIterable<Buffer>,
  file: ExpectedFile,
  hash: Hash = createHash('sha256'),
): SelfSigned<AsyncIterable<Buffer>> {
  return gated(bytes, file, hash) as AsyncIterable<Buffer> as SelfSigned<AsyncIterable<Buffer>>
}

async function* gated(bytes: AsyncIterable<Buffer>, file: ExpectedFile, hash: Hash): AsyncGenerator<Buffer> {
  const { sizeInBytes = Number.POSITIVE_INFINITY, sha256 } = file
  // Pieces are used over and over by who gives them: what is withheld has to be a copy.
  const buffer = Buffer.allocUnsafeSlow(WITHHELD_BYTES)
  let held = buffer.subarray(0, 0)
  let seen = 0
  let given = 0
  for await (const piece of bytes) {
    seen += piece.length
    if (seen > sizeInBytes) throw wrongSize(file, `has more than the ${sizeInBytes} bytes that were ordered`)
    hash.update(piece)
    // Of a file whose size is known all but the end goes through; of another whatever comes may be the end.
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
    throw new AgentError('FILE_HASH', `${file.fileName}: its SHA-256 is not the one ordered; nothing was activated`)
  }
  yield held
}

const wrongSize = (file: ExpectedFile, what: string): AgentError =>
  new AgentError('FILE_SIZE', `${file.fileName} ${what}`)

/** A whole small file, in memory. Errors: as `gate`. */
export async function gateWhole(bytes: AsyncIterable<Buffer>, file: FileEntity): Promise<Verified<Buffer>> {
  const chunks: Buffer[] = []
  for await (const piece of gate(bytes, file)) chunks.push(Buffer.from(piece))
  return Buffer.concat(chunks) as Buffer as Verified<Buffer>
}
