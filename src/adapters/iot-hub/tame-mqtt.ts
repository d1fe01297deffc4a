import type { Duplex } from 'node:stream'
import mqttTransport from 'azure-iot-device-mqtt'
import mqttBase from 'azure-iot-mqtt-base'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { messageOf } from '../../domain/errors.ts'
import { isTwinTopic, type MethodCall, methodCallOf, safePayload } from './hub-message.ts'

/** Milliseconds for CONNACK; the SDK waits 60 s and has no setting. */
const CONNECT_TIMEOUT = 30_000

/** Calls that are kept until somebody serves them; further ones get no answer. */
const MAX_HELD = 16

/**
 * The SDK's MQTT transport, shielded from messages that would end the process: the SDK parses answers and patches unguarded in an
 * event handler (PROTOCOL.md, "Twin errors"). Direct methods bypass the SDK, because it does not answer a call without a handler
 * and throws on a malformed one (PROTOCOL.md, "Method calls").
 */
export class TameMqtt extends mqttTransport.Mqtt {
  readonly #authentication: object
  readonly #socket: Duplex
  readonly #broken: (why: string) => void
  #client: MqttClient | undefined
  #onCall: ((call: MethodCall) => void) | undefined
  #held: MethodCall[] = []

  /** Speaks MQTT over the open `socket` and ends with it. `broken` is called with what the hub did wrong. */
  constructor(
    authentication: ConstructorParameters<typeof mqttTransport.Mqtt>[0],
    socket: Duplex,
    broken: (why: string) => void,
  ) {
    const connect = (_uri: string, options: IClientOptions): MqttClient => {
      this.#client = withMessages(new mqtt.MqttClient(() => socket, { ...options, connectTimeout: CONNECT_TIMEOUT }))
      return this.#client
    }
    const base = new mqttBase.MqttBase({ connect })
    // All messages of the hub pass here on their way to the SDK's parsers.
    const emit = base.emit.bind(base) as Emit
    base.emit = (event: string, ...args: unknown[]): boolean =>
      event === 'message' ? this.#message(args as [string, Buffer], emit) : emit(event, ...args)
    super(authentication, base)
    this.#authentication = authentication
    this.#socket = socket
    this.#broken = broken
  }

  /** Passes every direct method call to `onCall`, including earlier ones. `failed` is called when the hub refuses. */
  serve(onCall: (call: MethodCall) => void, failed: (error: Error) => void): void {
    this.#onCall = onCall
    for (const call of this.#held.splice(0)) onCall(call)
    this.enableMethods(error => error && failed(error))
  }

  /** The answer to a call, unless the connection is gone. */
  answer({ rid }: MethodCall, status: number, payload: unknown): void {
    const topic = `$iothub/methods/res/${status}/?$rid=${rid}`
    this.#client?.publish(topic, JSON.stringify(payload ?? null), { qos: 0 }, () => {})
  }

  /** Ends the socket at once: what `close` of the SDK does not do on a dead link (PROTOCOL.md, "Closing"). */
  destroy(): void {
    this.#socket.destroy()
    // The SDK's `close` forgets this during a subscription, and its timer would keep the connection in memory for a day.
    // Missing from the SDK's types.
    const { stop } = this.#authentication as { stop?: () => void }
    stop?.call(this.#authentication)
  }

  #message([topic, payload]: [string, Buffer], emit: Emit): boolean {
    if (!isTwinTopic(topic)) {
      const call = methodCallOf(topic, payload)
      if (call && this.#onCall) this.#onCall(call)
      else if (call && this.#held.length < MAX_HELD) this.#held.push(call)
      return true
    }
    const safe = safePayload(topic, payload)
    const fail = (why: string): void => {
      this.#broken(why)
      this.#socket.destroy()
    }
    if (safe === undefined) fail('the hub sent something that is not JSON, or is nested too deep')
    else {
      try {
        emit('message', topic, safe)
      } catch (error) {
        // An answer that the SDK cannot handle ends the connection, never the process.
        fail(`the hub sent something that the SDK cannot read: ${messageOf(error)}`)
      }
    }
    return true
  }
}

type Emit = (event: string, ...args: unknown[]) => boolean

/** The SDK keeps only an error's message, and an AggregateError has none. */
function withMessages(client: MqttClient): MqttClient {
  const emit = client.emit.bind(client) as Emit
  client.on('error', () => {})
  client.emit = (event: string, ...args: unknown[]): boolean => {
    if (event === 'error' && args[0] instanceof AggregateError) args[0].message = messageOf(args[0])
    return emit(event, ...args)
  }
  return client
}

const ERROR_STATUS = /^\[(\d{3})\] /

/** The status that `tame` wrote into the text of an error answer. */
export const statusOf = (message: string): number | undefined => {
  const status = ERROR_STATUS.exec(message)?.[1]
  return status === undefined ? undefined : Number(status)
}
