import { createHash } from 'node:crypto'
import { type FileHandle, open, readFile, rm, writeFile } from 'node:fs/promises'
import * as v from 'valibot'
import { firstPlainImage, MAX_HEAD_BYTES } from '../../bundle/head.ts'
import { messageOf } from '../../domain/errors.ts'
import type { SlotName } from '../../domain/slot.ts'
import type { Leftover, Leftovers } from '../../ports/leftovers.ts'
import type { Log } from '../../ports/log.ts'
import { openSlot, syncSlot } from './slot-device.ts'

export interface LeftoverOptions {
  /** File of the note, on the data partition. */
  readonly file: string
  readonly device: Readonly<Record<SlotName, string>>
}

/**
 * The note is one sector that names bundle and slot, then one mark per MiB of the bundle: 6 bytes of offset and 10 bytes of the
 * SHA-256 of all bytes before it. Marks are overwritten in place, so a power cut damages at most one.
 */
const HEAD_BYTES = 512
const MARK_BYTES = 16
const OFFSET_BYTES = 6
const MARK_EVERY = 1 << 20
/** Maximum distance of two marks, unless one is missing. */
const MAX_STRETCH = 4 * MARK_EVERY
/** Milliseconds between two syncs of slot and note: the work that a power cut loses. It also spreads the load. */
const SYNC_EVERY = 1_000

const noteHead = v.object({
  sha256: v.string(),
  slot: v.picklist(['a', 'b']),
  first: v.pipe(v.number(), v.integer(), v.minValue(0)),
})
type NoteHead = v.InferOutput<typeof noteHead>

interface Mark {
  readonly offset: number
  readonly digest: Buffer
}

/**
 * Notes the progress of a bundle with one plain image, and reads that part back from the slot as far as it matches the note,
 * because a power cut loses the last writes. A packed image cannot be reconstructed from the unpacked slot, so nothing is noted
 * for it.
 */
export class SlotLeftovers implements Leftovers {
  readonly #options: LeftoverOptions
  readonly #log: Log

  constructor(options: LeftoverOptions, log: Log) {
    this.#options = options
    this.#log = log
  }

