import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import tar from 'tar-stream'

export interface Entry {
  /** May have a folder: `log/agent-001.log`. */
  readonly name: string
  readonly content: string | Buffer
}

/**
 * Writes a `.tar.gz` with `folder` in front of every name, one entry at a time. Rejects with the error of `out`. Returns how
 * many entries there are.
 */
export async function writeArchive(
  entries: AsyncIterable<Entry>,
  folder: string,
  out: Writable,
  now: Date,
): Promise<number> {
  const pack = tar.pack()
  // pipeline() reports it too.
  pack.on('error', () => {})
  const written = pipeline(pack, createGzip(), out)
  let count = 0
  const packing = async (): Promise<void> => {
    for await (const { name, content } of entries) {
      await new Promise<void>((resolve, reject) => {
        const header = { name: `${folder}/${name}`, mode: 0o600, mtime: now }
        const entry = pack.entry(header, content, error => (error ? reject(error) : resolve()))
        entry.on('error', reject)
      })
      count += 1
    }
    pack.finalize()
  }
  // When the disk is full, the callback of the current entry is never called.
  await Promise.race([packing().then(() => written), written])
  return count
}

/** The entries that fit into `most` bytes, then one that names what was left out. */
export async function* upTo(most: number, entries: AsyncIterable<Entry>): AsyncGenerator<Entry> {
  let total = 0
  const left: string[] = []
  for await (const entry of entries) {
    const size = Buffer.byteLength(entry.content)
    if (total + size > most) left.push(entry.name)
    else {
      total += size
      yield entry
    }
  }
  if (left.length > 0) yield { name: 'left-out.txt', content: `${left.join('\n')}\n` }
}
