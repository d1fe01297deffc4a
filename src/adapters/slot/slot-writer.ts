import { constants, openSync, rmSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net'
import { Comparing } from '../../domain/comparing.ts'

/** Largest piece of an image, in bytes. */
export const PIECE = 1 << 19
/** Bytes that are compared, and not written if equal: the block size of file systems and of cards. */
const BLOCK = 4096

/** Result of writing an image, in bytes. */
export interface Tally {
  readonly written: number
  /** Bytes that the slot held already. */
  readonly kept: number
}

export type SlotFile = Pick<FileHandle, 'read' | 'write'>

/**
 * Writes an image from its first byte on, except for what `slot` holds already. Unreadable blocks are written, because a card can
 * often still write a sector that it cannot read; `onUnreadable` gets the first. A piece of the image has at most `PIECE` bytes
 * and is valid until the next is requested. Errors: as `slot.write`.
 */
export async function writeChanges(
  image: AsyncIterable<Buffer>,
  slot: SlotFile,
  onUnreadable: (error: unknown) => void,
): Promise<Tally> {
  const comparing = new Comparing()
  const there = Buffer.allocUnsafeSlow(PIECE)
  const tally = { written: 0, kept: 0 }
  let at = 0
  let tell = onUnreadable
  for await (const piece of image) {
    if (comparing.next()) {
      const known = await bytesThere(piece.length)
      const before = tally.kept
      for (const { same, first, end } of stretches(piece, known)) {
        if (same) tally.kept += end - first
        else await write(piece.subarray(first, end), at + first)
      }
      comparing.seen(tally.kept - before, piece.length)
    } else await write(piece, at)
    at += piece.length
  }
  return tally

  async function bytesThere(length: number): Promise<Buffer> {
    try {
      const { bytesRead } = await slot.read(there, 0, length, at)
      return there.subarray(0, bytesRead)
    } catch (error) {
      tell(error)
      tell = () => {}
      return there.subarray(0, 0)
    }
  }

  async function write(bytes: Buffer, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await slot.write(bytes, done, bytes.length - done, position + done)
      done += bytesWritten
    }
    tally.written += bytes.length
  }
}

interface Stretch {
  readonly same: boolean
  readonly first: number
  readonly end: number
}

/** Splits `piece` into runs of blocks that all equal `known`, or all differ. */
function* stretches(piece: Buffer, known: Buffer): Generator<Stretch> {
  if (piece.equals(known)) return yield { same: true, first: 0, end: piece.length }
  let run: Stretch | undefined
  for (let at = 0; at < piece.length; at += BLOCK) {
    const end = Math.min(at + BLOCK, piece.length)
    const same = end <= known.length && piece.compare(known, at, end, at, end) === 0
    if (run && run.same !== same) yield run
    run = { same, first: run?.same === same ? run.first : at, end }
  }
  if (run) yield run
}

/**
 * What the first writer of `fifo` writes, in pieces; one is filled while the previous one is in use. `fifo` is then removed, so a
 * second image for the same slot has nothing to write to. No thread waits for a writer: there are only four, and a waiting one
 * would delay the end of this process.
 */
export async function* fromFifo(fifo: string): AsyncGenerator<Buffer> {
  const buffers = [Buffer.allocUnsafeSlow(PIECE), Buffer.allocUnsafeSlow(PIECE)] as const
  let filling: 0 | 1 = 0
  let filled = 0
  const full: Buffer[] = []
  let inUse = 0
  let begun = false
  let ended = false
  let wake = (): void => {}
  // Also an option of the constructor (net.html, new net.Socket); its types lack it.
  const options: SocketConstructorOpts & { onread: OnReadOpts } = {
    fd: openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK),
    writable: false,
    onread: {
      buffer: () => buffers[filling].subarray(filled),
      callback: length => {
        if (!begun) remove()
        begun = true
        filled += length
        if (filled < PIECE) return true
        full.push(buffers[filling])
        filling = filling === 0 ? 1 : 0
        filled = 0
        wake()
        return full.length + inUse < buffers.length
      },
    },
  }
  const socket = new Socket(options)
  // An error thrown in a callback of the socket would end the agent.
  const remove = (): void => {
    try {
      rmSync(fifo, { force: true })
    } catch (error) {
      socket.destroy(error as Error)
    }
  }
  let failure: Error | undefined
  socket.once('error', error => {
    failure = error
  })
  socket.once('close', () => {
    ended = true
    wake()
  })
  try {
    for (;;) {
      while (full.length === 0 && !ended) {
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
      const piece = full.shift()
      if (!piece) break
      inUse = 1
      socket.resume()
      yield piece
      inUse = 0
    }
    if (failure) throw failure
    if (filled > 0) yield buffers[filling].subarray(0, filled)
  } finally {
    socket.destroy()
  }
}
