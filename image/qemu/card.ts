import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readLayout } from '../builder/disk.ts'
import { run } from '../builder/run.ts'

/** A card with an image on it: a raw file with the size of a small card. */
export class Card {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  /** Flashes `image` onto a new card. An SD card has a size that is a power of two in QEMU. */
  static async flash(image: string, path: string, bytes = 2 ** 31): Promise<Card> {
    await run(['cp', '--sparse=always', '--reflink=auto', image, path])
    if ((await stat(path)).size > bytes) throw new Error(`${image} does not fit onto a card of ${bytes} bytes`)
    await run(['truncate', '-s', String(bytes), path])
    return new Card(path)
  }

  /** Puts files onto the boot partition, as the owner does. The machine must be off. */
  async put(files: Readonly<Record<string, string | Buffer>>): Promise<void> {
    const dir = await mkdtemp(join(tmpdir(), 'card-'))
    try {
      for (const [name, content] of Object.entries(files)) {
        await writeFile(join(dir, name), content)
        await run(['mcopy', '-o', '-i', await this.#boot(), join(dir, name), `::${name}`])
      }
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  }

  /** A file of the boot partition; undefined when there is none. The machine should be off. */
  async get(name: string): Promise<Buffer | undefined> {
    const dir = await mkdtemp(join(tmpdir(), 'card-'))
    try {
      await run(['mcopy', '-i', await this.#boot(), `::${name}`, join(dir, 'file')])
      return await readFile(join(dir, 'file'))
    } catch {
      return undefined
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  }

  /** Names on the boot partition. */
  async list(): Promise<string[]> {
    return (await run(['mdir', '-b', '-i', await this.#boot(), '::'])).split('\n').map(line => line.replace('::/', ''))
  }

  async #boot(): Promise<string> {
    return `${this.path}@@${(await readLayout()).boot.start}`
  }
}
