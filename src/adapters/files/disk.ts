import { link, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/** What small files that must outlive a power cut are kept with. Each effect is on the disk when it resolves. */
export interface Disk {
  /** Undefined when there is no such file. */
  read(file: string): Promise<Buffer | undefined>
  /** Not atomic: a power cut leaves any part of `content`. Readable by its owner only. */
  write(file: string, content: string | Buffer): Promise<void>
  /** `to` names what `from` holds, and `from` names it no more. Atomic. */
  rename(from: string, to: string): Promise<void>
  /** `to` names what `from` holds, and `from` still does. Atomic. */
  copy(from: string, to: string): Promise<void>
}

export const disk: Disk = {
  async read(file) {
    try {
      return await readFile(file)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  },

  async write(file, content) {
    await mkdir(dirname(file), { recursive: true })
    const handle = await open(file, 'w', 0o600)
    try {
      await handle.writeFile(content)
      await handle.sync()
    } finally {
      await handle.close()
    }
  },

  async rename(from, to) {
    await rename(from, to)
    await syncFolder(to)
  },

  async copy(from, to) {
    const temporary = `${to}.link`
    // What a power cut left. Then a name, where the file system has hard links; else the content.
    await rm(temporary, { force: true })
    await link(from, temporary).catch(async () => this.write(temporary, await readFile(from)))
    await rename(temporary, to)
    // Where both are one file already, the kernel leaves them alone, both.
    await rm(temporary, { force: true })
    await syncFolder(to)
  },
}

async function syncFolder(file: string): Promise<void> {
  const folder = await open(dirname(file), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
