import dns from 'node:dns'
import net, { type Socket } from 'node:net'
import tls from 'node:tls'
import { ConfigError } from '../../domain/errors.ts'
import { type WebUrl, webUrl } from '../../domain/web-url.ts'
import { checkServerIdentity } from '../tls/server-identity.ts'
import type { OpenSocket, Received } from './connection.ts'

/** How to reach the servers. */
export interface NetworkOptions {
  /** PEM text of further certificate authorities. */
  readonly ca: string | undefined
  /** `http://[user:password@]host[:port]`, for http and for https URLs. */
  readonly httpProxy: string | undefined
  readonly httpsProxy: string | undefined
  /** Names reached without a proxy: `example.com` with its subdomains, `host:port`, or `*`. */
  readonly noProxy: readonly string[]
}

export interface Route {
  /** Equal keys can share a connection. */
  readonly key: string
  /** The request target on this connection (RFC 9112, section 3.2), and further header lines. */
  readonly target: string
  readonly fields: readonly string[]
  open(signal: AbortSignal): Promise<OpenSocket>
}

const PROXY_PATIENCE = 30_000
/** Largest TLS record (RFC 8446, section 5.1); Node delivers records one by one. */
const TLS_RECORD = 16_384
/** Size of libuv's reads. */
const PLAIN_READ = 65_536

/** Proxies as checked URLs, and the names reached without them. */
export interface Proxies {
  readonly http: WebUrl | undefined
  readonly https: WebUrl | undefined
  readonly except: readonly string[]
}

/** Checks the settings. Errors: ConfigError for a proxy that is not a URL. */
export function proxiesOf({ httpProxy, httpsProxy, noProxy }: Omit<NetworkOptions, 'ca'>): Proxies {
  const checked = (name: string, text: string | undefined): WebUrl | undefined => {
    if (text === undefined) return undefined
    const { url, flaw } = webUrl(text)
    if (!url) throw new ConfigError(`the proxy for ${name} ${flaw}`)
    return url
  }
  return { http: checked('http', httpProxy), https: checked('https', httpsProxy), except: noProxy }
}

/** None of a name's addresses is allowed. */
export class AddressRefused extends Error {}

/** `allows` is asked about each address of the URL's name. With a proxy it is not asked, because the proxy resolves names. */
export function routeTo(
  url: WebUrl,
  proxies: Proxies,
  trusted: TrustedStore,
  allows: (address: string) => boolean,
): Route {
  const proxy = proxyFor(url, proxies)
  if (!proxy) {
    const place = { ...addressOf(url), lookup: onlyTo(allows) }
    const open: OpenSocket = received => {
      if (!url.secure) return net.connect({ ...place, onread: reading(received, PLAIN_READ) })
      const onread = reading(received, TLS_RECORD)
      return tls.connect({ ...place, ...tlsOptions(url, trusted), onread } as tls.ConnectionOptions)
    }
    return { key: url.origin, target: url.target, fields: credentials('Authorization', url), open: async () => open }
  }
  const toProxy = credentials('Proxy-Authorization', proxy)
  if (!url.secure) {
    return {
      key: proxy.href,
      target: `${url.origin}${url.target}`,
      fields: [...credentials('Authorization', url), ...toProxy],
      open: async () => received => net.connect({ ...addressOf(proxy), onread: reading(received, PLAIN_READ) }),
    }
  }
  return {
    key: `${proxy.href} ${url.origin}`,
    target: url.target,
    fields: credentials('Authorization', url),
    async open(signal) {
      const socket = await tunnel(proxy, url, toProxy, signal)
      return received => withoutOwnBuffer(tls.connect({ socket, ...tlsOptions(url, trusted) }), received)
    },
  }
}

