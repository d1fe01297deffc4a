import type { EventEmitter } from 'node:events'
import net, { type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { HubError, messageOf } from '../../domain/errors.ts'
import { type WebUrl, webUrl } from '../../domain/web-url.ts'
import type { CertificateAuth } from '../../ports/identity.ts'
import { openTunnel, type Proxies } from '../http/route.ts'
import { checkServerIdentity } from '../tls/server-identity.ts'
import { explainTls } from '../tls/words.ts'

export type HubProtocol = 'mqtt' | 'mqtt/ws'

/** How to reach the hub, or the provisioning service. */
export interface HubRoute {
  readonly server: 'hub' | 'provisioning'
  /** Host of the hub or its gateway; with `:port` if that is not the protocol's default. */
  readonly hostName: string
  /** `mqtt`: TLS, port 8883. `mqtt/ws`: a WebSocket over TLS, port 443. */
  readonly protocol: HubProtocol
  /** PEM text of the certificate authority; the system's when undefined. */
  readonly ca: string | undefined
  /** The device's certificate; undefined if it has a token instead. */
  readonly certificate: CertificateAuth | undefined
  readonly proxies: Proxies
}

/** An open connection for MQTT. */
export interface HubSocket {
  readonly stream: Duplex
  /** The TLS socket below `stream`. With TLS 1.3 a refused certificate is known only after the handshake. */
  readonly secure: tls.TLSSocket
}

/** IoT Hub's two transports (public documentation, "Communicate with an IoT hub using MQTT"). */
const PORT = { mqtt: 8883, 'mqtt/ws': 443 } as const
const WEB_SOCKET_PATH = '/$iothub/websocket'
/** Tells the hub that a token follows, so it does not ask for a certificate. */
const NO_CERTIFICATE = '?iothub-no-client-cert=true'

/** Milliseconds to reach the hub by one route, including TLS and WebSocket. */
const PATIENCE = 30_000

/**
 * Opens the socket for MQTT. The certificate must be for `hostName`, whatever the route. If a proxy refuses, the direct route is
 * tried next, so a wrong proxy setting does not cut the device off. Errors: HubError, with the failure of every route.
 */
export async function openHubSocket(route: HubRoute, signal: AbortSignal): Promise<HubSocket> {
  const { url, flaw } = webUrl(`https://${route.hostName.replace(/^([^:]+|\[.*\])$/, `$1:${PORT[route.protocol]}`)}`)
  if (!url) throw new HubError(`the hub's name ${flaw}`)
  // Before anything is open: nobody listens to a socket while this is read. Loaded on use, because most devices do not need it.
  if (route.protocol === 'mqtt/ws') await import('ws')
  let refusal = ''
  try {
    const socket = await inTime(signal, async limit => {
      const tunnel = await openTunnel(url, route.proxies, limit)
      return tunnel && openOver(tunnel, url, route, limit)
    })
    if (socket) return socket
  } catch (error) {
    signal.throwIfAborted()
    refusal = `through the proxy: ${explainTls(error, route.server)}; without it: `
  }
  try {
    return await inTime(signal, limit => openOver(undefined, url, route, limit))
  } catch (error) {
    signal.throwIfAborted()
    throw new HubError(`${refusal}${explainTls(error, route.server)}`, { cause: error })
  }
}

async function inTime<T>(signal: AbortSignal, work: (limit: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(new Error(`no answer within ${PATIENCE / 1000} s`)), PATIENCE)
  try {
    return await work(AbortSignal.any([signal, late.signal]))
  } finally {
    clearTimeout(timer)
  }
}

/** `tunnel`: an existing connection to the hub, through a proxy. */
async function openOver(
  tunnel: Socket | undefined,
  url: WebUrl,
  route: HubRoute,
  signal: AbortSignal,
): Promise<HubSocket> {
  const secure = await openTls(url, route, tunnel, signal)
  if (route.protocol === 'mqtt') return { stream: secure, secure }
  return { stream: await openWebSocket(url, secure, route.certificate === undefined, signal), secure }
}

function openTls(
  { hostname: host, port }: WebUrl,
  { ca, certificate }: HubRoute,
  socket: Socket | undefined,
  signal: AbortSignal,
): Promise<tls.TLSSocket> {
  const { chain: cert, key, passphrase } = certificate ?? {}
  const secure = tls.connect({
    ...(socket ? { socket } : { host, port, autoSelectFamily: true }),
    ...(net.isIP(host) ? {} : { servername: host }),
    checkServerIdentity: (_, shown) => checkServerIdentity(host, shown),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
    ...(passphrase === undefined ? {} : { passphrase }),
  })
  // With TLS 1.3 a refusal comes after the handshake, when perhaps nobody listens yet. `errored` keeps it.
  secure.on('error', () => {})
  return opened(secure, 'secureConnect', secure, signal)
}

async function openWebSocket(
  { hostname, port }: WebUrl,
  secure: tls.TLSSocket,
  withToken: boolean,
  signal: AbortSignal,
): Promise<Duplex> {
  const { WebSocket, createWebSocketStream } = await import('ws')
  if (secure.destroyed) throw secure.errored ?? new Error('the connection was closed')
  const authority = `${net.isIPv6(hostname) ? `[${hostname}]` : hostname}:${port}`
  const webSocket = new WebSocket(`wss://${authority}${WEB_SOCKET_PATH}${withToken ? NO_CERTIFICATE : ''}`, ['mqtt'], {
    createConnection: () => secure,
    perMessageDeflate: false,
    // Azure's limit for one MQTT message is 256 KiB.
    maxPayload: 1 << 20,
  })
  try {
    await opened(webSocket, 'open', { destroy: () => webSocket.terminate() }, signal)
  } catch (error) {
    const why = messageOf(secure.errored ?? error)
    secure.destroy()
    throw new Error(`the WebSocket was refused: ${why}`, { cause: error })
  }
  const stream = createWebSocketStream(webSocket)
  stream.on('error', () => {})
  // By default it stays open for writing after the other side has closed.
  webSocket.once('close', () => stream.destroy())
  return stream
}

/** `emitter` once it has emitted `event`; otherwise it is destroyed. */
function opened<T extends EventEmitter>(
  emitter: T,
  event: string,
  it: { destroy(): unknown },
  signal: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      signal.removeEventListener('abort', abort)
      emitter.off('error', fail)
      emitter.off('close', closed)
    }
    const fail = (error: Error): void => {
      settle()
      // Its later errors are irrelevant, and must not be uncaught.
      emitter.on('error', () => {})
      it.destroy()
      reject(error)
    }
    const abort = (): void => fail(signal.reason)
    const closed = (): void => fail(new Error('the connection was closed'))
    emitter.on('error', fail)
    emitter.once('close', closed)
    emitter.once(event, () => {
      settle()
      resolve(emitter)
    })
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
  })
}
