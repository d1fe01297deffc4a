import { constants, type X509Certificate } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { createServer, TLSSocket } from 'node:tls'
import type { IConnectPacket } from 'mqtt-packet'
import { createWebSocketStream, WebSocketServer } from 'ws'
import { connectProvisioning, type Doors, isForProvisioning } from '../dps/mqtt.ts'
import type { Certificates } from './certs.ts'
import { type CertificateChain, chainOf } from './client-certificate.ts'
import { authenticate } from './connect.ts'
import type { Faults } from './faults.ts'
import { type Listener, listenLoopback } from './listen.ts'
import { MqttLink } from './mqtt-link.ts'
import { Session, type SessionHub } from './session.ts'

export interface MqttServerOptions extends SessionHub {
  readonly port: number
  readonly certificates: Certificates
  /** Names under which the hub is known, lower case, without port. */
  readonly hosts: readonly string[]
  /** Certificates that may sign those of devices, asked for each connection. */
  readonly authorities: () => readonly X509Certificate[]
  /** The provisioning service shares the port; its usernames tell. */
  readonly provisioning: Doors
}

/** How long a socket may take to send CONNECT. */
const CONNECT_MS = 30_000

/** MQTT 3.1.1 for devices: the subset that Azure speaks (PROTOCOL.md, "Connection" and "Topics"). */
export async function startMqttServer(options: MqttServerOptions): Promise<Listener> {
  const { certificates, faults, log } = options
  const tls = createServer({
    key: certificates.key,
    cert: certificates.cert,
    ...ASK_FOR_CERTIFICATE,
    handshakeTimeout: CONNECT_MS,
  })
  tls.on('secureConnection', socket => {
    if (refusesCertificate(socket, faults)) socket.destroy()
    else accept(socket, chainOf(socket), options)
  })
  tls.on('tlsClientError', error => log(`TLS: ${error.message}`))

  return await listenLoopback(options.port, socket => {
    if (refusesEveryone(faults)) socket.destroy()
    else tls.emit('connection', socket)
  })
}

/**
 * For TLS servers: a device may show a certificate that TLS knows nothing of; `authenticate` checks it. Sessions are not
 * resumed, since a resumed one has forgotten the intermediate certificates.
 */
export const ASK_FOR_CERTIFICATE = {
  requestCert: true,
  rejectUnauthorized: false,
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const

/** Some servers refuse a certificate at TLS: the client sees its connection end, and no CONNACK. */
export const refusesCertificate = (socket: TLSSocket, faults: Faults): boolean =>
  chainOf(socket).length > 0 &&
  faults.take('refuseConnections', undefined, ({ how }) => how === 'certificate') !== undefined

const refusesEveryone = (faults: Faults): boolean =>
  faults.take('refuseConnections', undefined, ({ how = 'reset' }) => how === 'reset') !== undefined

/** Where IoT Hub takes WebSockets. Without this query the client shows a certificate. */
const WEB_SOCKET_PATH = /^\/\$iothub\/websocket(\?iothub-no-client-cert=true)?$/

/** For `upgrade` of an HTTPS server: MQTT over WebSockets, with the same sessions as over TLS. */
export function mqttOverWebSocket(options: Door) {
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: 1 << 20,
    handleProtocols: offered => (offered.has('mqtt') ? 'mqtt' : false),
  })
  return (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const refuse = (status: string): void => void socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`)
    const offered = request.headers['sec-websocket-protocol'] ?? ''
    if (refusesEveryone(options.faults)) socket.destroy()
    else if (!WEB_SOCKET_PATH.test(request.url ?? '')) refuse('404 Not Found')
    else if (!offered.split(/\s*,\s*/).includes('mqtt')) refuse('400 Bad Request')
    else {
      server.handleUpgrade(request, socket, head, webSocket => {
        const stream = createWebSocketStream(webSocket)
        webSocket.once('close', () => stream.destroy())
        // At once, as a reset: not with the goodbyes of a WebSocket.
        stream.once('close', () => socket.destroy())
        accept(stream, socket instanceof TLSSocket ? chainOf(socket) : [], options)
      })
    }
  }
}

/** An accepted connection, of whichever service. */
type Conversation = Pick<Session, 'handle' | 'ended'>
type Door = Omit<MqttServerOptions, 'port' | 'certificates'>

function accept(socket: Duplex, chain: CertificateChain, options: Door): void {
  let session: Conversation | undefined
  const link = new MqttLink(
    socket,
    packet => {
      if (session) session.handle(packet)
      else if (packet.cmd === 'connect') session = connect(packet, link, chain, options)
      else link.close(`${packet.cmd} before CONNECT`)
    },
    () => session?.ended(),
    options.log,
  )
  link.limitLife(Date.now() + CONNECT_MS, 'no CONNECT in time')
}

function connect(
  packet: IConnectPacket,
  link: MqttLink,
  chain: CertificateChain,
  options: Door,
): Conversation | undefined {
  const { devices, faults, hosts, authorities, log } = options
  const refuse = (returnCode: number, reason: string) => {
    log(`refused ${JSON.stringify(packet.clientId)}: ${reason}`)
    link.end({ cmd: 'connack', returnCode, sessionPresent: false })
    return undefined
  }
  if (packet.protocolVersion !== 4) return refuse(1, `MQTT level ${packet.protocolVersion}`)
  if (isForProvisioning(packet)) return connectProvisioning(packet, link, chain, options.provisioning)
  const refusal = faults.take('refuseConnections', packet.clientId, ({ how }) => how !== 'certificate')
  if (refusal?.how === 'notAuthorized') return refuse(5, 'fault')
  if (refusal?.how === 'unavailable') return refuse(3, 'fault')
  if (refusal) {
    link.close('fault: refused')
    return undefined
  }
  if (faults.take('blackHole', packet.clientId)) {
    link.blackHole()
    return undefined
  }
  const find = (id: string) => devices.find(id)
  const accepted = authenticate(packet, { hosts, now: Date.now(), find, chain, authorities: authorities() })
  if (typeof accepted === 'string') return refuse(5, accepted)
  const session = new Session(options, link, packet, accepted)
  const expiry = faults.take('expireTokens', session.deviceId)
  if (expiry) session.expireToken(expiry.afterMs ?? 0)
  return session
}
