import { AgentError, ContentError, messageOf } from '../domain/errors.ts'
import type { Clock, Content, Log } from '../ports.ts'
import { backOff } from './back-off.ts'

export interface FetchSmallOptions {
  readonly maxBytes: number
  /** For all attempts together, in milliseconds. */
  readonly timeout: number
  readonly attempts: number
}

/** In milliseconds, between two attempts (protocol, chapter 4.10). */
const PAUSE = { shortest: 2_000, longest: 60_000 } as const

/**
 * A document whose size nobody has promised, whole. Says nothing about its content. Errors: AgentError `FILE_SIZE` when it
 * is larger than `maxBytes`, `DOWNLOAD_FAILED`, `TIMED_OUT`; only the first says something about the document itself.
 */
export async function fetchSmall(
  ports: { readonly content: Content; readonly clock: Clock; readonly log: Log },
  url: string,
  { maxBytes, timeout, attempts }: FetchSmallOptions,
  signal: AbortSignal,
): Promise<Buffer> {
  const { clock, log } = ports
  const done = new AbortController()
  const late = new AbortController()
  clock.sleep(timeout, done.signal).then(
    () => late.abort(new AgentError('TIMED_OUT', `took longer than ${Math.round(timeout / 1000)} s`)),
    () => {},
  )
  const either = AbortSignal.any([signal, late.signal])
  try {
    for (let failures = 1; ; failures++) {
      try {
        return await whole(ports.content, url, maxBytes, either)
      } catch (error) {
        either.throwIfAborted()
        if (!(error instanceof ContentError) || error.retry === 'never' || failures >= attempts) throw error
        const wish = typeof error.retry === 'number' ? error.retry : 0
        const pause = Math.max(backOff(failures + 1, clock, PAUSE.longest), PAUSE.shortest, wish)
        log.warn('fetch.interrupted', { why: messageOf(error), retryInMs: Math.round(pause) })
        await clock.sleep(pause, either)
      }
    }
  } finally {
    done.abort()
  }
}

async function whole(content: Content, url: string, maxBytes: number, signal: AbortSignal): Promise<Buffer> {
  const leave = new AbortController()
  const chunks: Buffer[] = []
  let size = 0
  try {
    const either = AbortSignal.any([signal, leave.signal])
    const part = await content.get(url, { first: 0, last: maxBytes - 1 }, either)
    if ((part.total ?? 0) > maxBytes) throw tooLarge(maxBytes)
    for await (const chunk of part.body) {
      signal.throwIfAborted()
      size += chunk.length
      if (size > maxBytes) throw tooLarge(maxBytes)
      chunks.push(Buffer.from(chunk))
    }
    if (size < (part.total ?? 0)) throw new ContentError('the connection ended early', 'backOff')
  } finally {
    // A body that is not read to its end would keep its connection for ever.
    leave.abort()
  }
  return Buffer.concat(chunks)
}

const tooLarge = (maxBytes: number): AgentError => new AgentError('FILE_SIZE', `is larger than ${maxBytes} bytes`)
