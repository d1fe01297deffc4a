import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import mqttPacket, { type Packet } from 'mqtt-packet'
import { DpsSession } from '../../src/adapters/dps/session.ts'

const TOPIC = Buffer.from('$dps/registrations/res/200/?$rid=1')
const PIECE = 65_536

/** The remaining length of an MQTT packet (MQTT 3.1.1, section 2.2.3). */
function lengthOf(bytes: number): Buffer {
  const digits: number[] = []
  for (let left = bytes; left > 0; left = Math.floor(left / 128)) digits.push((left % 128) | (left >= 128 ? 128 : 0))
  return Buffer.from(digits)
}

/** A service that answers the registration with JSON of so many bytes, as fast as they are taken. */
class Verbose extends Duplex {
  given = 0
  #left: number | undefined

  readonly #json: number
  readonly #parser = mqttPacket.parser()

  constructor(json: number) {
    super()
    this.#json = json
    this.#parser.on('packet', packet => this.#answer(packet))
  }

  override _write(bytes: Buffer, _: string, done: () => void): void {
    this.#parser.parse(bytes)
    done()
  }

  #answer(packet: Packet): void {
    if (packet.cmd === 'connect') {
      this.push(mqttPacket.generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }))
    } else if (packet.cmd === 'subscribe') {
      this.push(mqttPacket.generate({ cmd: 'suback', messageId: packet.messageId ?? 0, granted: [1] }))
    } else if (packet.cmd === 'publish') this.push(this.#head())
  }

  #head(): Buffer {
    this.#left = this.#json
    setImmediate(() => this._read())
    const length = lengthOf(2 + TOPIC.length + this.#json)
    return Buffer.concat([Buffer.from([0x30]), length, Buffer.from([0, TOPIC.length]), TOPIC])
  }

  override _read(): void {
    if (!this.#left) return
    const piece = Buffer.alloc(Math.min(PIECE, this.#left), ' ')
    this.#left -= piece.length
    this.given += piece.length
    this.push(piece)
  }
}

test('JSON of 10 MB is one line, and not taken into memory', async () => {
  const service = new Verbose(10_000_000)
  const session = new DpsSession(
    service,
    { clientId: 'pi-1', username: 'u', password: 'p', patience: 10_000 },
    new AbortController().signal,
  )
  try {
    await session.open()
    await assert.rejects(session.register({ registrationId: 'pi-1' }), {
      name: 'HubError',
      message: /^(too much was received|the connection was closed)$/,
    })
    // It ends at 256 KiB; some pieces are on their way.
    assert.ok(service.given > 0 && service.given < 1 << 20, `${service.given} bytes`)
  } finally {
    session.end()
  }
})
