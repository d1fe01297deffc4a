import type { IConnectPacket, IPublishPacket, ISubscribePacket, Packet } from 'mqtt-packet'
import type { CertificateChain } from '../hub/client-certificate.ts'
import { asHubError, codedBody } from '../hub/errors.ts'
import type { Faults } from '../hub/faults.ts'
import type { MqttLink } from '../hub/mqtt-link.ts'
import { decoded } from '../hub/sas.ts'
import { type Directory, type Recognised, recognise } from './attestation.ts'
import { type Plan, planFor, planned, type Sent, sent, spoiled, type WrongCertificates } from './faults.ts'
import { type Answer, API_VERSIONS, type Registrations } from './registrations.ts'

/** What the doors of the provisioning service share. */
export interface Doors {
  readonly idScope: string
  readonly directory: Directory
  readonly registrations: Registrations
  readonly faults: Faults
  readonly wrongCertificates: WrongCertificates
  readonly log: (line: string) => void
}

const ANSWERS = '$dps/registrations/res/#'
const USERNAME = /^([^/]+)\/registrations\/([^/]+)\/api-version=([^&]+)(?:&|$)/

/** Is this CONNECT for the provisioning service? Its username has no question mark, unlike those of the hub. */
export const isForProvisioning = (packet: IConnectPacket) => /^[^/]+\/registrations\/[^?]*$/.test(packet.username ?? '')

/** Answers the CONNECT. Undefined: refused, or a fault has taken the connection. */
export function connectProvisioning(
  packet: IConnectPacket,
  link: MqttLink,
  chain: CertificateChain,
  doors: Doors,
): ProvisioningSession | undefined {
  const refuse = (returnCode: number, reason: string) => {
    doors.log(`provisioning refused ${JSON.stringify(packet.clientId)}: ${reason}`)
    link.end({ cmd: 'connack', returnCode, sessionPresent: false })
    return undefined
  }
  const plan = planFor(doors.faults, 'connect', packet.clientId.toLowerCase())
  if (plan?.do === 'cut') return void link.close('fault: cut')
  if (plan?.do === 'lose') return void link.blackHole()
  if (plan?.do === 'refuse') return refuse(plan.code ?? 5, 'fault')

  const [, idScope = '', registrationId = '', apiVersion = ''] = USERNAME.exec(packet.username ?? '') ?? []
  if (idScope !== doors.idScope) return refuse(5, 'unknown id scope')
  if (registrationId.toLowerCase() !== packet.clientId.toLowerCase()) return refuse(5, 'client id and username differ')
  if (!API_VERSIONS.includes(apiVersion)) return refuse(5, `api-version ${apiVersion}`)
  const token = packet.password?.toString()
  const who = recognise({ idScope, registrationId, token, chain, now: Date.now() }, doors.directory)
  if (typeof who === 'string') return refuse(5, who)
  return new ProvisioningSession(packet, link, who, apiVersion, doors)
}

/** One connection of one device to the provisioning service. */
export class ProvisioningSession {
  readonly #link: MqttLink
  readonly #who: Recognised
  readonly #apiVersion: string
  readonly #doors: Doors
  #subscribed = false