export function proxyFor(url: WebUrl, { http, https, except }: Proxies): WebUrl | undefined {
  const excepted = except.some(entry => {
    const [, name, only] = /^\*?\.?(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? []
    if (only !== undefined && Number(only) !== url.port) return false
    return entry === '*' || url.hostname === name || (name !== '' && url.hostname.endsWith(`.${name}`))
  })
  return excepted ? undefined : url.secure ? https : http
}

const addressOf = ({ hostname, port }: WebUrl) => ({
  host: hostname,
  port,
  // A network may hand out IPv6 addresses without routing IPv6 (RFC 8305).
  autoSelectFamily: true,
})

/** Resolves names as Node does and returns only allowed addresses, so the checked address is the one that is used. */
export function onlyTo(allows: (address: string) => boolean): net.LookupFunction {
  return (name, options, done) => {
    dns.lookup(name, { ...options, all: true }, (error, all) => {
      const [first, ...more] = error ? [] : all.filter(({ address }) => allows(address))
      if (error) done(error, '')
      else if (!first) done(new AddressRefused(`${name} has no address that is allowed`), '')
      else if (options.all) done(null, [first, ...more])
      else done(null, first.address, first.family)
    })
  }
}

/** The trusted authorities, parsed once on first use: parsing takes longer than connecting. */
export type TrustedStore = () => tls.SecureContext | undefined

export function trustedStore(ca: string | undefined): TrustedStore {
  let context: tls.SecureContext | undefined
  return () => {
    if (ca !== undefined) context ??= tls.createSecureContext({ ca: [...tls.rootCertificates, ca] })
    return context
  }
}

/** The certificate must be for the URL's host. By default Node would check the socket's peer, which may be a proxy. */
export function tlsOptions({ hostname }: WebUrl, trusted: TrustedStore): tls.ConnectionOptions {
  const secureContext = trusted()
  return {
    host: hostname,
    // RFC 6066: only names, no addresses.
    ...(net.isIP(hostname) ? {} : { servername: hostname.replace(/\.$/, '') }),
    checkServerIdentity: (_, certificate) => checkServerIdentity(hostname, certificate),
    ...(secureContext === undefined ? {} : { secureContext }),
  }
}

/** One buffer for the life of the socket. `tls.connect` passes this option on; its types lack it. */
const reading = (received: Received, bytes: number) => ({
  buffer: Buffer.allocUnsafeSlow(bytes),
  callback: (length: number, buffer: Uint8Array) => received(buffer as Buffer, length),
})

function withoutOwnBuffer(socket: Socket, received: Received): Socket {
  return socket.on('data', bytes => {
    if (!received(bytes, bytes.length)) socket.pause()
  })
}

const credentials = (field: string, { credentials: pair }: WebUrl): string[] =>
  pair === undefined ? [] : [`${field}: Basic ${pair.toString('base64')}`]

/** A plain connection to the server of `url` through its proxy; undefined without a proxy. Errors: what failed. */
export async function openTunnel(url: WebUrl, proxies: Proxies, signal: AbortSignal): Promise<Socket | undefined> {
  const proxy = proxyFor(url, proxies)
  return proxy && tunnel(proxy, url, credentials('Proxy-Authorization', proxy), signal)
}

/** A connection through the proxy (RFC 9110, section 9.3.6). Abort ends it, and so does `PROXY_PATIENCE`. */
function tunnel(proxy: WebUrl, url: WebUrl, fields: readonly string[], signal: AbortSignal): Promise<Socket> {
  const authority = url.hostname.includes(':') ? `[${url.hostname}]:${url.port}` : `${url.hostname}:${url.port}`
  return new Promise((resolve, reject) => {
    const socket = net.connect(addressOf(proxy))
    const settle = (): void => {
      clearTimeout(late)
      signal.removeEventListener('abort', abort)
      socket.off('error', fail).off('close', closed).off('data', read)
    }
    const fail = (error: Error): void => {
      settle()
      // Later errors of this socket are irrelevant, and must not be uncaught.
      socket.on('error', () => {}).destroy()
      reject(error)
    }
    const abort = (): void => fail(signal.reason)
    // Not the socket's own timeout, which restarts with every byte of a slow answer.
    const late = setTimeout(
      () => fail(new Error(`no answer of the proxy within ${PROXY_PATIENCE / 1000} s`)),
      PROXY_PATIENCE,
    )
    signal.addEventListener('abort', abort, { once: true })
    const closed = (): void => fail(new Error('the proxy closed the connection'))
    let head = ''
    const read = (bytes: Buffer): void => {
      head += bytes.toString('latin1')
      if (!head.includes('\r\n\r\n') && head.length < 16_384) return
      const code = /^HTTP\/1\.[01] (\d{3})(?: [^\r]*)?\r\n(?:[\s\S]*\r\n)?\r\n$/.exec(head)?.[1]
      if (code?.startsWith('2')) {
        settle()
        resolve(socket)
      } else fail(new Error(`the proxy answered ${code ?? 'something that is not HTTP'}`))
    }
    socket.on('error', fail).on('close', closed).on('data', read)
    if (signal.aborted) abort()
    else socket.write([`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`, ...fields, '', ''].join('\r\n'), 'latin1')
  })
}
