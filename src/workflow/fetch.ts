import { AgentError, ContentError } from '../domain/errors.ts'
import type { Clock, Content, Log } from '../ports.ts'
import { backOff } from './back-off.ts'

export interface FetchOptions {
  /** Bytes asked for in one GET. The service wants about 1 MB and refuses more than 100 MB (protocol, chapter 3.9). */
  readonly rangeBytes: number
  /** For the whole file, in milliseconds. */
  readonly timeout: number
}

export interface FileToFetch {
  readonly url: string
  /** Undefined: as many bytes as the server says at first. */
  readonly size: number | undefined
  /** Called once, when the size is known. */
  readonly onSize?: (size: number) => void
}

/**
 * The bytes of a file, first to last, in order; the reader sets the pace. A connection that breaks is resumed at the exact
 * byte for as long as `timeout` allows. Says nothing about content: whoever reads checks size and hash.
 * Errors: AgentError `DOWNLOAD_FAILED`, `FILE_SIZE` (the server names another size), `TIMED_OUT`.
 */
export async function* fetchFile(
  { content, clock, log }: { readonly content: Content; readonly clock: Clock; readonly log: Log },
  { url, size: expected, onSize }: FileToFetch,
  options: FetchOptions,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const deadline = clock.monotonic() + options.timeout
  let offset = 0
  let etag: string | undefined
  let failures = 0
  let size = expected ?? Number.POSITIVE_INFINITY
  if (expected !== undefined) onSize?.(expected)
  while (offset < size) {
    const before = offset
    let pause = 0
    // Ends this GET whatever happens: an answer that nobody reads on would keep its connection for ever.
    const over = new AbortController()
    try {
      const last = Math.min(offset + options.rangeBytes, size) - 1
      const part = await content.get(url, { first: offset, last }, AbortSignal.any([signal, over.signal]))
      if (size === Number.POSITIVE_INFINITY) {
        if (part.total === undefined) throw new ContentError('the server does not say how long the file is', 'never')
        size = part.total
        onSize?.(size)
      }
      if (part.total !== undefined && part.total !== size) {
        throw new AgentError('FILE_SIZE', `the server has ${part.total} bytes, ordered were ${size}`)
      }
      if (etag !== undefined && part.etag !== undefined && part.etag !== etag) {
        throw new ContentError('the file on the server changed during the download', 'never')
      }
      etag ??= part.etag
      let at = part.first
      for await (const chunk of part.body) {
        const fresh = at < offset ? chunk.subarray(offset - at) : chunk
        at += chunk.length
        if (fresh.length === 0) continue
        offset += fresh.length
        yield fresh
        if (clock.monotonic() > deadline) throw new AgentError('TIMED_OUT', tooLong(offset, size, options.timeout))
      }
      if (offset <= Math.min(last, size - 1))
        throw new ContentError(`the connection ended at byte ${offset}`, 'backOff')
      failures = 0
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof ContentError) || error.retry === 'never') throw error
      failures = offset > before ? 1 : failures + 1
      pause = Math.max(backOff(failures, clock), typeof error.retry === 'number' ? error.retry : 0)
      if (clock.monotonic() + pause > deadline) {
        const message = `${tooLong(offset, size, options.timeout)}; last: ${error.message}`
        throw new AgentError('TIMED_OUT', message, { cause: error })
      }
      log.warn('fetch.interrupted', { offset, size, why: error.message, retryInMs: Math.round(pause) })
    } finally {
      over.abort()
    }
    if (pause > 0) await clock.sleep(pause, signal)
  }
}

const tooLong = (offset: number, size: number, timeout: number): string =>
  `the download took longer than ${Math.round(timeout / 60_000)} minutes: ${offset} of ${size} bytes`
