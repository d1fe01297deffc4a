import { STATUS_CODES } from 'node:http'
import { ContentError, messageOf } from '../../domain/errors.ts'
import type { ContentPart, ContentRange } from '../../ports/content.ts'
import type { Answer } from './exchange.ts'

/** Upper limit for Retry-After, in seconds. */
const MAX_RETRY_AFTER = 3600

/** Statuses that say permanently that the file is not available (RFC 9110, section 15.5). */
const FINAL = new Set([400, 401, 403, 404, 405, 406, 410, 411, 413, 414, 416, 431, 451])
/** Transient statuses, worth retrying until the timeout. */
export const isPassing = (status: number): boolean =>
  (status >= 500 && status < 600) || status === 408 || status === 425 || status === 429

/** Codings that change the bytes (IANA's registry). Others, like `aws-chunked`, are labels left over from an upload. */
const TRANSFORMING = /^(x-)?(br|compress|dcb|dcz|deflate|exi|gzip|pack200-gzip|aes128gcm|zstd)$/i

/**
 * What a 200 or 206 says about the file. `by` names the server. Messages contain only status and sizes of what the server sent,
 * because they get into the twin. Errors: ContentError; `answer` is closed then.
 */
export function partOf(answer: Answer, { first, last }: ContentRange, by: string): ContentPart {
  const { status, headers, body } = answer
  const bad = (what: string, retry: 'few' | 'never'): ContentError => {
    answer.leave()
    return new ContentError(`${by} ${what}`, retry)
  }
  const codings = (headers.get('content-encoding') ?? '').split(',').map(coding => coding.trim())
  if (codings.some(coding => TRANSFORMING.test(coding))) {
    throw bad('sent the file compressed (Content-Encoding), which was not requested', 'never')
  }
  const etag = headers.get('etag')
  if (status === 200) {
    const type = headers.get('content-type') ?? ''
    // A bundle is never HTML, but captive portals and many error pages are.
    if (/^\s*(text\/html|application\/xhtml)/i.test(type)) {
      throw bad('sent a web page instead of the file: does this network want a sign-in?', 'few')
    }
    const length = headers.get('content-length')
    const total = length === undefined ? undefined : Number(length.split(',')[0])
    return { first: 0, last: total === undefined ? undefined : total - 1, total, etag, body: told(body, by) }
  }
  const range = /^bytes[ \t=]+(\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i.exec(headers.get('content-range') ?? '')
  const upTo = Number(range?.[2])
  if (Number(range?.[1]) !== first || !(upTo <= last && upTo >= first)) {
    throw bad('answered with a range that was not requested', 'never')
  }
  const total = range?.[3] === '*' ? undefined : Number(range?.[3])
  return { first, last: upTo, total, etag, body: told(body, by) }
}

async function* told(body: AsyncIterable<Buffer>, by: string): AsyncGenerator<Buffer> {
  try {
    yield* body
  } catch (cause) {
    throw failure(by, cause)
  }
}

/** The error for an answer that is neither the file nor a redirect. */
export function refusal(by: string, status: number, retryAfter: string | undefined): ContentError {
  const said = `${by} answered ${status} ${STATUS_CODES[status] ?? ''}`.trim()
  if (!isPassing(status)) return new ContentError(said, FINAL.has(status) ? 'never' : 'few')
  const seconds = /^\d+$/.test(retryAfter ?? '')
    ? Number(retryAfter)
    : (Date.parse(retryAfter ?? '') - Date.now()) / 1000
  return new ContentError(said, seconds > 0 ? Math.min(seconds, MAX_RETRY_AFTER) * 1000 : 'backOff')
}

/** OpenSSL's and Node's codes for a certificate that is untrusted, not yet valid, or for another name. */
const UNTRUSTED = /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_CERT_|INVALID_CA|HOSTNAME_MISMATCH)/

/** OpenSSL's own message, without the numbers and the line end around it. */
const plain = (text: string): string => text.replace(/.*:SSL routines:[^:]*:([^:]*):.*/s, 'SSL: $1')

/** The error for a request without an answer. `brief`: leaves out the system's message, if it is about a redirect's host. */
export function failure(by: string, cause: unknown, brief = false): ContentError {
  if (cause instanceof ContentError) return cause
  const { code = '' } = cause as NodeJS.ErrnoException
  if (code === 'CERT_NOT_YET_VALID') {
    const clock = `this device's clock says ${new Date().toISOString().slice(0, 19)}: waiting for time synchronisation`
    return new ContentError(`${by}: its certificate is not valid yet, and ${clock}`, 'backOff', { cause })
  }
  // Node's message would list the names in the certificate.
  const altName = code === 'ERR_TLS_CERT_ALTNAME_INVALID' && 'the certificate is for other names'
  const failed = altName || (brief && code ? code : plain(messageOf(cause)))
  if (UNTRUSTED.test(code)) {
    return new ContentError(`${by}: its certificate is not accepted: ${failed}`, 'few', { cause })
  }
  return new ContentError(`${by}: ${failed}`, 'backOff', { cause })
}
