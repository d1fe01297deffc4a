import { randomUUID } from 'node:crypto'
import { link, mkdir, readFile, unlink, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * The content of `path`, made once by `make` and kept, readable by the owner only.
 * Several processes may ask at the same moment: all of them get the content of the one that was first.
 */
export async function keptFile(path: string, make: () => Promise<string>): Promise<string> {
  const kept = await readFile(path, 'utf8').catch(() => undefined)
  if (kept !== undefined) return kept
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const own = `${path}.${randomUUID()}`
  await writeFile(own, await make(), { mode: 0o600 })
  // A link never replaces a file: the second caller keeps the file of the first.
  await link(own, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  await unlink(own)
  return readFile(path, 'utf8')
}
