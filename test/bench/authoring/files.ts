import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { copyFile, link, mkdir, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'

/** A payload file as the service knows it after import. */
export interface PayloadFile {
  readonly fileId: string
  readonly fileName: string
  /** Where the file lies on the author's machine. */
  readonly path: string
  readonly sizeInBytes: number
  /** Standard base64, padded. */
  readonly sha256: string
}

/** Measures the file at `path`; its id looks like the service's (`f06b052ef8f38d681`) and is the same for the same `seed`, name and content. */
export async function measureFile(path: string, seed: string): Promise<PayloadFile> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  const sha256 = hash.digest('base64')
  const fileName = basename(path)
  const id = createHash('sha256').update(`${seed}\n${fileName}\n${sha256}`).digest('hex').slice(0, 16)
  return { fileId: `f${id}`, fileName, path, sizeInBytes: (await stat(path)).size, sha256 }
}

/** The path of a payload file below the content server's folder. */
export function contentPath(file: PayloadFile): string {
  return `${file.fileId}/${file.fileName}`
}

/** Puts the files where the content server finds them; safe to repeat. */
export async function publish(files: readonly PayloadFile[], contentDir: string): Promise<void> {
  for (const file of files) {
    const target = join(contentDir, contentPath(file))
    await mkdir(dirname(target), { recursive: true })
    await unlink(target).catch(() => undefined)
    await link(file.path, target).catch(() => copyFile(file.path, target))
  }
}
