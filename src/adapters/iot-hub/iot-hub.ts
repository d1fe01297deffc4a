import common from 'azure-iot-common'
import device, { type Client, type Twin as SdkTwin } from 'azure-iot-device'
import { HubError, HubRejection } from '../../domain/errors.ts'
import type { Hub, HubConnection, MethodListener, Reported, Twin } from '../../ports/hub.ts'
import type { HubIdentity, Identity } from '../../ports/identity.ts'
import { type NetworkOptions, type Proxies, proxiesOf } from '../http/route.ts'
import type { TimeFloor } from '../system/time-floor.ts'
import { explainTls, isCertificateRefused } from '../tls/words.ts'
import { certificateIn, isRefusal, nameOf, providerOf, withDoubt } from './authentication.ts'
import { copy } from './copy.ts'
import { type HubProtocol, type HubSocket, openHubSocket } from './hub-socket.ts'
import { limited } from './limited.ts'
import { reprovisionOrder, unlessAborted } from './reprovision-order.ts'
import { explain, explainEnd, isRejection } from './sdk-errors.ts'
import { TameMqtt } from './tame-mqtt.ts'

export interface IotHubOptions {
  /** Asked for each connection. */
  readonly identity: Identity
  readonly modelId: string
  /** In the agent text of CONNECT. */
  readonly productInfo: string
  /** PEM text of the certificate authority of the hub or gateway; the system's when undefined. */
  readonly ca: string | undefined
  readonly protocol: HubProtocol
  readonly proxies: Omit<NetworkOptions, 'ca'>
  readonly keepAliveSeconds: number
  /** Lifetime of the SAS token in seconds: longer than any connection, so that the SDK never renews it silently. */
  readonly tokenSeconds: number
  /** Reports nothing of its own, such as the end of the device's certificate. */
  readonly quiet?: boolean
  /** Milliseconds for the answer to a twin call; the SDK itself has no timeout. */
  readonly answerTimeout: number
  readonly time: Pick<TimeFloor, 'behind' | 'seen' | 'explain'>
}

/** Milliseconds. The SDK's own limit for CONNACK is 60 s, and its `close` may hang on a dead link. */
const LIMIT = { open: 75_000, close: 5_000 } as const

/**
 * Hub over the device SDK, one Client for each connection. The SDK loses patches in reconnects, forgets subscriptions and
 * never settles twin calls that were in flight (PROTOCOL.md, "Device SDK"). Discarding the Client at the first doubt avoids
 * all of this. No SDK type leaves this file.
 */
export class IotHub implements Hub {
  readonly #options: IotHubOptions
  readonly #proxies: Proxies

  /** Errors: ConfigError for a proxy that is not a URL. */
  constructor(options: IotHubOptions) {
    this.#options = options
    this.#proxies = proxiesOf(options.proxies)
  }

  async connect(signal: AbortSignal): Promise<HubConnection> {
    signal.throwIfAborted()
    const { identity: source, protocol, ca, time } = this.#options
    let identity: HubIdentity | undefined
    try {
      identity = await source.get(signal)
      const { hub, gateway: hostName = hub, auth } = identity
      const certificate = auth.kind === 'x509' ? auth : undefined
      // Not by the SDK, which calls every failure "Not authorized" (PROTOCOL.md, "First connection errors").
      const route = { server: 'hub', hostName, protocol, ca, certificate, proxies: this.#proxies } as const
      const socket = await openHubSocket(route, signal)
      const connection = await this.#speak(socket, identity, signal)
      await source.tried('connected')
      await time.seen()
      return connection
    } catch (error) {
      signal.throwIfAborted()
      const why = error instanceof HubError ? error.message : explain(error)
      if (identity) await source.tried(isRefusal(why) ? 'refused' : 'unreachable')
      throw new HubError(time.explain(identity?.auth.kind === 'x509' ? withDoubt(why) : why), { cause: error })
    }
  }

  /** MQTT over an open socket. */
  async #speak({ stream, secure }: HubSocket, identity: HubIdentity, signal: AbortSignal): Promise<Connection> {
    const { modelId, productInfo, keepAliveSeconds, tokenSeconds, time } = this.#options
    let connection: Connection | undefined
    try {
      let transport: TameMqtt | undefined
      class Transport extends TameMqtt {
        constructor(authentication: ConstructorParameters<typeof TameMqtt>[0]) {
          super(authentication, stream, why => connection?.lose(why))
          transport = this
        }
      }
      const provider = providerOf(identity, tokenSeconds, Math.ceil(time.behind() / 1000), why => connection?.lose(why))
      const client = device.Client.fromAuthenticationProvider(provider, Transport)
      if (!transport) throw new Error('the SDK created no transport')
      const { identity: source, quiet, answerTimeout } = this.#options
      const ordered = quiet ? async () => undefined : (order: string) => source.ordered(order)
      connection = new Connection(client, transport, { name: nameOf(identity), answerTimeout, ordered })
      client.setRetryPolicy(new common.NoRetry())
      // One call: a second one would replace the options of the first (PROTOCOL.md, "Options").
      const options = { modelId, productInfo, keepalive: keepAliveSeconds }
      await limited(client.setOptions(options), LIMIT.open, 'the SDK did not take its options', signal)
      await limited(client.open(), LIMIT.open, 'no answer to CONNECT', signal)
      await connection.subscribe(signal)
      if (!quiet) await connection.show(certificateIn(identity), signal)
      return connection
    } catch (error) {
      // With TLS 1.3 a refused certificate is known only now, and not always to the SDK.
      const heard = secure.errored ?? error
      await connection?.close()
      stream.destroy()
      throw isCertificateRefused(heard) ? new HubError(explainTls(heard), { cause: error }) : error
    }
  }
}

