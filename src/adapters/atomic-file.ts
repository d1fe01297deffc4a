import { mkdir, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * `file` holds either what it held or the whole of `content`, also across a power cut; on the disk when it resolves.
 * Readable by its owner only. The content is written beside it and fsynced, renamed over it, and the folder fsynced.
 */
export async function writeAtomically(file: string, content: string | Buffer): Promise<void> {
  const temporary = `${file}.new`
  await mkdir(dirname(file), { recursive: true })
  const handle = await open(temporary, 'w', 0o600)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporary, file)
  const folder = await open(dirname(file), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
