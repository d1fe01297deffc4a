import type { Duplex } from 'node:stream'
import mqttTransport from 'azure-iot-device-mqtt'
import mqttBase from 'azure-iot-mqtt-base'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { messageOf } from '../domain/errors.ts'

/** Milliseconds for CONNACK; the SDK waits 60 s and has no setting. */
const CONNECT_TIMEOUT = 30_000

/**
 * The SDK's MQTT transport over a client that keeps what would end the process away from it: the SDK parses answers and
 * patches without a guard inside an event handler, and takes an error answer without a body for success
 * (iot-hub-wire, chapter 5, rule 7). The status of an error answer, which the SDK drops, goes into its text.
 */
export class TameMqtt extends mqttTransport.Mqtt {
  #client: MqttClient | undefined

  constructor(authentication: ConstructorParameters<typeof mqttTransport.Mqtt>[0]) {
    const connect = (uri: string, options: IClientOptions): MqttClient => {
      this.#client = tame(mqtt.connect(uri, { ...options, connectTimeout: CONNECT_TIMEOUT }))
      return this.#client
    }
    super(authentication, new mqttBase.MqttBase({ connect }))
  }

  /** Ends the socket at once: what `close` of the SDK does not do on a dead link (rule 12). */
  destroy(): void {
    streamOf(this.#client)?.destroy()
  }
}

const ERROR_STATUS = /^\[(\d{3})\] /

/** The status that `tame` wrote into the text of an error answer. */
export const statusOf = (message: string): number | undefined => {
  const status = ERROR_STATUS.exec(message)?.[1]
  return status === undefined ? undefined : Number(status)
}

/** Public in mqtt 4's documentation, missing from its types. */
const streamOf = (client: MqttClient | undefined): Duplex | undefined =>
  (client as unknown as { stream?: Duplex } | undefined)?.stream

function tame(client: MqttClient): MqttClient {
  const emit = client.emit.bind(client) as (event: string, ...args: unknown[]) => boolean
  client.emit = ((event: string, ...args: unknown[]): boolean => {
    // The SDK keeps an error's message only, and this kind has none.
    if (event === 'error' && args[0] instanceof AggregateError) args[0].message = messageOf(args[0])
    if (event !== 'message') return emit(event, ...args)
    const [topic, payload, ...rest] = args as [string, Buffer, ...unknown[]]
    const safe = safePayload(topic, payload)
    if (safe !== undefined) return emit(event, topic, safe, ...rest)
    streamOf(client)?.destroy(new Error('the hub sent something that is not JSON'))
    return true
  }) as typeof client.emit
  return client
}

/** What the SDK can be given; undefined when nothing can be made of it. Exported for its test. */
export function safePayload(topic: string, payload: Buffer): Buffer | undefined {
  const status = /^\$iothub\/twin\/res\/(\d{3})\//.exec(topic)?.[1]
  const text = payload.toString()
  const json = text.trim() === '' ? null : parse(text)
  if (status !== undefined && Number(status) >= 300) {
    const said = isObject(json) && typeof json.message === 'string' ? json.message : 'the hub gave no reason'
    return Buffer.from(JSON.stringify({ errorCode: Number(status) * 1000, message: `[${status}] ${said}` }))
  }
  if (!topic.startsWith('$iothub/')) return payload
  // Callers of methods are not all strict about JSON: what they wrote is handed on as a text.
  if (json === undefined && topic.startsWith('$iothub/methods/')) return Buffer.from(JSON.stringify(text))
  // A twin read and a patch without an object in them would throw too.
  const needsObject = status === '200' || topic.startsWith('$iothub/twin/PATCH/')
  if (json === undefined || (needsObject && !isObject(json))) return undefined
  return payload
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
