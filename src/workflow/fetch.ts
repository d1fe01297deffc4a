import { AgentError, ContentError } from '../domain/errors.ts'
import type { Clock, Content, ContentPart, Log } from '../ports.ts'
import { backOff } from './back-off.ts'

export interface FetchOptions {
  /** Bytes asked for in one GET. The service wants about 1 MB and refuses more than 100 MB (protocol, chapter 3.9). */
  readonly rangeBytes: number
  /** As many are asked for where the wire is so fast that ranges of `rangeBytes` are over in no time; unless told, no more. */
  readonly mostRangeBytes?: number
  /** For the whole file, in milliseconds. */
  readonly timeout: number
  /** Of bundles; undefined: as fast as it goes. */
  readonly bytesPerSecond?: number | undefined
}

export interface FileToFetch {
  readonly url: string
  /** Undefined: as many bytes as the server says at first. */
  readonly size: number | undefined
  /** Only the bytes from here on; the first one unless told. */
  readonly from?: number
  /** Only the bytes before this one. */
  readonly upTo?: number
  /** Called once, when the size is known. */
  readonly onSize?: (size: number) => void
}

/** A range that takes less is too small to be worth its request, in milliseconds: 10 MB/s and more, at 1 MiB. */
const SHORT = 100

/** Failures in a row without a single byte, of the kind that looks like a mistake: with back-off, about a quarter of an hour. */
export const FEW = 10

/** A range that is on its way, up to and with byte `last`. */
interface Asked {
  readonly last: number
  readonly part: Promise<ContentPart>
}

/**
 * The bytes of a file, first to last, in order; the reader sets the pace, and a piece is good until the next is asked for. The
 * next range is asked for while the one before it comes in. A connection that breaks is resumed at the exact byte, however
 * often, for as long as `timeout` allows. Says nothing about content: whoever reads checks size and hash.
 * Errors: AgentError `DOWNLOAD_FAILED`, `FILE_SIZE` (the server names another size), `TIMED_OUT`.
 */
export async function* fetchFile(
  { content, clock, log }: { readonly content: Content; readonly clock: Clock; readonly log: Log },
  { url, size: expected, from = 0, upTo = Number.POSITIVE_INFINITY, onSize }: FileToFetch,
  options: FetchOptions,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const deadline = clock.monotonic() + options.timeout
  let offset = from
  let etag: string | undefined
  let failures = 0
  let size = expected ?? Number.POSITIVE_INFINITY
  if (expected !== undefined) onSize?.(expected)
  while (offset < Math.min(size, upTo)) {
    const before = offset
    // Ends what was asked for ahead, and the connection with it, when the fetch ends early.
    const early = new AbortController()
    try {
      for await (const bytes of fromHere(AbortSignal.any([signal, early.signal]))) {
        offset += bytes.length
        yield bytes
        if (clock.monotonic() > deadline) throw new AgentError('TIMED_OUT', tooLong(offset, size, options.timeout))
      }
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof ContentError) || error.retry === 'never') throw error
      failures = offset > before ? 1 : failures + 1
      if (error.retry === 'few' && failures >= FEW) throw error
      const pause = Math.max(backOff(failures, clock), typeof error.retry === 'number' ? error.retry : 0)
      if (clock.monotonic() + pause > deadline) {
        const message = `${tooLong(offset, size, options.timeout)}; last: ${error.message}`
        throw new AgentError('TIMED_OUT', message, { cause: error })
      }
      log.warn('fetch.interrupted', { offset, size, why: error.message, retryInMs: Math.round(pause) })
      await clock.sleep(pause, signal)
    } finally {
      early.abort()
    }
  }

  /** From `offset` on, range by range, until something goes wrong. */
  async function* fromHere(stop: AbortSignal): AsyncGenerator<Buffer> {
    let length = options.rangeBytes
    let ahead: Asked | undefined
    for (let at = offset; at < Math.min(size, upTo); ) {
      const begun = clock.monotonic()
      const asked: Asked = ahead ?? ask(at)
      const part = await asked.part
      check(part)
      // The whole file where a range was asked for: this server has no ranges, the next answer would be the same again.
      const more = part.last === asked.last && part.last < Math.min(size, upTo) - 1
      ahead = more ? ask(part.last + 1) : undefined
      let place = part.first
      for await (const bytes of part.body) {
        // More than was asked for comes from a server without ranges.
        const fresh = bytes.subarray(Math.max(0, at - place), Math.max(0, upTo - place))
        place += bytes.length
        if (fresh.length === 0) continue
        at += fresh.length
        yield fresh
        if (at >= upTo) return
      }
      if (at <= Math.min(asked.last, size - 1)) throw new ContentError(`the connection ended at byte ${at}`, 'backOff')
      if (clock.monotonic() - begun < SHORT) length = Math.min(2 * length, options.mostRangeBytes ?? length)
    }

    function ask(first: number): Asked {
      const last = Math.min(first + length, size, upTo) - 1
      const part = content.get(url, { first, last, ...(etag === undefined ? {} : { etag }) }, stop)
      // One that is asked for ahead may be given up before anybody looks at it.
      part.catch(() => {})
      return { last, part }
    }
  }

  function check(part: ContentPart): void {
    if (etag !== undefined && part.etag !== undefined && part.etag !== etag) {
      throw new ContentError('the file on the server changed during the download', 'never')
    }
    if (size === Number.POSITIVE_INFINITY) {
      if (part.total === undefined) throw new ContentError('the server does not say how long the file is', 'never')
      size = part.total
      onSize?.(size)
    }
    if (part.total !== undefined && part.total !== size) {
      throw new AgentError('FILE_SIZE', `the server has ${part.total} bytes, ordered were ${size}`)
    }
    etag ??= part.etag
  }
}

const tooLong = (offset: number, size: number, timeout: number): string =>
  `the download took longer than ${Math.round(timeout / 60_000)} minutes: ${offset} of ${size} bytes`
