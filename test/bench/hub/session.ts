import type { IConnectPacket, IPublishPacket, ISubscribePacket, IUnsubscribePacket, Packet } from 'mqtt-packet'
import type { Accepted } from './connect.ts'
import type { DeviceLink, Devices } from './devices.ts'
import { asHubError, codedBody, HubError, invalidArgument } from './errors.ts'
import type { Faults } from './faults.ts'
import { type JsonObject, parseObject } from './json.ts'
import type { Methods } from './methods.ts'
import type { MqttLink } from './mqtt-link.ts'
import * as topics from './topics.ts'
import { deviceView } from './twin.ts'

/** What a session needs of the hub. */
export interface SessionHub {
  readonly devices: Devices
  readonly methods: Methods
  readonly faults: Faults
  readonly log: (line: string) => void
}

/** One accepted connection of one device or module. Whatever is published to the device goes to this connection and no other. */
export class Session implements DeviceLink {
  readonly deviceId: string
  readonly #hub: SessionHub
  readonly #link: MqttLink
  readonly #clean: boolean
  readonly #subscriptions: Set<string>
  readonly #delayed = new Set<NodeJS.Timeout>()

  /** Answers the CONNECT and takes the device's place in the hub. */
  constructor(hub: SessionHub, link: MqttLink, connect: IConnectPacket, { device, modelId, expires }: Accepted) {
    this.deviceId = device.id
    this.#hub = hub
    this.#link = link
    this.#clean = connect.clean ?? true
    const remembered = this.#clean ? null : device.session
    this.#subscriptions = new Set(remembered ?? [])
    link.limitSilence((connect.keepalive ?? 0) * 1500)
    link.limitLife(expires, 'token has expired')
    // Answer first: a listener may have something to send as soon as it hears of the connection.
    link.send({ cmd: 'connack', returnCode: 0, sessionPresent: remembered !== null })
    hub.devices.rememberSession(device.id, this.#clean ? null : [...this.#subscriptions])
    hub.devices.connected(device.id, this, modelId)
  }

  handle(packet: Packet): void {
    switch (packet.cmd) {
      case 'publish':
        this.#published(packet)
        break
      case 'subscribe':
        this.#subscribe(packet)
        break
      case 'unsubscribe':
        this.#unsubscribe(packet)
        break
      case 'pingreq':
        this.#link.send({ cmd: 'pingresp' })
        break
      case 'puback':
        break
      case 'disconnect':
        this.close('the device has disconnected')
        break
      default:
        this.close(`unexpected ${packet.cmd}`)
    }
  }

  /** The socket has closed, for whatever reason. */
  ended(): void {
    for (const timer of this.#delayed) clearTimeout(timer)
    this.#hub.devices.disconnected(this.deviceId, this)
  }

  isSubscribed(filter: string): boolean {
    return this.#subscriptions.has(filter)
  }

  sendDesired(patch: JsonObject): void {
    if (!this.isSubscribed(topics.DESIRED_PATCHES)) return
    if (this.#hub.faults.take('loseDesired', this.deviceId)) return
    this.#publish(topics.desiredTopic(Number(patch.$version)), JSON.stringify(patch))
  }

  sendMethod(name: string, rid: string, payload: string): void {
    const fault = this.#hub.faults.take('closeOnMethod', this.deviceId)
    if (fault?.when === 'beforeDelivery') {
      this.close('fault: closed before a method call')
      return
    }
    this.#publish(topics.methodTopic(name, rid), payload)
    if (fault) this.#link.end()
  }

  sendRaw(topic: string, payload: Buffer): void {
    this.#link.send({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false })
  }

  close(reason: string): void {
    this.#link.close(`${this.deviceId}: ${reason}`)
    this.ended() // now, not when the socket gets round to it: the next connection may already be here
  }

  blackHole(): void {
    this.#link.blackHole()
  }

  expireToken(afterMs: number): void {
    this.#link.limitLife(Date.now() + afterMs, `${this.deviceId}: token has expired (fault)`)
  }

  #published(packet: IPublishPacket): void {
    this.#hub.devices.counters(this.deviceId).messagesIn += 1
    const publish = packet.qos === 2 ? undefined : topics.parseTopic(packet.topic, this.deviceId)
    if (!publish) {
      this.close(`may not publish to ${packet.topic.slice(0, 200)} with QoS ${packet.qos}`)
      return
    }
    const body = Buffer.from(packet.payload)
    if (publish.kind !== 'telemetry') {
      this.#hub.devices.events.emit({ type: 'request', deviceId: this.deviceId, kind: publish.kind, rid: publish.rid })
    }
    switch (publish.kind) {
      case 'twinGet':
        this.#answerTwin('get', publish.rid, () => {
          const { twin } = this.#hub.devices.get(this.deviceId)
          return { status: 200, body: JSON.stringify(deviceView(twin)) }
        })
        this.#hub.devices.events.emit({ type: 'twinRead', deviceId: this.deviceId })
        break
      case 'twinPatch':
        this.#answerTwin('patch', publish.rid, () => {
          const patch = parseObject(body.toString())
          if (!patch) throw invalidArgument('the patch is not a JSON object')
          const { version } = this.#hub.devices.report(this.deviceId, patch).reported
          return { status: 204, body: '', version }
        })
        break
      case 'methodAnswer':
        this.#hub.methods.answered(this.deviceId, publish.rid, publish.status, body)
        break
      case 'telemetry': {
        const { properties } = publish
        this.#hub.devices.events.emit({ type: 'telemetry', deviceId: this.deviceId, properties, body })
      }
    }
    if (packet.qos === 1) this.#link.send({ cmd: 'puback', messageId: packet.messageId! })
  }

  /** Sends the outcome of `work`, unless a fault has other plans. */
  #answerTwin(to: 'get' | 'patch', rid: string, work: () => TwinAnswer): void {
    const plan = this.#hub.faults.take('twinAnswer', this.deviceId, fault => (fault.to ?? to) === to)?.do
    // A lost or late answer is to work that was done; a failure is to work that was not.
    const answer = plan?.do === 'fail' ? failedTwinAnswer(plan.status, plan.body) : attempt(work, this.#hub.log)
    const send = () => {
      if (!this.isSubscribed(topics.TWIN_ANSWERS)) return
      this.#publish(topics.twinAnswerTopic(answer.status, rid, answer.version), answer.body)
    }
    if (plan?.do === 'delay') this.#later(plan.ms, send)
    else if (plan?.do !== 'lose') send()
  }

  #later(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#delayed.delete(timer)
      work()
    }, ms)
    this.#delayed.add(timer)
  }

  #publish(topic: string, payload: string): void {
    const copies = this.#hub.faults.take('duplicatePublish', this.deviceId) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      this.#link.send({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false })
      this.#hub.devices.counters(this.deviceId).messagesOut += 1
    }
  }

  #subscribe({ messageId, subscriptions }: ISubscribePacket): void {
    const granted = subscriptions.map(({ topic, qos }) => {
      if (!topics.isSubscribable(topic, this.deviceId)) return 0x80
      this.#subscriptions.add(topic)
      return Math.min(qos, 1)
    })
    this.#remember()
    this.#link.send({ cmd: 'suback', messageId: messageId!, granted })
    this.#hub.devices.events.emit({ type: 'subscribed', deviceId: this.deviceId })
  }

  #unsubscribe({ messageId, unsubscriptions }: IUnsubscribePacket): void {
    for (const topic of unsubscriptions) this.#subscriptions.delete(topic)
    this.#remember()
    this.#link.send({ cmd: 'unsuback', messageId: messageId! })
  }

  #remember(): void {
    if (!this.#clean) this.#hub.devices.rememberSession(this.deviceId, [...this.#subscriptions])
  }
}

interface TwinAnswer {
  readonly status: number
  readonly body: string
  /** The new version of reported, with a 204. */
  readonly version?: number
}

function attempt(work: () => TwinAnswer, log: (line: string) => void): TwinAnswer {
  try {
    return work()
  } catch (error) {
    const refusal = asHubError(error, log)
    return { status: refusal.status, body: codedBody(refusal) }
  }
}

function failedTwinAnswer(status: number, body: 'json' | 'empty' | 'malformed' = 'json'): TwinAnswer {
  const failure = new HubError(status, status * 1000 + 1, 'Fault', 'an injected fault')
  return { status, body: { json: codedBody(failure), empty: '', malformed: '{"errorCode":' }[body] }
}
