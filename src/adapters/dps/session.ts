import type { Duplex } from 'node:stream'
import mqtt, { type MqttClient } from 'mqtt'
import { HubError } from '../../domain/errors.ts'
import { limited } from '../iot-hub/limited.ts'
import type { Answer } from './answer.ts'

export interface SessionOptions {
  readonly clientId: string
  readonly username: string
  /** A SAS token; undefined if the TLS client certificate authenticates the device. */
  readonly password: string | undefined
  /** Milliseconds for CONNACK, SUBACK and each answer. */
  readonly patience: number
}

/** The service has refused the credential (CONNACK 4 or 5). */
export class CredentialRefused extends HubError {}

const ANSWERS = '$dps/registrations/res/#'
/** Bytes in all answers of one registration; the real service sends far less. */
const MAX_RECEIVED = 1 << 18

/**
 * One MQTT connection to the provisioning service (PROTOCOL.md, "Provisioning over MQTT"). Every wait ends: with its answer,
 * with the loss of the connection, or after `patience`. Errors: HubError, or the signal's reason.
 */
export class DpsSession {
  readonly #client: MqttClient
  readonly #stream: Duplex
  readonly #patience: number
  readonly #signal: AbortSignal
  readonly #lost: Promise<never>
  readonly #waiting = new Map<string, (answer: Answer) => void>()
  #count = 0

  constructor(stream: Duplex, { patience, ...options }: SessionOptions, signal: AbortSignal) {
    this.#stream = stream
    this.#patience = patience
    this.#signal = signal
    const { password, ...names } = options
    this.#client = new mqtt.MqttClient(() => stream, {
      ...names,
      ...(password === undefined ? {} : { password }),
      ...{ protocolId: 'MQTT', protocolVersion: 4, clean: true },
      ...{ keepalive: 60, reconnectPeriod: 0, connectTimeout: patience },
    })
    this.#lost = new Promise((_, reject) => {
      this.#client.on('error', error => reject(refusalIn(error)))
      this.#client.on('close', () => reject(new HubError('the connection was closed')))
    })
    // A pending wait rejects with this; between two waits nobody handles it.
    this.#lost.catch(() => {})
    this.#client.on('message', (topic, payload) => this.#message(topic, payload))
    let received = 0
    stream.on('data', (bytes: Buffer) => {
      received += bytes.length
      if (received > MAX_RECEIVED) stream.destroy(new Error('too much was received'))
    })
  }

  /** Connects and subscribes to the answers. */
  async open(): Promise<void> {
    const connected = new Promise<void>(resolve => this.#client.once('connect', () => resolve()))
    await this.#within(connected, 'no answer to CONNECT')
    const subscribed = new Promise<void>((resolve, reject) => {
      this.#client.subscribe(ANSWERS, { qos: 1 }, (error, granted) => {
        if (error) reject(new HubError(error.message))
        // 128: refused (MQTT 3.1.1, section 3.9.3).
        else if (granted.some(({ qos }) => qos > 1)) reject(new HubError('the subscription was refused'))
        else resolve()
      })
    })
    await this.#within(subscribed, 'no answer to SUBSCRIBE')
  }

  register(body: object): Promise<Answer> {
    return this.#ask(rid => `$dps/registrations/PUT/iotdps-register/?$rid=${rid}`, JSON.stringify(body))
  }

  poll(operationId: string): Promise<Answer> {
    const operation = encodeURIComponent(operationId)
    return this.#ask(
      rid => `$dps/registrations/GET/iotdps-get-operationstatus/?$rid=${rid}&operationId=${operation}`,
      ' ',
    )
  }

  /** Waits; rejects if the connection is lost meanwhile. */
  async pause(milliseconds: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const over = new Promise<void>(resolve => {
      timer = setTimeout(resolve, milliseconds)
    })
    try {
      await limited(Promise.race([over, this.#lost]), milliseconds + this.#patience, 'a pause', this.#signal)
    } finally {
      clearTimeout(timer)
    }
  }

  end(): void {
    this.#client.end(true)
    this.#stream.on('error', () => {})
    this.#stream.destroy()
  }

  async #ask(topicOf: (rid: string) => string, payload: string): Promise<Answer> {
    this.#count += 1
    const rid = String(this.#count)
    const answer = new Promise<Answer>(resolve => this.#waiting.set(rid, resolve))
    try {
      this.#client.publish(topicOf(rid), payload, { qos: 1 }, () => {})
      return await this.#within(answer, 'no answer to the registration')
    } finally {
      this.#waiting.delete(rid)
    }
  }

  #within<T>(work: Promise<T>, complaint: string): Promise<T> {
    return limited(Promise.race([work, this.#lost]), this.#patience, complaint, this.#signal)
  }

  /** Nothing may throw here: it would end the process. */
  #message(topic: string, payload: Buffer): void {
    const [, status, query = ''] = /^\$dps\/registrations\/res\/(\d{3})\/\?(.*)$/s.exec(topic) ?? []
    const values = new Map(query.split('&').map(pair => [pair.split('=', 1)[0], pair.slice(pair.indexOf('=') + 1)]))
    const waiting = this.#waiting.get(values.get('$rid') ?? '')
    waiting?.({ status: Number(status), retryAfter: values.get('retry-after'), payload })
  }
}

/** The library gives the return code of CONNACK as the error's code. */
function refusalIn(error: Error & { code?: unknown }): HubError {
  const refused = error.code === 4 || error.code === 5
  return refused ? new CredentialRefused('not authorized') : new HubError(error.message, { cause: error })
}
