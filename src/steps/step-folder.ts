import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { chmod, chown, type FileHandle, lstat, mkdir, open, readdir, rename, rm, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { FileEntity, Verified } from '../domain/deployment.ts'
import { AgentError, messageOf } from '../domain/errors.ts'
import { withholdEnd } from '../trust/withheld-end.ts'
import { removePaths } from './remove.ts'

/** From open(2), for Linux; Node does not name it. Such a descriptor names a file without opening it: no device wakes up. */
const O_PATH = 0o10000000

/** In bytes. */
const SPARE = 16 * 1024 * 1024

/** Numbers of the user who runs the step's own programs. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** The folders of steps, below one that only the service may write. Nothing runs in them while they are prepared. */
export class StepFolders {
  readonly #root: string
  readonly #spare: number

  /** `spare`: bytes that stay free on the disk. */
  constructor(root: string, spare = SPARE) {
    this.#root = root
    this.#spare = spare
  }

  /**
   * The folder of one step, with verified copies of `files`; the folders of other deployments go. Each file is hashed while it is
   * copied from `from`, and only the copy is used, so a change after the check has no effect. Errors: AgentError `FILE_HASH`,
   * `FILE_SIZE`, `SPACE`, `STEP_REFUSED` for what is no file, `WORK_FOLDER`.
   */
  async prepare(
    { deployment, step }: { readonly deployment: string; readonly step: string },
    files: readonly Verified<FileEntity>[],
    from: string,
    owner: Owner | undefined,
  ): Promise<string> {
    const folder = join(this.#root, deployment, step)
    try {
      await this.#removeOthers(deployment)
      // The step's user passes through, and sees nothing beside its own.
      await made(join(this.#root, deployment), 0o711)
      await made(folder, 0o700)
      if (owner) await chown(folder, owner.uid, owner.gid)
      else if (process.getuid?.() === 0) await chown(folder, 0, 0)
      const missing = await without(files, file => isThere(join(folder, file.fileName), file))
      await checkSpace(folder, missing, this.#spare)
      for (const file of missing) await copy(join(from, file.fileName), join(folder, file.fileName), file)
      return folder
    } catch (cause) {
      if (cause instanceof AgentError) throw cause
      throw new AgentError('WORK_FOLDER', `the step's folder cannot be prepared: ${messageOf(cause)}`, { cause })
    }
  }

  async remove(folder: string): Promise<void> {
    await removePaths(folder)
  }

  /** The copies of `files` go; what the step itself has written stays, because its cancel may need it. */
  async removeCopies(folder: string, files: readonly FileEntity[]): Promise<void> {
    await removePaths(...files.map(({ fileName }) => join(folder, fileName)))
  }

  /** If a step has filled the disk, its folder goes: what it did needs room on the disk. */
  async makeRoom(folder: string): Promise<void> {
    if ((await freeOn(folder)) < this.#spare) await this.remove(folder)
  }

  async #removeOthers(deployment: string): Promise<void> {
    await made(this.#root, 0o711)
    const others = (await readdir(this.#root)).filter(name => name !== deployment)
    await removePaths(...others.map(name => join(this.#root, name)))
  }
}

/** With this mode, whatever the umask. */
async function made(folder: string, mode: number): Promise<void> {
  await mkdir(folder, { recursive: true })
  await chmod(folder, mode)
}

async function without<T>(all: readonly T[], has: (each: T) => Promise<boolean>): Promise<readonly T[]> {
  const found: T[] = []
  for (const each of all) if (!(await has(each))) found.push(each)
  return found
}

/** Whether the copy is still what was signed: the step's own programs may have changed it since. */
async function isThere(path: string, { sizeInBytes, sha256 }: FileEntity): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined)
  if (!found?.isFile() || found.size !== sizeInBytes || found.nlink !== 1) return false
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const hash = createHash('sha256')
    for await (const piece of handle.createReadStream({ autoClose: false })) hash.update(piece)
    return hash.digest().equals(sha256)
  } finally {
    await handle.close()
  }
}

/** Bytes for users who are not root. */
async function freeOn(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}

async function checkSpace(folder: string, files: readonly FileEntity[], spare: number): Promise<void> {
  if (files.length === 0) return
  const wanted = files.reduce((sum, { sizeInBytes }) => sum + sizeInBytes, spare)
  const free = await freeOn(folder)
  if (free >= wanted) return
  const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1_000_000)} MB`
  throw new AgentError(
    'SPACE',
    `the step's files need ${megabytes(wanted)} in ${folder}, and ${megabytes(free)} are free`,
  )
}

async function copy(source: string, target: string, file: Verified<FileEntity>): Promise<void> {
  // Beside the step's folder, where no user of a step may write.
  const temporary = `${dirname(target)}.incoming`
  await rm(temporary, { recursive: true, force: true })
  const from = await openFile(source, file)
  try {
    // Executable for all: a folder of mode 0700 around it decides who gets that far.
    const to = await open(
      temporary,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
      0o755,
    )
    try {
      for await (const piece of withholdEnd(from.createReadStream({ autoClose: false }), file))
        await writeAll(to, piece)
      await to.chmod(0o755)
    } finally {
      await to.close()
    }
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  } finally {
    await from.close()
  }
  // Anything else gives way to a rename.
  if ((await lstat(target).catch(() => undefined))?.isDirectory()) await removePaths(target)
  await rename(temporary, target)
}

async function writeAll(to: FileHandle, piece: Buffer): Promise<void> {
  for (let at = 0; at < piece.length; ) at += (await to.write(piece, at)).bytesWritten
}

/** The agent's file, once it is known to be a regular one of the right size; a link, FIFO or device is never opened. */
async function openFile(path: string, { fileName, sizeInBytes }: FileEntity): Promise<FileHandle> {
  let named: FileHandle
  try {
    named = await open(path, O_PATH | constants.O_NOFOLLOW)
  } catch (cause) {
    throw refused(`${fileName} cannot be opened in the agent's folder: ${messageOf(cause)}`, cause)
  }
  try {
    const found = await named.stat()
    if (!found.isFile()) throw refused(`${fileName} in the agent's folder is not a regular file`)
    if (found.size !== sizeInBytes) {
      // Its real size is for nobody: the agent may have named a folder that it cannot read itself.
      throw new AgentError('FILE_SIZE', `${fileName} has not the ${sizeInBytes} bytes that are signed`)
    }
    return await open(`/proc/self/fd/${named.fd}`, constants.O_RDONLY | constants.O_NONBLOCK)
  } finally {
    await named.close()
  }
}

const refused = (why: string, cause?: unknown): AgentError =>
  new AgentError('STEP_REFUSED', `the step service refuses: ${why}`, { cause })
