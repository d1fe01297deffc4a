import { createHash } from 'node:crypto'
import { constants, createReadStream } from 'node:fs'
import { lstat, mkdir, open, readdir, rename, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { FileEntity, Verified } from '../../domain/deployment.ts'
import { AgentError, messageOf } from '../../domain/errors.ts'
import type { Log } from '../../ports/log.ts'
import type { StepFolder, WorkFolder } from '../../ports/work-folder.ts'

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_DIRECTORY } = constants

/** Work folders below `root`, which need not exist. Below it no link is followed. */
export class FileWorkFolder implements WorkFolder {
  readonly #root: string
  readonly #log: Log

  constructor(root: string, log: Log) {
    this.#root = root
    this.#log = log
  }

  where({ workflowId, path }: StepFolder): string {
    return join(this.#root, workflowId, path.join('.'))
  }

  async has(folder: StepFolder, { fileName, sizeInBytes, sha256 }: Verified<FileEntity>): Promise<boolean> {
    try {
      const handle = await open(join(this.where(folder), fileName), O_RDONLY | O_NOFOLLOW)
      try {
        const found = await handle.stat()
        if (!found.isFile() || found.size !== sizeInBytes) return false
        const hash = createHash('sha256')
        for await (const piece of createReadStream('', { fd: handle, autoClose: false })) hash.update(piece)
        return hash.digest().equals(sha256)
      } finally {
        await handle.close()
      }
    } catch (error) {
      // Something else has the name; `write` puts the file in its place.
      if (['ENOENT', 'ENOTDIR', 'ELOOP', 'EIO'].includes(codeOf(error))) return false
      throw this.#failure('read', fileName, error)
    }
  }

  async write(
    folder: StepFolder,
    { fileName }: Verified<FileEntity>,
    bytes: Verified<AsyncIterable<Buffer>>,
  ): Promise<void> {
    const home = this.where(folder)
    // Beside the step's folder, where no file of a step can have this name.
    const temporary = join(this.#root, folder.workflowId, `${folder.path.join('.')}.part`)
    const attempt = async <T>(work: () => Promise<T>): Promise<T> => {
      try {
        return await work()
      } catch (error) {
        throw this.#failure('write', fileName, error)
      }
    }
    const handle = await attempt(async () => {
      await this.#makeFolder(folder)
      await rm(temporary, { recursive: true, force: true })
      return open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    })
    try {
      for await (const piece of bytes) await attempt(() => handle.writeFile(piece))
      await attempt(() => handle.sync())
    } finally {
      await handle.close()
    }
    await attempt(async () => {
      const target = join(home, fileName)
      // A folder of that name would not give way.
      await rm(target, { recursive: true, force: true })
      await rename(temporary, target)
      const opened = await open(home, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
      await opened.sync().finally(() => opened.close())
    })
  }

  async free(): Promise<number> {
    try {
      await mkdir(this.#root, { recursive: true, mode: 0o700 })
      const { bavail, bsize } = await statfs(this.#root)
      return bavail * bsize
    } catch (error) {
      throw this.#failure('use', '', error)
    }
  }

  async keepOnly(workflowId: string | undefined): Promise<void> {
    try {
      for (const name of await readdir(this.#root)) {
        if (name !== workflowId) await rm(join(this.#root, name), { recursive: true, force: true })
      }
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') this.#log.warn('work-folder.not-removed', { why: messageOf(error) })
    }
  }

  /** Makes the folders of workflow and step; what else has their names goes. */
  async #makeFolder(folder: StepFolder): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o700 })
    for (const each of [join(this.#root, folder.workflowId), this.where(folder)]) {
      const found = await lstat(each).catch(() => undefined)
      if (found?.isDirectory()) continue
      await rm(each, { force: true })
      await mkdir(each, { mode: 0o700 })
    }
  }

  #failure(what: string, name: string, cause: unknown): AgentError {
    const isFull = ['ENOSPC', 'EDQUOT'].includes(codeOf(cause))
    const file = name === '' ? '' : `${name} in `
    const why = `cannot ${what} ${file}the work folder ${this.#root}: ${messageOf(cause)}`
    return new AgentError(isFull ? 'SPACE' : 'WORK_FOLDER', why, { cause })
  }
}

const codeOf = (error: unknown): string => String((error as NodeJS.ErrnoException).code)