type Settings = Pick<HubConnection, 'name'> & Pick<IotHubOptions, 'answerTimeout'> & Pick<Identity, 'ordered'>

class Connection implements HubConnection {
  readonly name: string
  readonly #client: Client
  readonly #transport: TameMqtt
  readonly #settings: Settings
  readonly #lost = new AbortController()
  #twin: SdkTwin | undefined
  #listener: ((patch: unknown) => void) | undefined
  /** Patches that arrived before there was a listener. */
  #early: unknown[] = []

  constructor(client: Client, transport: TameMqtt, settings: Settings) {
    this.name = settings.name
    this.#client = client
    this.#transport = transport
    this.#settings = settings
    client.on('disconnect', (ended: unknown) => this.lose(explainEnd(ended)))
    client.on('error', (error: Error) => this.lose(explain(error)))
  }

  get lost(): AbortSignal {
    return this.#lost.signal
  }

  /** The SDK needs a read to create the Twin. The read that counts comes after the subscription, so no patch is lost between. */
  async subscribe(signal: AbortSignal): Promise<void> {
    const twin = await this.#read(signal)
    twin.on('error', (error: Error) => this.lose(explain(error)))
    twin.on('properties.desired', (patch: unknown) => {
      // A read fires the event too, with the SDK's whole document (PROTOCOL.md, "Repeated reads").
      if (patch !== twin.properties.desired) this.#take(copy(patch))
    })
    const subscribed = new Promise<void>((resolve, reject) => {
      twin.enableTwinDesiredPropertiesUpdates((error?: Error) => (error ? reject(error) : resolve()))
    })
    await this.#answered(subscribed, 'no answer to the subscription', signal)
  }

  /** PROTOCOL.md, "Certificate in the twin". Only what differs is sent; a hub that refuses it is used all the same. */
  async show(certificate: ReturnType<typeof certificateIn>, signal: AbortSignal): Promise<void> {
    const { piAdu } = (this.#twin?.properties.reported ?? {}) as { piAdu?: { certificate?: Reported } }
    const shown = piAdu?.certificate
    const isSame = (name: 'sha256' | 'notAfter' | 'renewal') =>
      (shown?.[name] ?? null) === (certificate?.[name] ?? null)
    if (isSame('sha256') && isSame('notAfter') && isSame('renewal')) return
    await this.report({ piAdu: { certificate } }, signal).catch(error => {
      if (!(error instanceof HubRejection)) throw error
    })
  }

  async readTwin(signal: AbortSignal): Promise<Twin> {
    const { desired, reported } = (await this.#read(signal)).properties
    this.#obey(desired)
    return copy({ desired, reported }) as Twin
  }

  onDesired(listener: (patch: unknown) => void): void {
    this.#listener = listener
    for (const patch of this.#early.splice(0)) listener(patch)
  }

  #take(patch: unknown): void {
    this.#obey(patch)
    if (!this.#listener) this.#early.push(patch)
    // Outside the SDK's event handler, so that an error in our own code is not taken for the connection's end.
    else queueMicrotask(() => this.#listener?.(patch))
  }

  /** An order to register again ends this connection, because the next one may be to another hub. */
  #obey(desired: unknown): void {
    const order = reprovisionOrder(desired)
    if (order === undefined) return
    const end = () => this.lose('the twin orders this device to register again')
    this.#settings.ordered(order).then(
      after => after !== undefined && unlessAborted(this.lost, after, end),
      error => this.lose(explain(error)),
    )
  }

  serve(listener: MethodListener): void {
    if (this.lost.aborted) return
    const lose = (error: unknown): void => this.lose(explain(error))
    this.#transport.serve(call => {
      const answered = listener(call.name, call.payload)
      answered.then(({ status, payload }) => this.#transport.answer(call, status, payload)).catch(lose)
    }, lose)
  }

  async #read(signal: AbortSignal): Promise<SdkTwin> {
    this.#twin = await this.#answered(this.#client.getTwin(), 'no answer to a twin read', signal)
    return this.#twin
  }

  async report(patch: Reported, signal: AbortSignal): Promise<void> {
    const twin = this.#twin
    if (!twin) throw new Error('report needs a twin that was read')
    const accepted = new Promise<void>((resolve, reject) => {
      twin.properties.reported.update(patch, (error?: Error) => (error ? reject(error) : resolve()))
    })
    await this.#answered(accepted, 'no answer to a report', signal)
  }

  async close(): Promise<void> {
    const wasLost = this.lost.aborted
    this.lose('closed by the agent')
    const client = this.#client
    this.#twin?.removeAllListeners()
    client.removeAllListeners()
    // Later errors of this connection are irrelevant, and must not be uncaught.
    client.on('error', () => {})
    const closed = client.close().catch(() => {})
    // On a dead link `close` never resolves (PROTOCOL.md, "Closing").
    if (!wasLost) await limited(closed, LIMIT.close, 'close', new AbortController().signal).catch(() => {})
    this.#transport.destroy()
  }

  /** A twin call without an answer means that the link or the session is dead (PROTOCOL.md, "Silent twin calls"). */
  async #answered<T>(call: Promise<T>, complaint: string, signal: AbortSignal): Promise<T> {
    try {
      return await limited(call, this.#settings.answerTimeout, complaint, AbortSignal.any([signal, this.#lost.signal]))
    } catch (error) {
      signal.throwIfAborted()
      if (isRejection(error)) throw new HubRejection(explain(error), { cause: error })
      const lost = error instanceof HubError ? error : new HubError(explain(error), { cause: error })
      this.lose(lost.message)
      throw lost
    }
  }

  lose(why: string): void {
    if (!this.#lost.signal.aborted) this.#lost.abort(new HubError(why))
  }
}
