import { mkdir, open, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../domain/errors.ts'
import { onOneLine } from '../domain/terminal.ts'
import { type CardFile, isPreseed, MAX_BYTES, readPreseed } from '../preseed/read.ts'
import { readToml } from '../preseed/toml.ts'
import { countriesOf } from '../preseed/wishes.ts'

export interface PreseedOptions {
  /** Folder of the boot partition. */
  readonly boot: string
  /** A private folder for the files to install; without it nothing is written. */
  readonly output?: string
  /** The kernel's regulatory database. */
  readonly regulatory: string
}

/**
 * `pi-adu preseed`: reads the files for network and first start on the boot partition. The image's program `provision` does what it
 * prints, a line each, in fields with tabs between them: `refuse NAME WHY`, `put NAME FILE TARGET MODE`, and after the puts of a file `taken NAME
 * WITHOUT`. FILE is in the output folder, TARGET on the data partition, and WITHOUT may be `-`.
 */
export async function preseed({ boot, output, regulatory }: PreseedOptions): Promise<void> {
  const names = (await readdir(boot)).filter(isPreseed).sort()
  const files: CardFile[] = []
  for (const name of names) files.push(await read(boot, name))
  const keysFile = (await readdir(boot)).find(name => name.toLowerCase() === 'authorized_keys')
  const keys = keysFile && (await readFile(join(boot, keysFile), 'utf8').catch(() => undefined))
  const countries = await readFile(regulatory).then(countriesOf, () => undefined)
  const { taken, refused } = readPreseed(files, countries, readToml, keys || undefined)
  for (const { name, why } of refused) say('refuse', name, why)
  if (output !== undefined) await mkdir(output, { recursive: true, mode: 0o700 })
  let count = 0
  for (const { name, puts, without } of taken) {
    for (const { path, text, mode } of puts) {
      const file = String(++count)
      if (output !== undefined) await writeFile(join(output, file), text, { mode: 0o600 })
      say('put', name, file, path, mode)
    }
    say('taken', name, without.join(', ') || '-')
  }
}

/** A name stays as it is, because the file is found by it: `read` lets none pass that would break a line. */
const say = (verb: string, name: string, ...more: readonly string[]): void =>
  void process.stdout.write(`${[verb, name.replaceAll(/\p{Cc}/gu, '?'), ...more.map(onOneLine)].join('\t')}\n`)

async function read(boot: string, name: string): Promise<CardFile> {
  const path = join(boot, name)
  if (/\p{Cc}/u.test(name)) return { name, content: Buffer.alloc(0), flaw: 'its name has control characters' }
  try {
    if (!(await stat(path)).isFile()) return { name, content: Buffer.alloc(0), flaw: 'it is not a regular file' }
    const file = await open(path)
    try {
      // One byte more than is taken tells that it is too large.
      const content = Buffer.alloc(MAX_BYTES + 1)
      let length = 0
      for (let got = 1; got > 0; length += got)
        got = (await file.read(content, length, content.length - length)).bytesRead
      return { name, content: content.subarray(0, length) }
    } finally {
      await file.close()
    }
  } catch (error) {
    return { name, content: Buffer.alloc(0), flaw: `it cannot be read: ${messageOf(error)}` }
  }
}
