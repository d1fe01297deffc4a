import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import mqtt, { type Packet } from 'mqtt-packet'

// Otherwise the codec keeps 65,536 small buffers ready.
mqtt.writeToStream.cacheNumbers = false

/** Azure's 256 KiB of payload, and room for topic and headers. Also all that may wait to be sent times four. */
const MAX_PACKET_BYTES = 260 * 1024
const MAX_UNSENT_BYTES = 4 * MAX_PACKET_BYTES
const MAX_TIMER_MS = 2 ** 31 - 1

/** MQTT packets over one socket. Bad bytes, silence, or a peer that does not read end this connection and nothing else. */
export class MqttLink {
  readonly socket: Duplex
  #muted = false
  #silence: NodeJS.Timeout | undefined
  #deadline: NodeJS.Timeout | undefined
  #log: (line: string) => void

  constructor(socket: Duplex, onPacket: (packet: Packet) => void, onClose: () => void, log: (line: string) => void) {
    this.socket = socket
    this.#log = log
    const parser = mqtt.parser({ protocolVersion: 4 })
    parser.on('error', error => this.close(`malformed packet: ${error.message}`))
    parser.on('packet', packet => {
      if (!socket.destroyed && !this.#muted) onPacket(packet)
    })
    socket.on('data', chunk => {
      if (this.#muted || socket.destroyed) return
      this.#silence?.refresh()
      try {
        if (parser.parse(chunk) > MAX_PACKET_BYTES) this.close('packet too large')
      } catch (error) {
        this.close(`cannot handle packet: ${error instanceof Error ? error.stack : error}`)
      }
    })
    socket.on('error', () => {}) // a reset is an end like any other
    socket.on('close', () => {
      clearTimeout(this.#silence)
      clearTimeout(this.#deadline)
      onClose()
    })
    if (socket instanceof Socket) socket.setNoDelay(true)
  }

  send(packet: Packet): void {
    if (this.#muted || this.socket.destroyed) return
    this.socket.write(mqtt.generate(packet))
    if (this.socket.writableLength > MAX_UNSENT_BYTES) this.close('the peer does not read')
  }

  /** Closes after this long without a byte; 0 for never. */
  limitSilence(ms: number): void {
    clearTimeout(this.#silence)
    this.#silence = ms > 0 ? setTimeout(() => this.close('keepalive ran out'), ms) : undefined
  }

  /** Closes at this time, in milliseconds since the epoch. The last call counts. */
  limitLife(until: number, reason: string): void {
    clearTimeout(this.#deadline)
    if (until === Number.POSITIVE_INFINITY) return
    const left = until - Date.now()
    const end = () => (left > MAX_TIMER_MS ? this.limitLife(until, reason) : this.close(reason))
    this.#deadline = setTimeout(end, Math.min(Math.max(left, 0), MAX_TIMER_MS))
  }

  /** The connection stays open and dead: what comes is thrown away, nothing is sent, no limit ends it. */
  blackHole(): void {
    this.#muted = true
    this.limitSilence(0)
    clearTimeout(this.#deadline)
  }

  /** At once and without a word. */
  close(reason: string): void {
    if (this.socket.destroyed) return
    this.#log(`closed: ${reason}`)
    this.socket.destroy()
  }

  /** Closes when what has been sent, and `last`, is out. What still comes in is thrown away. */
  end(last?: Packet): void {
    if (last) this.send(last)
    this.#muted = true
    this.socket.end()
    this.limitLife(Date.now() + 5_000, 'the peer does not close')
  }
}
