import { STATUS_CODES } from 'node:http'
import { ContentError, messageOf } from '../domain/errors.ts'
import type { Content, ContentPart, ContentRange } from '../ports.ts'
import { type Answer, HttpConnection, Unanswered } from './http-connection.ts'
import { type NetworkOptions, type Route, routeTo, type TrustedStore, trustedStore } from './http-route.ts'

export interface HttpOptions extends NetworkOptions {
  /** Milliseconds without a single byte, while one is waited for. */
  readonly stall: number
}

const MAX_REDIRECTS = 5
/** An idle connection is given back after this, in milliseconds: servers do not keep them for ever either. */
const IDLE = 10_000
/** Of an answer that is not wanted, before its connection is thrown away instead. */
const MAX_DISCARDED = 65_536
/** A server that wants to be asked again in a week is not taken at its word. In seconds. */
const MAX_RETRY_AFTER = 3600

/** Worth asking again: the server, or the way to it, has a bad moment (RFC 9110, chapter 15). */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504])

interface Kept {
  readonly connection: HttpConnection
  /** Which file it is busy with. */
  url: string
  timer?: NodeJS.Timeout
}

/** Content over HTTP/1.1: one kept-alive connection to a host for each file that is being read. */
export class HttpContent implements Content {
  readonly #options: HttpOptions
  readonly #trusted: TrustedStore
  readonly #kept = new Map<string, Kept[]>()
  /** Servers that end the connection after each answer: nothing is sent to them ahead of time. */
  readonly #closing = new Set<string>()
  /** Where the last redirect led to, so that only the first range of a file takes the detour. */
  #detour: { readonly from: string; readonly to: URL } | undefined

  constructor(options: HttpOptions) {
    this.#options = options
    this.#trusted = trustedStore(options.ca)
  }