  constructor(connect: IConnectPacket, link: MqttLink, who: Recognised, apiVersion: string, doors: Doors) {
    this.#link = link
    this.#who = who
    this.#apiVersion = apiVersion
    this.#doors = doors
    link.limitSilence((connect.keepalive ?? 0) * 1500)
    link.limitLife(Number.POSITIVE_INFINITY, '')
    link.send({ cmd: 'connack', returnCode: 0, sessionPresent: false })
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
        this.#subscribed = false
        this.#link.send({ cmd: 'unsuback', messageId: packet.messageId! })
        break
      case 'pingreq':
        this.#link.send({ cmd: 'pingresp' })
        break
      case 'puback':
        break
      default:
        this.#link.close(packet.cmd === 'disconnect' ? 'the device has disconnected' : `unexpected ${packet.cmd}`)
    }
  }

  ended(): void {}

  #plan(step: 'subscribe' | 'register' | 'poll' | 'assigned'): Plan | undefined {
    return planFor(this.#doors.faults, step, this.#who.registrationId)
  }

  #subscribe({ messageId, subscriptions }: ISubscribePacket): void {
    const plan = this.#plan('subscribe')
    if (plan?.do === 'cut') this.#link.close('fault: cut')
    if (plan?.do === 'cut' || plan?.do === 'lose') return
    const granted = subscriptions.map(({ topic, qos }) => {
      if (topic !== ANSWERS || plan?.do === 'refuse') return 0x80
      this.#subscribed = true
      return Math.min(qos, 1)
    })
    this.#link.send({ cmd: 'suback', messageId: messageId!, granted })
  }

  #published(packet: IPublishPacket): void {
    const request = packet.qos === 2 ? undefined : requestOf(packet.topic)
    if (!request) {
      this.#link.close(`may not publish to ${packet.topic.slice(0, 200)} with QoS ${packet.qos}`)
      return
    }
    if (packet.qos === 1) this.#link.send({ cmd: 'puback', messageId: packet.messageId! })
    void this.#answer(request, Buffer.from(packet.payload))
  }

  async #answer({ kind, rid, operationId }: Request, payload: Buffer): Promise<void> {
    const { registrations, wrongCertificates, log } = this.#doors
    const plan = this.#plan(kind)
    if (plan?.do === 'cut') return this.#link.close('fault: cut')
    if (plan?.do === 'lose') return
    let answer: Sent
    try {
      if (plan?.do === 'fail') answer = failure(plan)
      else {
        const right =
          kind === 'register'
            ? await registrations.register(this.#who, parsed(payload), this.#apiVersion)
            : registrations.poll(this.#who, operationId)
        answer = sent(isAssigned(right) ? await spoiled(this.#plan('assigned'), right, wrongCertificates) : right)
      }
    } catch (error) {
      const refusal = asHubError(error, log)
      answer = { status: refusal.status, text: codedBody(refusal) }
    }
    const { status, text, retryAfter } = planned(plan, answer)
    const id = plan?.do === 'otherRid' ? `${rid}0` : rid
    const after = retryAfter === undefined ? '' : `&retry-after=${retryAfter}`
    const send = () => {
      if (!this.#subscribed) return
      const topic = `$dps/registrations/res/${status}/?$rid=${id}${after}`
      this.#link.send({ cmd: 'publish', topic, payload: text, qos: 0, dup: false, retain: false })
      if (plan?.do === 'cutAfter') this.#link.end()
    }
    if (plan?.do === 'delay') setTimeout(send, plan.ms).unref()
    else send()
  }
}

export const isAssigned = ({ body }: Answer) => body.status === 'assigned'

export function failure({ status, errorCode, retryAfter }: Extract<Plan, { do: 'fail' }>): Sent {
  const body = {
    errorCode: errorCode ?? status * 1000 + 1,
    trackingId: '00000000-0000-0000-0000-00000000fa17',
    message: 'an injected fault',
    timestampUtc: new Date().toISOString(),
  }
  return { status, text: JSON.stringify(body), ...(retryAfter !== undefined && { retryAfter }) }
}

interface Request {
  readonly kind: 'register' | 'poll'
  /** As written: it is opaque. */
  readonly rid: string
  readonly operationId: string
}

function requestOf(topic: string): Request | undefined {
  const [path, query = ''] = topic.split('/?')
  const value = (name: string) =>
    query
      .split('&')
      .find(part => part.startsWith(`${name}=`))
      ?.slice(name.length + 1)
  const rid = value('$rid')
  if (!rid) return undefined
  if (path === '$dps/registrations/PUT/iotdps-register') return { kind: 'register', rid, operationId: '' }
  const operationId = decoded(value('operationId'))
  if (path !== '$dps/registrations/GET/iotdps-get-operationstatus' || !operationId) return undefined
  return { kind: 'poll', rid, operationId }
}

function parsed(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString())
  } catch {
    return undefined
  }
}
