import { constants, type FileHandle, open } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { ContentError, messageOf } from '../../domain/errors.ts'
import type { Content, ContentPart, ContentRange } from '../../ports/content.ts'

/** Bytes in one piece. */
const PIECE = 128 * 1024

/**
 * `file:` URLs of local deployments; everything else goes to `others`. Only a plain file is read: a link is not followed, and a
 * device or a pipe is refused without waiting for it. The next byte may be missing at any time: somebody may pull the stick.
 * A medium may also hang: `get` and its body end with the signal, or after `stall` milliseconds without an answer, and until the
 * call that hangs has ended, no other one is made, because each occupies one of the few threads of this process.
 */
export class FolderContent implements Content {
  readonly #others: Content
  readonly #stall: number
  readonly #open: typeof open
  /** Calls that hang and that nobody waits for any more. */
  #hanging = 0

  /** `opening`: replaced by tests only. */
  constructor(others: Content, stall: number, opening = open) {
    this.#others = others
    this.#stall = stall
    this.#open = opening
  }

  async get(url: string, range: ContentRange, signal: AbortSignal): Promise<ContentPart> {
    if (range.origin !== 'local' || !url.startsWith('file:')) return this.#others.get(url, range, signal)
    const path = pathOf(url)
    const file = await this.#within(path, signal, async () => {
      const found = await opened(path, this.#open)
      // A medium that was pulled may fail here too (FUSE); all that is needed is known.
      await found.handle.close().catch(() => {})
      return found
    })
    const last = Math.min(range.last, file.size - 1)
    // A range that was requested ahead may never be read, so it must not hold the file open.
    const body = this.#pieces(path, range.first, last, signal)
    return { first: range.first, last, total: file.size, etag: file.etag, body }
  }

  async *#pieces(path: string, first: number, last: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    const { handle } = await this.#within(path, signal, async over => {
      const found = await opened(path, this.#open)
      if (over.aborted) await found.handle.close().catch(() => {})
      return found
    })
    const buffer = Buffer.allocUnsafeSlow(PIECE)
    try {
      for (let at = first; at <= last; ) {
        const length = Math.min(PIECE, last + 1 - at)
        const { bytesRead } = await this.#within(path, signal, () => handle.read(buffer, 0, length, at))
        if (bytesRead === 0) throw new Error('it has become shorter')
        at += bytesRead
        yield buffer.subarray(0, bytesRead)
      }
    } catch (error) {
      signal.throwIfAborted()
      throw error instanceof ContentError ? error : failure(path, error)
    } finally {
      // Not waited for: it hangs as long as a read does.
      handle.close().catch(() => {})
    }
  }

  /**
   * One call to the medium, which gets the signal that says whether anybody still waits for it. Rejects with the reason of `signal`
   * on abort, or when the medium does not answer, although the call may go on.
   */
  async #within<T>(path: string, signal: AbortSignal, call: (over: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    if (this.#hanging > 0) throw failure(path, SILENT)
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(failure(path, SILENT)), this.#stall)
    const over = AbortSignal.any([signal, late.signal])
    const work = call(over)
    return new Promise<T>((resolve, reject) => {
      const onAbort = (): void => {
        this.#hanging += 1
        const ended = (): void => {
          this.#hanging -= 1
        }
        work.then(ended, ended)
        reject(over.reason)
      }
      over.addEventListener('abort', onAbort, { once: true })
      work.then(resolve, reject).finally(() => over.removeEventListener('abort', onAbort))
    }).finally(() => clearTimeout(timer))
  }
}

function pathOf(url: string): string {
  try {
    return fileURLToPath(url)
  } catch (error) {
    throw failure('the URL', error)
  }
}

interface Opened {
  readonly handle: FileHandle
  readonly size: number
  /** Changes when the file does. */
  readonly etag: string
}

async function opened(path: string, opening: typeof open): Promise<Opened> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  let handle: FileHandle | undefined
  try {
    handle = await opening(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    const found = await handle.stat()
    if (found.isFile()) return { handle, size: found.size, etag: `"${found.ino}-${found.size}-${found.mtimeMs}"` }
    throw new Error('it is not a plain file')
  } catch (error) {
    await handle?.close().catch(() => {})
    throw failure(path, error)
  }
}

/** Of the kernel too, for a folder in the network. */
const SILENT = { code: 'ETIMEDOUT' }

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'it is not there',
  ENOTDIR: 'its folder is not a folder',
  ELOOP: 'it is a link, which is not followed',
  EACCES: "the agent's user may not read it",
  EIO: 'the medium gave an error, or was pulled out',
  ENODEV: 'the medium was pulled out',
  ETIMEDOUT: 'the medium does not answer',
  ENXIO: 'it is not a plain file, or the medium was pulled out',
}

/** Final: whoever is at the device mends it and starts over. */
function failure(path: string, cause: unknown): ContentError {
  const { code = '' } = cause as NodeJS.ErrnoException
  const why = WORDS[code] ?? messageOf(cause)
  return new ContentError(`cannot read ${path}: ${why}`, 'never', { code: 'LOCAL_FILE', cause })
}
