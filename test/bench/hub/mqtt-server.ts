import { createServer, type TLSSocket } from 'node:tls'
import type { IConnectPacket } from 'mqtt-packet'
import type { Certificates } from './certs.ts'
import { authenticate } from './connect.ts'
import { type Listener, listenLoopback } from './listen.ts'
import { MqttLink } from './mqtt-link.ts'
import { Session, type SessionHub } from './session.ts'

export interface MqttServerOptions extends SessionHub {
  readonly port: number
  readonly certificates: Certificates
  /** Names under which the hub is known, lower case, without port. */
  readonly hosts: readonly string[]
}

/** How long a socket may take to say who it is. */
const CONNECT_MS = 30_000

/** MQTT 3.1.1 for devices: the subset that Azure speaks (wire format, chapters 2 and 3). */
export async function startMqttServer(options: MqttServerOptions): Promise<Listener> {
  const { certificates, faults, log } = options
  const tls = createServer({
    key: certificates.key,
    cert: certificates.cert,
    // A device may show a self-signed certificate; `authenticate` compares its fingerprint.
    requestCert: true,
    rejectUnauthorized: false,
    handshakeTimeout: CONNECT_MS,
  })
  tls.on('secureConnection', socket => accept(socket, options))
  tls.on('tlsClientError', error => log(`TLS: ${error.message}`))

  return await listenLoopback(options.port, socket => {
    const everyone = faults.take('refuseConnections', undefined, ({ how = 'reset' }) => how === 'reset')
    if (everyone) socket.destroy()
    else tls.emit('connection', socket)
  })
}

function accept(socket: TLSSocket, options: MqttServerOptions): void {
  let session: Session | undefined
  const link = new MqttLink(
    socket,
    packet => {
      if (session) session.handle(packet)
      else if (packet.cmd === 'connect') session = connect(packet, link, options)
      else link.close(`${packet.cmd} before CONNECT`)
    },
    () => session?.ended(),
    options.log,
  )
  link.limitLife(Date.now() + CONNECT_MS, 'no CONNECT in time')
}

function connect(packet: IConnectPacket, link: MqttLink, options: MqttServerOptions): Session | undefined {
  const { devices, faults, hosts, log } = options
  const refuse = (returnCode: number, reason: string) => {
    log(`refused ${JSON.stringify(packet.clientId)}: ${reason}`)
    link.end({ cmd: 'connack', returnCode, sessionPresent: false })
    return undefined
  }
  if (packet.protocolVersion !== 4) return refuse(1, `MQTT level ${packet.protocolVersion}`)
  const refusal = faults.take('refuseConnections', packet.clientId)
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
  const certificate = link.socket.getPeerX509Certificate()
  const accepted = authenticate(packet, { hosts, now: Date.now(), find: id => devices.find(id), certificate })
  if (typeof accepted === 'string') return refuse(5, accepted)
  const session = new Session(options, link, packet, accepted)
  const expiry = faults.take('expireTokens', session.deviceId)
  if (expiry) session.expireToken(expiry.afterMs ?? 0)
  return session
}
