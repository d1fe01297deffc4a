import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { runProgram } from '../program.ts'
import { writeAll } from '../write-all.ts'
import { type BaseImage, BLOCK } from './base-image.ts'
import type { Change } from './boot-partition.ts'

const PIECE = 2 ** 20

/**
 * Writes the image with a card's own blocks to a disk, and reads everything back. The first piece, with the partition table, is zeros
 * until everything else has been read back: an interrupted card does not start, also when an older card of ours is written over. The
 * zeros of slot b are left out, which an update writes as a whole. Errors: Failure.
 */
export async function writeDisk(
  path: string,
  base: BaseImage,
  changes: readonly Change[],
  onProgress: (what: 'writing' | 'reading back', percent: number) => void,
): Promise<void> {
  const image = await open(base.path)
  // The kernel refuses O_EXCL for a disk in use (open(2)).
  const disk = await open(path, constants.O_RDWR | constants.O_EXCL).catch(async cause => {
    await image.close()
    throw new Failure(EXIT.unavailable, `cannot write ${path}: ${messageOf(cause)}`, { cause })
  })
  const settle = async (): Promise<void> => {
    await disk.sync()
    // Without it, what is read back may be the kernel's copy. A regular file has nothing that blockdev(8) could drop.
    if ((await disk.stat()).isBlockDevice()) await runProgram(['blockdev', '--flushbufs', path])
  }
  const blank = async (): Promise<void> => {
    await writeAll(disk, Buffer.alloc(PIECE), 0)
    await disk.sync()
  }
  const found = Buffer.alloc(PIECE)
  const check = async (piece: Buffer, at: number): Promise<void> => {
    const same = found.subarray(0, piece.length)
    await readAll(disk, same, at)
    if (!same.equals(piece)) throw new Error(`what was written at byte ${at} reads back as something else`)
  }
  let mayStart = true
  try {
    await blank()
    mayStart = false
    const places = [...placesOf(base)]
    for (const [index, at] of places.entries()) {
      const piece = await pieceAt(image, base, changes, at)
      if (piece) await writeAll(disk, piece, at)
      if (index % 16 === 0) onProgress('writing', (index / places.length) * 100)
    }
    await settle()
    onProgress('writing', 100)
    for (const [index, at] of places.entries()) {
      const piece = await pieceAt(image, base, changes, at)
      if (!piece) continue
      await check(piece, at)
      if (index % 16 === 0) onProgress('reading back', (index / places.length) * 100)
    }
    const first = (await pieceAt(image, base, changes, 0))!
    mayStart = true
    await writeAll(disk, first, 0)
    await settle()
    onProgress('reading back', 100)
    await check(first, 0)
  } catch (cause) {
    if (mayStart) await blank().catch(() => undefined)
    throw new Failure(EXIT.unavailable, `the card in ${path} is not complete: ${messageOf(cause)}`, { cause })
  } finally {
    await Promise.all([image.close(), disk.close()])
  }
}

/** All pieces but the first. */
function* placesOf(base: BaseImage): Generator<number> {
  for (let at = PIECE; at < base.size; at += PIECE) yield at
}

/** Undefined for a piece of slot b that an update overwrites in any case. */
async function pieceAt(
  image: FileHandle,
  { size, slotB }: BaseImage,
  changes: readonly Change[],
  at: number,
): Promise<Buffer | undefined> {
  const piece = Buffer.alloc(Math.min(PIECE, size - at))
  await readAll(image, piece, at)
  for (const { block, content } of changes) {
    const from = block * BLOCK - at
    if (from >= 0 && from < piece.length) content.copy(piece, from)
  }
  // Its beginning is written: what an earlier system of the card has left there must not look like a file system.
  const inSlotB = at >= slotB.start + PIECE && at + piece.length <= slotB.start + slotB.size
  return inSlotB && piece.every(byte => byte === 0) ? undefined : piece
}

async function readAll(file: FileHandle, piece: Buffer, at: number): Promise<void> {
  for (let done = 0; done < piece.length; ) {
    const { bytesRead } = await file.read(piece, done, piece.length - done, at + done)
    if (bytesRead === 0) throw new Error('it ends too early')
    done += bytesRead
  }
}
