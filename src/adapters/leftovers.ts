import { open, readFile, rm } from 'node:fs/promises'
import * as v from 'valibot'
import { messageOf } from '../domain/errors.ts'
import type { SlotName } from '../domain/slot.ts'
import type { Leftover, Leftovers, Log } from '../ports.ts'
import { type DeclaredImage, declaredImage, MAX_HEAD_BYTES } from './bundle-head.ts'
import { syncSlot } from './slot-device.ts'

export interface LeftoverOptions {
  /** Where the note is kept: on the data partition. */
  readonly file: string
  readonly device: Readonly<Record<SlotName, string>>
}

/**
 * Between two notes, in bytes of the bundle. With those that come during two notes, and those on the way, what a power cut
 * costs. Each note has the slot synced, which spreads what would else be left for the end.
 */
const NOTE_EVERY = 4 << 20
/** Bytes that may have left us and not have reached the slot: in the gate, in the pipe, inside SWUpdate; about 0.9 MB. */
const ON_THE_WAY = 3 << 19
const PIECE = 1 << 20
/** One sector, overwritten in place: no power cut can tear it, and the file system has nothing to note of its own. */
const NOTE_BYTES = 512

const note = v.object({
  sha256: v.string(),
  slot: v.picklist(['a', 'b']),
  first: v.pipe(v.number(), v.integer(), v.minValue(0)),
  end: v.pipe(v.number(), v.integer(), v.minValue(0)),
})
type Note = v.InferOutput<typeof note>

/**
 * Notes how far a bundle with one plain image has come, and reads that part back from the slot. A packed image cannot be
 * had back from what it unpacks to: of such a bundle nothing is noted.
 */
export class SlotLeftovers implements Leftovers {
  readonly #options: LeftoverOptions
  readonly #log: Log

  constructor(options: LeftoverOptions, log: Log) {
    this.#options = options
    this.#log = log
  }

  async find(sha256: Buffer, slot: SlotName): Promise<Leftover | undefined> {
    const text = await readFile(this.#options.file, 'utf8').catch(() => undefined)
    if (text === undefined) return undefined
    const known = parsed(text)
    if (known?.sha256 === sha256.toString('hex') && known.slot === slot && known.end > known.first) {
      const { first, end } = known
      return { first, end, bytes: () => readBack(this.#options.device[slot], end - first) }
    }
    // Of another bundle: the slot is about to become something else.
    await this.forget()
    return undefined
  }

  async *noting(bundle: AsyncIterable<Buffer>, sha256: Buffer, slot: SlotName): AsyncGenerator<Buffer> {
    let head: Buffer | undefined = Buffer.alloc(0)
    let image: DeclaredImage | undefined
    let seen = 0
    let next = NOTE_EVERY
    let rested = 0
    let noting: Promise<void> | undefined
    try {
      for await (const piece of bundle) {
        if (head) {
          head = Buffer.concat([head, piece])
          const found = declaredImage(head)
          if (found !== 'more') image = found
          if (found !== 'more' || head.length > MAX_HEAD_BYTES) head = undefined
        }
        yield piece
        seen += piece.length
        if (!image || image.packed || noting || seen < next || performance.now() < rested) continue
        next = seen + NOTE_EVERY
        const begun = performance.now()
        const end = Math.min(seen - ON_THE_WAY, image.first + image.bytes)
        noting = this.#note({ sha256: sha256.toString('hex'), slot, first: image.first, end }).finally(() => {
          noting = undefined
          // A slow card is not asked all the time: as long as it took it is left alone.
          rested = 2 * performance.now() - begun
        })
      }
    } finally {
      await noting
    }
  }

  async forget(): Promise<void> {
    await rm(this.#options.file, { force: true })
  }

  /** Never fails: without it a power cut costs more, and nothing else. */
  async #note(value: Note): Promise<void> {
    const { file, device } = this.#options
    try {
      if (value.end <= value.first || !(await syncSlot(device[value.slot]))) return
      const before = parsed(await readFile(file, 'utf8').catch(() => ''))
      // While an installation feeds back what an earlier one has left, that one's note holds.
      if (before?.sha256 === value.sha256 && before.slot === value.slot && before.end >= value.end) return
      const handle = await open(file, 'r+').catch(() => open(file, 'w', 0o600))
      try {
        await handle.write(Buffer.from(JSON.stringify(value).padEnd(NOTE_BYTES)), 0, NOTE_BYTES, 0)
        await handle.datasync()
      } finally {
        await handle.close()
      }
    } catch (error) {
      this.#log.warn('leftover.not-noted', { why: messageOf(error) })
    }
  }
}

function parsed(text: string): Note | undefined {
  try {
    return v.parse(note, JSON.parse(text))
  } catch {
    return undefined
  }
}

async function* readBack(device: string, length: number): AsyncGenerator<Buffer> {
  const file = await open(device, 'r')
  try {
    const pieces = [Buffer.allocUnsafeSlow(PIECE), Buffer.allocUnsafeSlow(PIECE)]
    for (let at = 0; at < length; ) {
      const piece = pieces.reverse()[0]!
      const { bytesRead } = await file.read(piece, 0, Math.min(PIECE, length - at), at)
      if (bytesRead === 0) return
      at += bytesRead
      yield piece.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}
