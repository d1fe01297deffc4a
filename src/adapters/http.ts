import type { IncomingMessage } from 'node:http'
import http from 'node:http'
import https from 'node:https'
import tls from 'node:tls'
import { ContentError, messageOf } from '../domain/errors.ts'
import type { Content, ContentPart } from '../ports.ts'

export interface HttpOptions {
  /** PEM text of further certificate authorities. */
  readonly ca: string | undefined
  /** Milliseconds without a single byte, while one is waited for. */
  readonly stall: number
}

const MAX_REDIRECTS = 5
/** In bytes. */
const MAX_DISCARDED = 64 * 1024

/** Worth asking again: the server, or the way to it, has a bad moment (RFC 9110, chapter 15). */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504])

/** Content over node:http(s): connections are kept alive. `fetch` would cost 18 MB of memory. */
export class HttpContent implements Content {
  readonly #options: HttpOptions
  readonly #http = new http.Agent({ keepAlive: true })
  readonly #https: https.Agent

  constructor(options: HttpOptions) {
    this.#options = options
    const ca = options.ca === undefined ? {} : { ca: [...tls.rootCertificates, options.ca] }
    this.#https = new https.Agent({ keepAlive: true, ...ca })
  }

  async get(url: string, { first, last }: { first: number; last: number }, signal: AbortSignal): Promise<ContentPart> {
    const headers = { range: `bytes=${first}-${last}`, 'accept-encoding': 'identity' }
    let at = new URL(url)
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const response = await this.#request(at, headers, signal)
      const status = response.statusCode ?? 0
      const { location } = response.headers
      if (status >= 300 && status < 400 && location !== undefined) {
        discard(response)
        at = follow(at, location)
        continue
      }
      if (status === 200 || status === 206) return this.#part(response, first)
      discard(response)
      throw refusal(status, response.headers['retry-after'])
    }
    throw new ContentError(`the server redirected more than ${MAX_REDIRECTS} times`, 'never')
  }

  #request(url: URL, headers: http.OutgoingHttpHeaders, signal: AbortSignal): Promise<IncomingMessage> {
    const secure = url.protocol === 'https:'
    const { stall } = this.#options
    return new Promise((resolve, reject) => {
      const request = (secure ? https : http).get(url, { headers, signal, agent: secure ? this.#https : this.#http })
      const timer = setTimeout(() => request.destroy(new Error(`no answer within ${stall / 1000} s`)), stall)
      request.once('response', response => {
        clearTimeout(timer)
        resolve(response)
      })
      request.on('error', cause => {
        clearTimeout(timer)
        reject(
          signal.aborted ? signal.reason : new ContentError(`${url.host}: ${messageOf(cause)}`, 'backOff', { cause }),
        )
      })
    })
  }

  #part(response: IncomingMessage, first: number): ContentPart {
    const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers['content-range'] ?? '')
    if (response.statusCode === 206 && Number(range?.[1]) !== first) {
      response.destroy()
      throw new ContentError('the server answered with another range than it was asked for', 'never')
    }
    const length = response.headers['content-length']
    const whole = length === undefined ? undefined : Number(length)
    return {
      first: response.statusCode === 206 ? first : 0,
      total: response.statusCode === 206 ? Number(range?.[3]) : whole,
      etag: response.headers.etag,
      body: this.#body(response),
    }
  }

  /** A body that stands still while it is waited for is a broken one; a reader may take its time. */
  async *#body(response: IncomingMessage): AsyncGenerator<Buffer> {
    const { stall } = this.#options
    let waitingSince: number | undefined = performance.now()
    const watch = setInterval(() => {
      if (waitingSince === undefined || performance.now() - waitingSince < stall) return
      response.destroy(new Error(`no byte for ${stall / 1000} s`))
    }, stall / 4)
    try {
      for await (const chunk of response) {
        waitingSince = undefined
        yield chunk as Buffer
        waitingSince = performance.now()
      }
    } catch (cause) {
      throw new ContentError(messageOf(cause), 'backOff', { cause })
    } finally {
      clearInterval(watch)
      response.destroy()
    }
  }
}

/** Reads the short text that comes with a refusal, for the sake of the connection; anything else is cut off. */
function discard(response: IncomingMessage): void {
  if (Number(response.headers['content-length']) <= MAX_DISCARDED) response.resume()
  else response.destroy()
}

function follow(from: URL, location: string): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined
  if (to?.protocol === 'https:' || (to?.protocol === 'http:' && from.protocol === 'http:')) return to
  throw new ContentError(`the server redirects to ${to?.protocol ?? 'a bad URL'}, which is not allowed`, 'never')
}

function refusal(status: number, retryAfter: string | undefined): ContentError {
  const seconds = Number(retryAfter)
  const passing = PASSING.has(status)
  const wish = passing && Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 'backOff'
  return new ContentError(
    `the server answered ${status} ${http.STATUS_CODES[status] ?? ''}`.trim(),
    passing ? wish : 'never',
  )
}
