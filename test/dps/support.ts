import type { TestContext } from 'node:test'
import { MqttBase } from 'azure-iot-mqtt-base'
import device from 'azure-iot-provisioning-device'
import deviceMqtt from 'azure-iot-provisioning-device-mqtt'
import symmetric from 'azure-iot-security-symmetric-key'
import x509Security from 'azure-iot-security-x509'
import mqtt, { type IPublishPacket } from 'mqtt-packet'
import type { Credential } from '../bench/dps/authority.ts'
import type { BenchHub } from '../bench/hub/hub.ts'
import { createSas } from '../bench/hub/sas.ts'
import { RawClient } from '../hub/raw-mqtt.ts'
import { within } from '../hub/support.ts'

/** What Microsoft's client resolves to. */
export interface Assigned {
  readonly assignedHub: string
  readonly deviceId: string
  readonly status: string
  readonly substatus: string
  readonly payload?: unknown
}

/** The unmodified client over MQTT, with a key (base64) or a certificate. */
export async function registerBySdk(
  hub: BenchHub,
  registrationId: string,
  credential: string | Credential,
  { payload, idScope = hub.provisioning.idScope }: { payload?: object; idScope?: string } = {},
): Promise<Assigned> {
  const base = new MqttBase()
  base.setOptions({ ca: hub.ca })
  const security =
    typeof credential === 'string'
      ? new symmetric.SymmetricKeySecurityClient(registrationId, credential)
      : new x509Security.X509Security(registrationId, credential)
  // The packages' types name the copies of the library that each brings along.
  const transport = new deviceMqtt.Mqtt(base as never)
  const host = `localhost:${hub.mqttPort}`
  const client = device.ProvisioningDeviceClient.create(host, idScope, transport, security as never)
  if (payload) client.setProvisioningPayload(payload)
  return (await within(30_000, client.register() as Promise<unknown>)) as Assigned
}

export interface Reply {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly rid: string
  readonly text: string
  /** Undefined when it is not JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: the tests look into whatever came
  readonly body: any
}

/** A client without manners: any username, any version, one packet at a time. */
export class RawProvisioning {
  readonly raw: RawClient
  readonly #id: string
  #rid = 0

  private constructor(raw: RawClient, id: string) {
    this.raw = raw
    this.#id = id
  }

  static token = (hub: BenchHub, id: string, key: string, sr?: string, expires = Date.now() / 1000 + 60) =>
    createSas(sr ?? encodeURIComponent(`${hub.provisioning.idScope}/registrations/${id}`), key, expires, 'registration')

  /** Sends CONNECT and gives the return code. */
  static async connect(
    hub: BenchHub,
    id: string,
    credential: { key?: string; token?: string; tls?: Credential },
    { scope = hub.provisioning.idScope, version = '2019-03-31', clientId = id } = {},
  ) {
    const raw = await RawClient.open(hub, credential.tls)
    const token = credential.token ?? (credential.key && RawProvisioning.token(hub, id, credential.key))
    raw.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      keepalive: 60,
      clientId,
      username: `${scope}/registrations/${id}/api-version=${version}&ClientVersion=test`,
      ...(token && { password: Buffer.from(token) }),
    })
    const { returnCode } = await raw.got('connack')
    return { returnCode, client: new RawProvisioning(raw, id) }
  }

  /** Connected and subscribed. */
  static async open(
    t: TestContext,
    hub: BenchHub,
    id: string,
    key: string,
    version?: string,
  ): Promise<RawProvisioning> {
    const { returnCode, client } = await RawProvisioning.connect(hub, id, { key }, version ? { version } : {})
    if (returnCode !== 0) throw new Error(`CONNACK ${returnCode}`)
    t.after(() => client.raw.socket.destroy())
    await client.subscribe()
    return client
  }

  async subscribe(topic = '$dps/registrations/res/#', qos: 0 | 1 | 2 = 1) {
    this.raw.packets.length = 0
    this.raw.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos }] })
    return (await this.raw.got('suback')).granted
  }

  register(body: unknown = { registrationId: this.#id }): Promise<Reply> {
    const rid = `r${++this.#rid}`
    return this.#ask(`$dps/registrations/PUT/iotdps-register/?$rid=${rid}`, JSON.stringify(body))
  }

  poll(operationId: string): Promise<Reply> {
    const query = `$rid=p${++this.#rid}&operationId=${encodeURIComponent(operationId)}`
    return this.#ask(`$dps/registrations/GET/iotdps-get-operationstatus/?${query}`, ' ')
  }

  /** Registers and polls to the end, without the pauses that the service asks for. */
  async assign(body?: unknown): Promise<Reply> {
    let reply = await this.register(body)
    for (let poll = 0; reply.status === 202 && poll < 200; poll++) {
      await new Promise(resolve => setTimeout(resolve, 20))
      reply = await this.poll(reply.body.operationId)
    }
    return reply
  }

  async #ask(topic: string, payload: string): Promise<Reply> {
    this.raw.packets.length = 0
    this.raw.send(mqtt.generate({ cmd: 'publish', topic, payload, qos: 1, messageId: 2, dup: false, retain: false }))
    return replyOf(await this.raw.got('publish'))
  }
}

function replyOf({ topic, payload }: IPublishPacket): Reply {
  const [, status, query = ''] = /^\$dps\/registrations\/res\/(\d+)\/\?(.*)$/.exec(topic) ?? []
  const values = new Map(query.split('&').map(part => part.split('=') as [string, string]))
  const text = payload.toString()
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {}
  return { status: Number(status), retryAfter: values.get('retry-after'), rid: values.get('$rid') ?? '', text, body }
}
