import { AgentError, ContentError, messageOf } from '../domain/errors.ts'
import type { Clock } from '../ports/clock.ts'
import type { Content, ContentOrigin, ContentPart } from '../ports/content.ts'
import type { Log } from '../ports/log.ts'
import type { Network } from '../ports/network.ts'
import { backOff } from '../timing/back-off.ts'
import { deadline } from '../timing/deadline.ts'
import { retries } from '../timing/retrying.ts'

export interface FetchOptions {
  /** Bytes asked for in one GET. The service wants about 1 MB and refuses more than 100 MB (PROTOCOL.md, "Downloads"). */
  readonly rangeBytes: number
  /** Largest range, used when the network is so fast that `rangeBytes` arrive at once. Default: `rangeBytes`. */
  readonly mostRangeBytes?: number
  /** For the whole file, in milliseconds. */
  readonly timeout: number
  /** Limit for bundles; undefined: none. */
  readonly bytesPerSecond?: number | undefined
  /** After its news the next attempt comes soon, unless the server named a time. */
  readonly network?: Network | undefined
}

export interface FileToFetch {
  readonly url: string
  readonly origin: ContentOrigin
  /** Undefined: the size that the server names first. */
  readonly size: number | undefined
  /** Offset of the first byte. Default: 0. */
  readonly from?: number
  /** Offset to stop before. */
  readonly upTo?: number
  /** Called once, when the size is known. */
  readonly onSize?: (size: number) => void
}

/** A range that takes less time, in milliseconds, is too small for its request: 10 MB/s and more at 1 MiB. */
const SHORT = 100

/** A partial answer shorter than this is not worth its request, in bytes. */
const LEAST = 4096

/** Failures in a row without a single byte, of the kind that looks like a mistake: with back-off, about a quarter of an hour. */
export const FEW = 10

/** A range that was requested, up to and including byte `last`. */
interface Asked {
  readonly last: number
  readonly part: Promise<ContentPart>
}

/**
 * The bytes of a file in order. The reader sets the pace; a piece is valid until the next is requested. The next range is
 * requested while the current one arrives. A broken connection is resumed at the exact byte, any number of times, until
 * `timeout`. The reader must check size and hash: nothing is known about the content.
 * Errors: AgentError `DOWNLOAD_FAILED`, `FILE_SIZE` (the server names another size), `TIMED_OUT`.
 */
export async function* fetchFile(
  { content, clock, log }: { readonly content: Content; readonly clock: Clock; readonly log: Log },
  { url, origin, size: expected, from = 0, upTo = Number.POSITIVE_INFINITY, onSize }: FileToFetch,
  options: FetchOptions,
  outer: AbortSignal,
): AsyncGenerator<Buffer> {
  let offset = from
  let etag: string | undefined
  /** Servers behind one name may have different ETags for the same file; then ETags are ignored and the hash decides. */
  let tagsAgree = true
  let last: string | undefined
  let size = expected ?? Number.POSITIVE_INFINITY
  const tooLate = (): AgentError => new AgentError('TIMED_OUT', tooLong(offset, size, options.timeout, last))
  const until = clock.monotonic() + options.timeout
  const { signal, clear } = deadline(clock, options.timeout, tooLate, outer)
  const watch = options.network?.watch()
  const news = (error: unknown, stop: AbortSignal) =>
    typeof (error as ContentError).retry === 'number' ? undefined : watch?.(stop)
  const failed = retries({ pause, onRetry, news }, clock, signal)
  if (expected !== undefined) onSize?.(expected)
  try {
    while (offset < Math.min(size, upTo)) yield* attempt()
  } finally {
    clear()
  }

  function pause(error: unknown, failures: number): number | undefined {
    if (!(error instanceof ContentError) || error.retry === 'never') return undefined
    last = error.message
    if (error.retry === 'few' && failures >= FEW) return undefined
    const pause = Math.max(backOff(failures, clock), typeof error.retry === 'number' ? error.retry : 0)
    if (clock.monotonic() + pause > until) throw tooLate()
    return pause
  }

  function onRetry(error: unknown, pause: number): void {
    log.warn('fetch.interrupted', { offset, size, why: messageOf(error), retryInMs: Math.round(pause) })
  }

  /** Fetches until something fails, then waits. */
  async function* attempt(): AsyncGenerator<Buffer> {
    const before = offset
    // If the fetch ends early, this ends the requested range and its connection.
    const early = new AbortController()
    try {
      for await (const bytes of fromHere(AbortSignal.any([signal, early.signal]))) {
        offset += bytes.length
        yield bytes
        signal.throwIfAborted()
      }
    } catch (error) {
      await failed(error, offset > before)
    } finally {
      early.abort()
    }
  }

  /** From `offset` on, range by range, until something fails. */
  async function* fromHere(stop: AbortSignal): AsyncGenerator<Buffer> {
    let length = options.rangeBytes
    let ahead: Asked | undefined
    for (let at = offset; at < Math.min(size, upTo); ) {
      const begun = clock.monotonic()
      const asked: Asked = ahead ?? ask(at)
      const part = await asked.part
      check(part, at)
      const end = Math.min(part.last ?? asked.last, asked.last, size - 1)
      // A server may send less than requested (RFC 9110, section 15.3.7), but each answer must be worth its request.
      const enough = end === Math.min(asked.last, size - 1) || end + 1 - at >= LEAST
      // The whole file instead of a range: this server has no ranges, and the next answer would be the same.
      const whole = part.last === undefined || part.last > asked.last
      const more = !whole && enough && end < Math.min(size, upTo) - 1
      ahead = more ? ask(end + 1) : undefined
      let place = part.first
      for await (const bytes of part.body) {
        // A server without ranges sends more than requested.
        const fresh = bytes.subarray(Math.max(0, at - place), Math.max(0, upTo - place))
        place += bytes.length
        if (fresh.length === 0) continue
        at += fresh.length
        yield fresh
        if (at >= upTo) return
      }
      if (at <= end || !enough) throw new ContentError(`the connection ended at byte ${at}`, 'backOff')
      if (clock.monotonic() - begun < SHORT) length = Math.min(2 * length, options.mostRangeBytes ?? length)
    }

    function ask(first: number): Asked {
      const last = Math.min(first + length, size, upTo) - 1
      const tag = tagsAgree && etag !== undefined ? { etag } : {}
      const part = content.get(url, { origin, first, last, ...tag }, stop)
      // A range requested ahead may be given up before anybody reads it.
      part.catch(() => {})
      return { last, part }
    }
  }

  function check(part: ContentPart, at: number): void {
    if (size === Number.POSITIVE_INFINITY) {
      if (part.total === undefined) throw new ContentError('the server does not say how long the file is', 'never')
      size = part.total
      onSize?.(size)
    }
    if (part.total !== undefined && part.total !== size) {
      throw new AgentError('FILE_SIZE', `the server has ${part.total} bytes, not the expected ${size}`)
    }
    if (tagsAgree && etag !== undefined && part.etag !== undefined && part.etag !== etag) {
      tagsAgree = false
      log.warn('fetch.tags-differ', { offset: at, why: 'the server names another version; the hash decides' })
      // The whole file, because If-Range named another version.
      if (part.first < at) throw new ContentError('the server named another version of the file', 'backOff')
    }
    etag ??= part.etag
  }
}

const tooLong = (offset: number, size: number, timeout: number, last: string | undefined): string =>
  `the download took longer than ${Math.round(timeout / 60_000)} minutes: ${offset} of ${size} bytes${last === undefined ? '' : `; last: ${last}`}`