  async find(sha256: Buffer, slot: SlotName): Promise<Leftover | undefined> {
    const { file, device } = this.#options
    const note = await readFile(file).catch(() => undefined)
    if (!note) return undefined
    const head = parsedHead(note)
    const marks = head ? marksOf(note, head.first) : []
    const last = marks.at(-1)
    if (head && last && head.sha256 === sha256.toString('hex') && head.slot === slot) {
      return { first: head.first, end: last.offset, bytes: before => readBack(device[slot], before, marks, this.#log) }
    }
    // The note is for another bundle, and the slot is about to be overwritten.
    await this.forget()
    return undefined
  }

  async *noting(
    bundle: AsyncIterable<Buffer>,
    sha256: Buffer,
    slot: SlotName,
    digest: () => Buffer,
  ): AsyncGenerator<Buffer> {
    let head: Buffer | undefined = Buffer.alloc(0)
    let note: Note | undefined
    let seen = 0
    let next = MARK_EVERY
    try {
      for await (const piece of bundle) {
        if (head) {
          head = Buffer.concat([head, piece])
          const first = firstPlainImage(head)
          if (typeof first === 'number') {
            note = new Note(this.#options, { sha256: sha256.toString('hex'), slot, first }, this.#log)
          }
          if (first !== 'more' || head.length > MAX_HEAD_BYTES) head = undefined
        }
        yield piece
        seen += piece.length
        if (!note || seen < next) continue
        next = seen - (seen % MARK_EVERY) + MARK_EVERY
        note.mark({ offset: seen, digest: digest() })
      }
    } finally {
      await note?.end()
    }
  }

  async forget(): Promise<void> {
    await rm(this.#options.file, { force: true }).catch(error => {
      this.#log.warn('leftover.not-forgotten', { why: messageOf(error) })
    })
  }
}

/** Writes the note in the background. It never fails: without a note, a power cut only costs more time. */
class Note {
  readonly #options: LeftoverOptions
  readonly #head: NoteHead
  readonly #log: Log
  #waiting: Mark[] = []
  #writing = Promise.resolve()
  #file: FileHandle | undefined
  #slot: FileHandle | undefined
  #broken = false
  #synced = performance.now()

  constructor(options: LeftoverOptions, head: NoteHead, log: Log) {
    this.#options = options
    this.#head = head
    this.#log = log
  }

  mark(mark: Mark): void {
    if (this.#broken) return
    this.#waiting.push(mark)
    this.#writing = this.#writing.then(() => this.#write())
  }

  async end(): Promise<void> {
    await this.#writing
    await this.#file?.close()
    await this.#slot?.close()
  }

  async #write(): Promise<void> {
    // An earlier call has written everything.
    if (this.#broken || this.#waiting.length === 0) return
    try {
      await this.#save(this.#waiting.splice(0))
    } catch (error) {
      this.#broken = true
      this.#log.warn('leftover.not-noted', { why: messageOf(error) })
    }
  }

  async #save(marks: readonly Mark[]): Promise<void> {
    this.#file ??= await this.#open()
    this.#slot ??= await openSlot(this.#options.device[this.#head.slot])
    for (const { offset, digest } of marks) {
      const mark = Buffer.alloc(MARK_BYTES)
      mark.writeUIntBE(offset, 0, OFFSET_BYTES)
      digest.copy(mark, OFFSET_BYTES)
      await this.#file.write(mark, 0, MARK_BYTES, HEAD_BYTES + Math.floor(offset / MARK_EVERY) * MARK_BYTES)
    }
    if (performance.now() - this.#synced < SYNC_EVERY) return
    if (this.#slot) await syncSlot(this.#slot, this.#options.device[this.#head.slot])
    await this.#file.datasync()
    this.#synced = performance.now()
  }

  /** Keeps the note of an earlier installation of the same bundle. */
  async #open(): Promise<FileHandle> {
    const { file } = this.#options
    const head = Buffer.from(JSON.stringify(this.#head).padEnd(HEAD_BYTES))
    const known = await open(file, 'r+').catch(() => undefined)
    const before = Buffer.alloc(HEAD_BYTES)
    await known?.read(before, 0, HEAD_BYTES, 0).catch(() => {})
    if (known && before.equals(head)) return known
    await known?.close()
    await writeFile(file, head, { mode: 0o600 })
    return open(file, 'r+')
  }
}

function parsedHead(note: Buffer): NoteHead | undefined {
  try {
    return v.parse(noteHead, JSON.parse(note.toString('utf8', 0, HEAD_BYTES)))
  } catch {
    return undefined
  }
}

/** In order; marks that were never written are zeros. */
function marksOf(note: Buffer, first: number): Mark[] {
  const marks: Mark[] = []
  let before = first
  for (let at = HEAD_BYTES; at + MARK_BYTES <= note.length; at += MARK_BYTES) {
    const offset = note.readUIntBE(at, OFFSET_BYTES)
    if (offset <= before) continue
    if (offset - before > MAX_STRETCH) break
    marks.push({ offset, digest: note.subarray(at + OFFSET_BYTES, at + MARK_BYTES) })
    before = offset
  }
  return marks
}

/** Starts after `head` and ends before the first part that does not match the note or cannot be read. */
async function* readBack(device: string, head: Buffer, marks: readonly Mark[], log: Log): AsyncGenerator<Buffer> {
  // A card that cannot read a sector can often still write it.
  const unreadable = (error: unknown): undefined => {
    log.warn('leftover.unreadable', { device, why: messageOf(error) })
  }
  const file = await open(device, 'r').catch(unreadable)
  if (!file) return
  try {
    const hash = createHash('sha256').update(head)
    let buffer = Buffer.alloc(0)
    let at = head.length
    for (const { offset, digest } of marks) {
      const length = offset - at
      if (buffer.length < length) buffer = Buffer.allocUnsafeSlow(length)
      const piece = buffer.subarray(0, length)
      const read = await file.read(piece, 0, length, at - head.length).catch(unreadable)
      hash.update(piece)
      if (!read || read.bytesRead < length || !hash.copy().digest().subarray(0, digest.length).equals(digest)) return
      yield piece
      at = offset
    }
  } finally {
    await file.close()
  }
}
