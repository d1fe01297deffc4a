import net, { type Socket } from 'node:net'
import tls from 'node:tls'
import type { OpenSocket, Received } from './http-connection.ts'

/** How to get to the servers. */
export interface NetworkOptions {
  /** PEM text of further certificate authorities. */
  readonly ca: string | undefined
  /** `http://[user:password@]host[:port]`, for http and for https URLs. */
  readonly httpProxy: string | undefined
  readonly httpsProxy: string | undefined
  /** Names that are reached without a proxy: `example.com` and all below it, `host:port`, or `*`. */
  readonly noProxy: readonly string[]
}

export interface Route {
  /** Equal where one connection can serve both. */
  readonly key: string
  /** What to ask for on this connection (RFC 9112, chapter 3.2), and further header lines. */
  readonly target: string
  readonly fields: readonly string[]
  open(signal: AbortSignal): Promise<OpenSocket>
}

const PROXY_PATIENCE = 30_000
/** What a TLS record holds at most (RFC 8446, chapter 5.1): Node hands them over one by one. */
const TLS_RECORD = 16_384
/** What libuv reads at once. */
const PLAIN_READ = 65_536

/** Of an http or https URL. */
export function routeTo(url: URL, options: NetworkOptions, trusted: TrustedStore): Route {
  const secure = url.protocol === 'https:'
  const proxy = proxyFor(url, options)
  const target = `${url.pathname}${url.search}`
  if (!proxy) {
    const place = addressOf(url)
    const open: OpenSocket = received => {
      if (!secure) return net.connect({ ...place, onread: reading(received, PLAIN_READ) })
      const onread = reading(received, TLS_RECORD)
      return tls.connect({ ...place, ...security(url, trusted), onread } as tls.ConnectionOptions)
    }
    return { key: url.origin, target, fields: credentials('Authorization', url), open: async () => open }
  }
  const toProxy = credentials('Proxy-Authorization', proxy)
  if (!secure) {
    return {
      key: proxy.href,
      target: `${url.origin}${target}`,
      fields: [...credentials('Authorization', url), ...toProxy],
      open: async () => received => net.connect({ ...addressOf(proxy), onread: reading(received, PLAIN_READ) }),
    }
  }
  return {
    key: `${proxy.href} ${url.origin}`,
    target,
    fields: credentials('Authorization', url),
    async open(signal) {
      const socket = await tunnel(proxy, url, toProxy, signal)
      return received => withoutOwnBuffer(tls.connect({ socket, ...security(url, trusted) }), received)
    },
  }
}

export function proxyFor(url: URL, { httpProxy, httpsProxy, noProxy }: NetworkOptions): URL | undefined {
  const proxy = url.protocol === 'https:' ? httpsProxy : httpProxy
  if (proxy === undefined) return undefined
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase()
  const port = url.port || (url.protocol === 'https:' ? '443' : '80')
  const excepted = noProxy.some(entry => {
    const [, name, only] = /^\*?\.?(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? []
    if (only !== undefined && only !== port) return false
    return entry === '*' || host === name || (name !== '' && host.endsWith(`.${name}`))
  })
  return excepted ? undefined : new URL(proxy)
}

const addressOf = (url: URL) => ({
  host: url.hostname.replace(/^\[|\]$/g, ''),
  port: Number(url.port) || (url.protocol === 'https:' ? 443 : 80),
  // Not every network with IPv6 addresses has IPv6 (RFC 8305).
  autoSelectFamily: true,
})

/** The authorities that servers are believed by; made on first use, once: to read them all takes longer than to connect. */
export type TrustedStore = () => tls.SecureContext | undefined

export function trustedStore(ca: string | undefined): TrustedStore {
  let context: tls.SecureContext | undefined
  return () => {
    if (ca !== undefined) context ??= tls.createSecureContext({ ca: [...tls.rootCertificates, ca] })
    return context
  }
}

function security(url: URL, trusted: TrustedStore): tls.ConnectionOptions {
  const secureContext = trusted()
  return {
    ...(net.isIP(addressOf(url).host) ? {} : { servername: url.hostname }),
    ...(secureContext === undefined ? {} : { secureContext }),
  }
}

/** One buffer for the life of the socket; missing from the types of `tls.connect`, which passes it on. */
const reading = (received: Received, bytes: number) => ({
  buffer: Buffer.allocUnsafeSlow(bytes),
  callback: (length: number, buffer: Uint8Array) => received(buffer as Buffer, length),
})

function withoutOwnBuffer(socket: Socket, received: Received): Socket {
  return socket.on('data', bytes => {
    if (!received(bytes, bytes.length)) socket.pause()
  })
}

const credentials = (field: string, { username, password }: URL): string[] => {
  if (!username) return []
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return [`${field}: Basic ${Buffer.from(pair).toString('base64')}`]
}

/** A connection through the proxy (RFC 9110, chapter 9.3.6). */
function tunnel(proxy: URL, { hostname, port }: URL, fields: readonly string[], signal: AbortSignal): Promise<Socket> {
  const authority = `${hostname}:${port || 443}`
  return new Promise((resolve, reject) => {
    const socket = net.connect(addressOf(proxy))
    const fail = (error: Error): void => {
      socket.destroy()
      reject(error)
    }
    const abort = (): void => fail(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    socket.setTimeout(PROXY_PATIENCE, () => fail(new Error(`no answer of the proxy within ${PROXY_PATIENCE / 1000} s`)))
    socket.once('error', fail).once('close', () => fail(new Error('the proxy closed the connection')))
    let head = ''
    socket.on('data', bytes => {
      head += bytes.toString('latin1')
      if (!head.includes('\r\n\r\n') && head.length < 16_384) return
      const status = /^HTTP\/1\.[01] (\d{3})[^\r]*\r\n[\s\S]*\r\n\r\n$|^HTTP\/1\.[01] (\d{3})[^\r]*\r\n\r\n$/.exec(head)
      const code = status?.[1] ?? status?.[2]
      if (!code?.startsWith('2')) return fail(new Error(`the proxy answered ${code ?? 'something that is not HTTP'}`))
      signal.removeEventListener('abort', abort)
      socket.setTimeout(0).removeAllListeners()
      resolve(socket)
    })
    if (signal.aborted) abort()
    else socket.write([`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`, ...fields, '', ''].join('\r\n'), 'latin1')
  })
}
