import { AgentError, ContentError, messageOf } from '../domain/errors.ts'
import type { Clock } from '../ports/clock.ts'
import type { Content } from '../ports/content.ts'
import type { Log } from '../ports/log.ts'
import { backOff } from '../timing/back-off.ts'
import { deadline } from '../timing/deadline.ts'
import { retrying } from '../timing/retrying.ts'

export interface FetchSmallOptions {
  readonly maxBytes: number
  /** For all attempts together, in milliseconds. */
  readonly timeout: number
  readonly attempts: number
}

/** Most partial answers for one document. */
const MAX_ANSWERS = 64

/** In milliseconds, between two attempts (PROTOCOL.md, "Package download"). */
const PAUSE = { shortest: 2_000, longest: 60_000 } as const

/**
 * Fetches a whole document of unknown size that the twin names. Its content is not checked. Errors: AgentError `FILE_SIZE` when
 * it is larger than `maxBytes`, `DOWNLOAD_FAILED`, `TIMED_OUT`; only the first is about the document itself.
 */
export async function fetchSmall(
  ports: { readonly content: Content; readonly clock: Clock; readonly log: Log },
  url: string,
  { maxBytes, timeout, attempts }: FetchSmallOptions,
  signal: AbortSignal,
): Promise<Buffer> {
  const { clock, log } = ports
  const late = (): AgentError => new AgentError('TIMED_OUT', `took longer than ${Math.round(timeout / 1000)} s`)
  const { signal: either, clear } = deadline(clock, timeout, late, signal)
  try {
    return await retrying(() => whole(ports.content, url, maxBytes, either), { pause, onRetry }, clock, either)
  } finally {
    clear()
  }

  function pause(error: unknown, failures: number): number | undefined {
    if (!(error instanceof ContentError) || error.retry === 'never' || failures >= attempts) return undefined
    const wish = typeof error.retry === 'number' ? error.retry : 0
    return Math.max(backOff(failures + 1, clock, PAUSE.longest), PAUSE.shortest, wish)
  }

  function onRetry(error: unknown, pause: number): void {
    log.warn('fetch.interrupted', { why: messageOf(error), retryInMs: Math.round(pause) })
  }
}

async function whole(content: Content, url: string, maxBytes: number, signal: AbortSignal): Promise<Buffer> {
  const leave = new AbortController()
  const chunks: Buffer[] = []
  let size = 0
  try {
    const either = AbortSignal.any([signal, leave.signal])
    let total: number | undefined
    // A server may send less than requested (RFC 9110, section 15.3.7).
    for (let answers = 0; answers === 0 || size < (total ?? 0); answers++) {
      const before = size
      const part = await content.get(url, { origin: 'twin', first: size, last: maxBytes - 1 }, either)
      total = part.total
      if ((total ?? 0) > maxBytes) throw tooLarge(maxBytes)
      let place = part.first
      for await (const chunk of part.body) {
        signal.throwIfAborted()
        const fresh = chunk.subarray(Math.max(0, size - place))
        place += chunk.length
        size += fresh.length
        if (size > maxBytes) throw tooLarge(maxBytes)
        chunks.push(Buffer.from(fresh))
      }
      if (size < (total ?? 0) && (size === before || answers === MAX_ANSWERS)) {
        throw new ContentError('the connection ended early', 'backOff')
      }
    }
  } finally {
    // An unread body would occupy its connection for ever.
    leave.abort()
  }
  return Buffer.concat(chunks)
}

const tooLarge = (maxBytes: number): AgentError => new AgentError('FILE_SIZE', `is larger than ${maxBytes} bytes`)
