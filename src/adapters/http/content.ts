import { isUtf8 } from 'node:buffer'
import { ContentError } from '../../domain/errors.ts'
import { type HostRefusal, Hosts, hostComplaint } from '../../domain/hosts.ts'
import { type WebUrl, webUrl } from '../../domain/web-url.ts'
import type { Content, ContentOrigin, ContentPart, ContentRange } from '../../ports/content.ts'
import type { Log } from '../../ports/log.ts'
import { failure, isPassing, partOf, refusal } from './answer.ts'
import { HttpConnection, Unanswered } from './connection.ts'
import type { Answer } from './exchange.ts'
import {
  AddressRefused,
  type NetworkOptions,
  type Proxies,
  proxiesOf,
  proxyFor,
  type Route,
  routeTo,
  type TrustedStore,
  trustedStore,
} from './route.ts'

export interface HttpOptions extends NetworkOptions {
  /** Milliseconds without an expected byte. */
  readonly stall: number
  /** Allowed hosts, checked for the first URL and for every redirect. Without those of an origin, it is allowed none. */
  readonly hosts: Readonly<Record<Exclude<ContentOrigin, 'local'>, Hosts> & { readonly local?: Hosts }>
}

const MAX_REDIRECTS = 5
/** Milliseconds after which an idle connection is closed; servers close theirs too. */
const IDLE = 10_000
/** Bytes of an unwanted answer that are read before its connection is closed instead. */
const MAX_DISCARDED = 65_536

interface Kept {
  readonly connection: HttpConnection
  /** The file that it currently serves. */
  url: string
  timer?: NodeJS.Timeout
}

/** One request on the way from the deployment's URL to the file. */
interface Hop {
  readonly ordered: WebUrl
  readonly at: WebUrl
  readonly origin: ContentOrigin
  /** The server's name for messages. The target of a redirect is left out: foreign text must not get into the twin. */
  readonly by: string
}

/** Content over HTTP/1.1, with one kept-alive connection to the host per file that is being read. */
export class HttpContent implements Content {
  readonly #options: HttpOptions
  readonly #log: Pick<Log, 'warn'> | undefined
  readonly #trusted: TrustedStore
  readonly #proxies: Proxies
  readonly #kept = new Map<string, Kept[]>()
  /** Servers that close after each answer; requests to them are not pipelined. */
  readonly #closing = new Set<string>()
  /** Target of the last redirect, so that only the first range of a file takes the detour. */
  #detour: { readonly from: string; readonly to: WebUrl } | undefined

  /** `log` gets the details that messages leave out. Errors: ConfigError for a proxy that is not a URL. */
  constructor(options: HttpOptions, log?: Pick<Log, 'warn'>) {
    this.#options = options
    this.#log = log
    this.#trusted = trustedStore(options.ca)
    this.#proxies = proxiesOf(options)
  }