  async get(url: string, range: ContentRange, signal: AbortSignal): Promise<ContentPart> {
    let remembered = this.#detour?.from === url
    let at = remembered ? this.#detour!.to : new URL(url)
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const answer = await this.#ask(at, range, signal)
      const { status, headers } = answer
      const location = headers.get('location')
      if (status >= 300 && status < 400 && location !== undefined) {
        await this.#discard(answer)
        at = follow(at, location)
        continue
      }
      if (status === 200 || status === 206) {
        this.#detour = undefined
        const part = partOf(answer, range, at)
        this.#detour = { from: url, to: at }
        return part
      }
      this.#detour = undefined
      await this.#discard(answer)
      // Where a redirect led to may be good for a while only; the way there is the one that was ordered.
      if (remembered && !PASSING.has(status)) {
        remembered = false
        at = new URL(url)
        continue
      }
      throw refusal(at, status, headers.get('retry-after'))
    }
    throw new ContentError(`${at.host} redirected more than ${MAX_REDIRECTS} times`, 'never')
  }

  async #ask(url: URL, range: ContentRange, signal: AbortSignal): Promise<Answer> {
    const route = routeTo(url, this.#options, this.#trusted)
    const text = requestText(url, route, range)
    try {
      for (let again = false; ; again = true) {
        const connection = await this.#connect(url.href, route, signal)
        try {
          const answer = await connection.request(text, signal)
          if (!answer.keepAlive) this.#closing.add(route.key)
          return answer
        } catch (error) {
          signal.throwIfAborted()
          if (again || !(error instanceof Unanswered)) throw error
        }
      }
    } catch (cause) {
      signal.throwIfAborted()
      this.#detour = undefined
      throw failure(url, cause)
    }
  }

  async #discard(answer: Answer): Promise<void> {
    const enough = setTimeout(() => answer.leave(), this.#options.stall)
    let seen = 0
    try {
      for await (const bytes of answer.body) {
        seen += bytes.length
        if (seen > MAX_DISCARDED) answer.leave()
      }
    } catch {
      // It was not wanted anyway.
    } finally {
      clearTimeout(enough)
    }
  }

  async #connect(url: string, route: Route, signal: AbortSignal): Promise<HttpConnection> {
    const all = (this.#kept.get(route.key) ?? []).filter(({ connection }) => connection.open)
    this.#kept.set(route.key, all)
    // An answer must never wait for the reader of another file.
    const kept = all.find(each => each.url === url || !each.connection.busy)
    if (kept) {
      if (this.#closing.has(route.key)) await kept.connection.idle()
      if (kept.connection.open) {
        kept.url = url
        kept.timer?.refresh()
        return kept.connection
      }
    }
    const open = await route.open(signal)
    const fresh: Kept = { url, connection: new HttpConnection(open, this.#options.stall) }
    fresh.timer = setTimeout(() => release(fresh), IDLE).unref()
    this.#kept.get(route.key)?.push(fresh)
    return fresh.connection
  }
}

function release({ connection, timer }: Kept): void {
  if (connection.busy) timer?.refresh()
  else connection.destroy(new Error('not needed any more'))
}

function requestText(url: URL, { target, fields }: Route, { first, last, etag }: ContentRange): string {
  const lines = [
    `GET ${target} HTTP/1.1`,
    `Host: ${url.host}`,
    'User-Agent: pi-adu-agent',
    'Accept: */*',
    'Accept-Encoding: identity',
    `Range: bytes=${first}-${last}`,
    // A weak one says nothing about bytes (RFC 9110, chapter 13.1.5).
    ...(etag === undefined || etag.startsWith('W/') ? [] : [`If-Range: ${etag}`]),
    ...fields,
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}

function partOf(answer: Answer, { first, last }: ContentRange, url: URL): ContentPart {
  const { status, headers, body } = answer
  const bad = (what: string, retry: 'few' | 'never'): ContentError => {
    answer.leave()
    return new ContentError(`${url.host} ${what}`, retry)
  }
  const encoding = headers.get('content-encoding')
  if (encoding !== undefined && encoding !== 'identity') {
    throw bad(`sent the file in the content encoding "${encoding.slice(0, 20)}", which was not asked for`, 'never')
  }
  if (status === 200) {
    const type = headers.get('content-type') ?? ''
    // No bundle is one, but the sign-in page of a network is, and many an error page.
    if (/^\s*(text\/html|application\/xhtml)/i.test(type)) {
      throw bad('sent a web page instead of the file: does this network want a sign-in?', 'few')
    }
    const length = headers.get('content-length')
    const total = length === undefined ? undefined : Number(length)
    return {
      first: 0,
      last: total === undefined ? undefined : total - 1,
      total,
      etag: headers.get('etag'),
      body: told(body, url),
    }
  }
  const range = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(headers.get('content-range') ?? '')
  if (Number(range?.[1]) !== first || !(Number(range?.[2]) <= last)) {
    throw bad('answered with another range than it was asked for', 'never')
  }
  return {
    first,
    last: Number(range?.[2]),
    total: range?.[3] === '*' ? undefined : Number(range?.[3]),
    etag: headers.get('etag'),
    body: told(body, url),
  }
}

async function* told(body: AsyncIterable<Buffer>, url: URL): AsyncGenerator<Buffer> {
  try {
    yield* body
  } catch (cause) {
    throw failure(url, cause)
  }
}

function follow(from: URL, location: string): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined
  if (to?.protocol === 'https:' || (to?.protocol === 'http:' && from.protocol === 'http:')) return to
  throw new ContentError(`${from.host} redirects to ${to?.protocol ?? 'a bad URL'}, which is not allowed`, 'never')
}

function refusal({ host }: URL, status: number, retryAfter: string | undefined): ContentError {
  const said = `${host} answered ${status} ${STATUS_CODES[status] ?? ''}`.trim()
  if (!PASSING.has(status)) return new ContentError(said, 'never')
  const seconds = /^\d+$/.test(retryAfter ?? '')
    ? Number(retryAfter)
    : (Date.parse(retryAfter ?? '') - Date.now()) / 1000
  return new ContentError(said, seconds > 0 ? Math.min(seconds, MAX_RETRY_AFTER) * 1000 : 'backOff')
}

/** What OpenSSL and Node call a certificate that is not to be trusted, or not yet, or not for this name. */
const UNTRUSTED = /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_CERT_|INVALID_CA|HOSTNAME_MISMATCH)/

function failure({ host }: URL, cause: unknown): ContentError {
  if (cause instanceof ContentError) return cause
  const { code = '' } = cause as NodeJS.ErrnoException
  const failed = messageOf(cause)
  if (code === 'CERT_NOT_YET_VALID') {
    const clock = `this device's clock says ${new Date().toISOString().slice(0, 19)}: waiting for time synchronisation`
    return new ContentError(`${host}: its certificate is not valid yet, and ${clock}`, 'backOff', { cause })
  }
  if (UNTRUSTED.test(code)) {
    return new ContentError(`${host}: its certificate is not accepted: ${failed}`, 'few', { cause })
  }
  return new ContentError(`${host}: ${failed}`, 'backOff', { cause })
}
