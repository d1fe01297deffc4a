import { type FileHandle, open, readFile, rm } from 'node:fs/promises'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { writeAll } from '../write-all.ts'
import { type BaseImage, BLOCK } from './base-image.ts'
import { OVERLAYS } from './card-files.ts'
import { type FatPlace, namesOnFat, runMtool } from './mtools.ts'

/** A block that differs from the image's. */
export interface Change {
  /** Number of the block in the image. */
  readonly block: number
  readonly content: Buffer
}

/** Read over and over into the same two buffers: a thousand cards are a thousand looks at the whole partition. */
const CHUNK = 8 * 2 ** 20
const ZEROS = Buffer.alloc(CHUNK)

/** Puts files into the boot partition with mtools(1), in a work file that holds the beginning of the image. Needs no root. */
export class BootPartition {
  readonly #base: BaseImage
  readonly #path: string
  readonly #from: FileHandle
  readonly #work: FileHandle
  readonly #before = Buffer.alloc(CHUNK)
  readonly #after = Buffer.alloc(CHUNK)

  private constructor(base: BaseImage, path: string, from: FileHandle, work: FileHandle) {
    this.#base = base
    this.#path = path
    this.#from = from
    this.#work = work
  }

  /** `path` becomes the work file, which others cannot read; nothing may be there. Errors: Failure. */
  static async open(base: BaseImage, path: string): Promise<BootPartition> {
    let partition: BootPartition | undefined
    try {
      partition = new BootPartition(base, path, await open(base.path), await open(path, 'wx+', 0o600))
      await partition.#work.truncate(base.headBytes)
      for (let at = 0; at < base.headBytes; at += CHUNK) {
        const chunk = await partition.#read(partition.#from, at, partition.#before)
        if (!chunk.equals(ZEROS.subarray(0, chunk.length))) await writeAll(partition.#work, chunk, at)
      }
      return partition
    } catch (cause) {
      await partition?.close()
      throw new Failure(EXIT.unavailable, `cannot write ${path}: ${messageOf(cause)}`, { cause })
    }
  }

  /** What the image with these files differs in. Errors: Failure, when they do not fit, do not arrive, or mtools fails. */
  async put(files: ReadonlyMap<string, string>): Promise<readonly Change[]> {
    const failure = await this.#fill(files).catch((error: unknown) => error ?? new Error('unknown'))
    // Also after a card that failed, because the next one begins with the image's blocks.
    const changes = await this.#undo()
    if (failure !== undefined) throw failure
    if (changes.length === 0) throw new Failure(EXIT.failed, 'its files did not get onto the boot partition')
    return changes
  }

  /** Whether these blocks of `card`, over the image's, hold the content that these files have now. Errors: Failure. */
  async holds(card: FileHandle, blocks: readonly number[], files: ReadonlyMap<string, string>): Promise<boolean> {
    const block = Buffer.alloc(BLOCK)
    const take = async (from: FileHandle): Promise<void> => {
      for (const number of blocks) {
        const { bytesRead } = await from.read(block, 0, BLOCK, number * BLOCK)
        await writeAll(this.#work, block.subarray(0, bytesRead), number * BLOCK)
      }
    }
    await take(card)
    try {
      const names = await namesOnFat(this.#fat)
      for (const [path, from] of files) {
        if (!names.has(path.toLowerCase())) return false
        // A bracket begins a pattern.
        const found = await runMtool(this.#fat, 'mtype', `::${path.replaceAll('[', '[[]')}`).catch(() => undefined)
        if (!found?.equals(await readFile(from))) return false
      }
      return true
    } finally {
      await take(this.#from)
    }
  }

  async #fill(files: ReadonlyMap<string, string>): Promise<undefined> {
    const overlays = [...files].filter(([path]) => path.startsWith(`${OVERLAYS}/`)).map(([, from]) => from)
    const own = [...files].filter(([path]) => !path.includes('/')).map(([, from]) => from)
    await runMtool(this.#fat, 'mcopy', '-o', '-m', ...own, '::')
    if (overlays.length === 0) return
    // An image with overlays of its own has the folder.
    if (!(await namesOnFat(this.#fat)).has(OVERLAYS)) await runMtool(this.#fat, 'mmd', `::${OVERLAYS}`)
    await runMtool(this.#fat, 'mcopy', '-o', '-m', ...overlays, `::${OVERLAYS}`)
  }

  /** Restores the image's blocks; gives those that were others. */
  async #undo(): Promise<readonly Change[]> {
    const changes: Change[] = []
    for (let at = 0; at < this.#base.headBytes; at += CHUNK) {
      const before = await this.#read(this.#from, at, this.#before)
      const after = await this.#read(this.#work, at, this.#after)
      if (before.equals(after)) continue
      for (let start = 0; start < after.length; start += BLOCK) {
        const content = after.subarray(start, start + BLOCK)
        const image = before.subarray(start, start + BLOCK)
        if (content.equals(image)) continue
        changes.push({ block: (at + start) / BLOCK, content: Buffer.from(content) })
        await writeAll(this.#work, image, at + start)
      }
    }
    return changes
  }

  async #read(file: FileHandle, at: number, into: Buffer): Promise<Buffer> {
    const length = Math.min(CHUNK, this.#base.headBytes - at)
    const { bytesRead } = await file.read(into, 0, length, at)
    if (bytesRead < length) throw new Error('it is shorter than before')
    return into.subarray(0, length)
  }

  get #fat(): FatPlace {
    return { path: this.#path, start: this.#base.boot.start }
  }

  /** Removes the work file. */
  async close(): Promise<void> {
    await Promise.all([this.#from.close(), this.#work.close()])
    await rm(this.#path, { force: true })
  }
}