  async get(text: string, range: ContentRange, signal: AbortSignal): Promise<ContentPart> {
    const { url: ordered, flaw } = webUrl(text)
    if (!ordered) throw new ContentError(`the URL ${flaw}`, 'never')
    let remembered = this.#detour?.from === ordered.href
    let at = remembered ? this.#detour!.to : ordered
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const hop = this.#hop(ordered, at, range.origin)
      const answer = await this.#ask(hop, range, signal)
      const { status, headers } = answer
      const location = headers.get('location')
      if (status >= 300 && status < 400 && location !== undefined) {
        await this.#discard(answer)
        at = this.#follow(hop, location)
        continue
      }
      this.#detour = undefined
      if (status === 200 || status === 206) {
        const part = partOf(answer, range, hop.by)
        this.#detour = { from: ordered.href, to: at }
        return part
      }
      await this.#discard(answer)
      // A redirect's target may expire, so start again at the deployment's URL.
      if (remembered && !isPassing(status)) {
        remembered = false
        at = ordered
        continue
      }
      throw refusal(hop.by, status, headers.get('retry-after'))
    }
    throw new ContentError(`${ordered.host} redirected more than ${MAX_REDIRECTS} times`, finalIf(at.secure))
  }

  #hosts(origin: ContentOrigin): Hosts {
    return this.#options.hosts[origin] ?? NO_HOSTS
  }

  /** Errors: ContentError `HOST_NOT_ALLOWED`. */
  #hop(ordered: WebUrl, at: WebUrl, origin: ContentOrigin): Hop {
    const hosts = this.#hosts(origin)
    const by = at.host === ordered.host ? ordered.host : `${ordered.host} (after a redirect)`
    const refused = hosts.refusal(at, proxyFor(at, this.#proxies) === undefined)
    if (!refused) return { ordered, at, origin, by }
    throw this.#refused({ ordered, at, origin, by }, refused)
  }

  #refused({ ordered, at, origin }: Hop, refused: HostRefusal): ContentError {
    const { setting } = this.#hosts(origin)
    this.#log?.warn('content.host-refused', { ordered: ordered.host, host: at.host, why: refused, setting })
    const code = 'HOST_NOT_ALLOWED'
    if (at.host !== ordered.host) {
      const what = refused === 'private' ? 'an address in a private network' : `a host that is not in ${setting}`
      // A captive portal redirects to itself until somebody has signed in.
      return new ContentError(`${ordered.host} redirects to ${what}; this device's log names it`, 'few', { code })
    }
    return new ContentError(hostComplaint(this.#hosts(origin), at.host, at.hostname, refused), 'never', {
      code,
    })
  }

  async #ask(hop: Hop, range: ContentRange, signal: AbortSignal): Promise<Answer> {
    const { at, origin, ordered } = hop
    const hosts = this.#hosts(origin)
    try {
      const route = routeTo(at, this.#proxies, this.#trusted, address => hosts.allowsAddress(address, at))
      // Origins have different allowed hosts, so they share no connection.
      const key = `${origin} ${route.key}`
      const text = requestText(at, route, range)
      for (let again = false; ; again = true) {
        const connection = await this.#connect(at.href, key, route, signal)
        try {
          const answer = await connection.request(text, signal)
          if (!answer.keepAlive) this.#closing.add(key)
          return answer
        } catch (error) {
          signal.throwIfAborted()
          if (again || !(error instanceof Unanswered)) throw error
        }
      }
    } catch (cause) {
      signal.throwIfAborted()
      this.#detour = undefined
      if (cause instanceof AddressRefused) throw this.#resolvedTo(hop, cause)
      throw failure(hop.by, cause, at.host !== ordered.host)
    }
  }

  /** A name may resolve to a private address only because of a captive portal, so this is worth another try. */
  #resolvedTo(hop: Hop, cause: AddressRefused): ContentError {
    const { message, code } = this.#refused(hop, 'private')
    return new ContentError(message, 'few', { code, cause })
  }

  #follow({ ordered, at, by }: Hop, location: string): WebUrl {
    // Field values are bytes; in a URL they are mostly UTF-8.
    const bytes = Buffer.from(location, 'latin1')
    const { url, flaw } = webUrl(isUtf8(bytes) ? bytes.toString() : location, at)
    // Over plain HTTP, anybody on the way may have sent this answer.
    if (!url) throw new ContentError(`${by} redirects to an address that ${flaw}`, finalIf(at.secure))
    if (url.secure || !at.secure) return url
    this.#log?.warn('content.redirect-refused', { ordered: ordered.host, host: url.host })
    throw new ContentError(`${by} redirects from https: to http:, which is not allowed`, 'never')
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
      // The answer was not wanted anyway.
    } finally {
      clearTimeout(enough)
    }
  }

  async #connect(url: string, key: string, route: Route, signal: AbortSignal): Promise<HttpConnection> {
    const all = (this.#kept.get(key) ?? []).filter(({ connection }) => connection.open)
    this.#kept.set(key, all)
    // An answer must not wait for the reader of another file.
    const kept = all.find(each => each.url === url || !each.connection.busy)
    if (kept) {
      if (this.#closing.has(key)) await kept.connection.idle()
      if (kept.connection.open) {
        kept.url = url
        kept.timer?.refresh()
        return kept.connection
      }
    }
    const open = await route.open(signal)
    const fresh: Kept = { url, connection: new HttpConnection(open, this.#options.stall) }
    fresh.timer = setTimeout(() => release(fresh), IDLE).unref()
    this.#kept.get(key)?.push(fresh)
    return fresh.connection
  }
}

const NO_HOSTS = new Hosts('no setting', [])

const finalIf = (authentic: boolean): 'never' | 'few' => (authentic ? 'never' : 'few')

function release({ connection, timer }: Kept): void {
  if (connection.busy) timer?.refresh()
  else connection.destroy(new Error('not needed any more'))
}

/** A strong ETag. A weak one says nothing about bytes (RFC 9110, sections 8.8.3 and 13.1.5); malformed ones are ignored. */
const STRONG_TAG = /^"[\x21\x23-\x7e\x80-\xff]*"$/

function requestText(url: WebUrl, { target, fields }: Route, { first, last, etag }: ContentRange): string {
  const lines = [
    `GET ${target} HTTP/1.1`,
    `Host: ${url.host}`,
    'User-Agent: pi-adu-agent',
    'Accept: */*',
    'Accept-Encoding: identity',
    `Range: bytes=${first}-${last}`,
    ...(etag !== undefined && STRONG_TAG.test(etag) ? [`If-Range: ${etag}`] : []),
    ...fields,
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}
