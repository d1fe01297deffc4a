import { connect, type TLSSocket } from 'node:tls'
import mqtt, { type IConnectPacket, type Packet } from 'mqtt-packet'
import type { BenchHub } from '../bench/hub/hub.ts'
import { resourcePath } from '../bench/hub/ids.ts'
import { createSas } from '../bench/hub/sas.ts'
import { within } from './support.ts'

/** A client without manners: sends any packet or bytes, and remembers what came back. */
export class RawClient {
  readonly socket: TLSSocket
  readonly packets: Packet[] = []
  readonly closed: Promise<void>
  #wake = () => {}

  constructor(socket: TLSSocket) {
    this.socket = socket
    const parser = mqtt.parser()
    parser.on('packet', packet => {
      // The parser uses its object again.
      this.packets.push({ ...packet })
      this.#wake()
    })
    socket.on('data', chunk => parser.parse(chunk))
    socket.on('error', () => {})
    this.closed = new Promise(resolve => socket.on('close', () => resolve()))
  }

  static async open(hub: BenchHub, tls: { key?: string; cert?: string } = {}): Promise<RawClient> {
    const socket = connect({ host: '127.0.0.1', port: hub.mqttPort, servername: 'localhost', ca: hub.ca, ...tls })
    const client = new RawClient(socket)
    await within(5000, new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('close', reject)))
    return client
  }

  send(packet: Packet | Buffer): void {
    this.socket.write(Buffer.isBuffer(packet) ? packet : mqtt.generate(packet))
  }

  /** The first packet of this kind that has come or comes. */
  async got<C extends Packet['cmd']>(cmd: C): Promise<Extract<Packet, { cmd: C }>> {
    const look = async () => {
      for (;;) {
        const found = this.packets.find(packet => packet.cmd === cmd)
        if (found) return found as Extract<Packet, { cmd: C }>
        await new Promise<void>(resolve => {
          this.#wake = resolve
        })
      }
    }
    const closed = this.closed.then(() => Promise.reject(new Error(`closed without ${cmd}`)))
    return await within(5000, Promise.race([look(), closed]))
  }
}

/** A good CONNECT, as the SDK would send it, with changes. */
export function connectPacket(hub: BenchHub, id: string, changes: Partial<IConnectPacket> = {}): IConnectPacket {
  const key = /SharedAccessKey=([^;]*)/.exec(hub.deviceConnectionString(id))?.[1]
  const resource = encodeURIComponent(`${hub.hostName}/${resourcePath(id)}`)
  return {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: false,
    keepalive: 60,
    clientId: id,
    username: `${hub.hostName}/${id}/?api-version=2021-04-12&DeviceClientType=test`,
    ...(key && { password: Buffer.from(createSas(resource, key, Date.now() / 1000 + 3600)) }),
    ...changes,
  }
}

/** Connected and accepted. */
export async function rawDevice(hub: BenchHub, id: string, changes: Partial<IConnectPacket> = {}): Promise<RawClient> {
  if (!hub.hasDevice(id)) hub.createDevice(id)
  const client = await RawClient.open(hub)
  client.send(connectPacket(hub, id, changes))
  const { returnCode } = await client.got('connack')
  if (returnCode !== 0) throw new Error(`CONNACK ${returnCode}`)
  return client
}
