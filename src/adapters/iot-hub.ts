import common from 'azure-iot-common'
import device, { type Client, type Twin as SdkTwin } from 'azure-iot-device'
import { HubError, HubRejection, messageOf } from '../domain/errors.ts'
import { redact } from '../domain/redact.ts'
import type { Hub, HubConnection, MethodListener, Reported, Twin } from '../ports.ts'
import { statusOf, TameMqtt } from './tame-mqtt.ts'
import type { TimeFloor } from './time-floor.ts'

export interface IotHubOptions {
  /** `HostName=…;DeviceId=…;SharedAccessKey=…`, optionally `GatewayHostName`. Secret. */
  readonly connectionString: string
  readonly modelId: string
  /** In the agent text of CONNECT. */
  readonly productInfo: string
  /** PEM text of the certificate authority of the hub or gateway; the system's when undefined. */
  readonly ca: string | undefined
  readonly keepAliveSeconds: number
  /** Life of the SAS token, in seconds. Longer than any connection of ours, so that the SDK never renews silently. */
  readonly tokenSeconds: number
  /** Milliseconds for the answer to a twin call, for which the SDK itself would wait for ever. */
  readonly answerTimeout: number
  readonly time: Pick<TimeFloor, 'behind' | 'seen' | 'explain'>
}

/** Milliseconds. The SDK's own limit for CONNACK is 60 s, and its `close` may hang on a dead link. */
const LIMIT = { open: 75_000, close: 5_000 } as const

/**
 * Hub over the device SDK, one Client for each connection. The SDK loses patches in reconnects, forgets subscriptions and
 * never settles twin calls that were in flight (iot-hub-wire, chapter 5, rules 3 to 6, 11, 12); a Client that is thrown
 * away at the first doubt has none of these faults. No SDK type leaves this file.
 */
export class IotHub implements Hub {
  readonly #options: IotHubOptions

  constructor(options: IotHubOptions) {
    this.#options = options
  }

  async connect(signal: AbortSignal): Promise<HubConnection> {
    signal.throwIfAborted()
    const { connectionString, modelId, productInfo, ca, keepAliveSeconds, tokenSeconds, time } = this.#options
    let transport: TameMqtt | undefined
    class Transport extends TameMqtt {
      constructor(authentication: ConstructorParameters<typeof TameMqtt>[0]) {
        super(authentication)
        transport = this
      }
    }
    const client = device.Client.fromConnectionString(connectionString, Transport)
    const connection = new Connection(client, this.#options.answerTimeout, () => transport?.destroy())
    try {
      client.setRetryPolicy(new common.NoRetry())
      // The SDK counts from the clock: a token of a clock that is behind would be one that has ended. The margin grows
      // with it, so that the timer for a renewal, which is never to come, stays one that Node can set.
      const behind = Math.ceil(time.behind() / 1000)
      const tokenRenewal = {
        tokenValidTimeInSeconds: behind + tokenSeconds,
        tokenRenewalMarginInSeconds: behind + 900,
      }
      // One call: a second one would replace the options of the first (rule 13).
      const options = {
        modelId,
        productInfo,
        keepalive: keepAliveSeconds,
        tokenRenewal,
        ...(ca === undefined ? {} : { ca }),
      }
      await limited(client.setOptions(options), LIMIT.open, 'the SDK did not take its options', signal)
      await limited(client.open(), LIMIT.open, 'no answer to CONNECT', signal)
      await connection.subscribe(signal)
      await time.seen()
      return connection
    } catch (error) {
      await connection.close()
      signal.throwIfAborted()
      const why = error instanceof HubError ? error.message : explain(error)
      throw new HubError(time.explain(why), { cause: error })
    }
  }
}

class Connection implements HubConnection {
  readonly #client: Client
  readonly #answerTimeout: number
  readonly #destroy: () => void
  readonly #lost = new AbortController()
  #twin: SdkTwin | undefined
  #listener: ((patch: unknown) => void) | undefined
  #reading = false

  constructor(client: Client, answerTimeout: number, destroy: () => void) {
    this.#client = client
    this.#answerTimeout = answerTimeout
    this.#destroy = destroy
    client.on('disconnect', (ended: unknown) => this.#lose(explainEnd(ended)))
    client.on('error', (error: Error) => this.#lose(explain(error)))
  }

  get lost(): AbortSignal {
    return this.#lost.signal
  }

  /** The SDK gives a Twin only with a read; the read that counts comes after this, so that no patch falls between. */
  async subscribe(signal: AbortSignal): Promise<void> {
    const twin = await this.#read(signal)
    twin.on('error', (error: Error) => this.#lose(explain(error)))
    twin.on('properties.desired', (patch: unknown) => {
      if (!this.#reading) this.#listener?.(copy(patch))
    })
    const subscribed = new Promise<void>((resolve, reject) => {
      twin.enableTwinDesiredPropertiesUpdates((error?: Error) => (error ? reject(error) : resolve()))
    })
    await this.#answered(subscribed, 'no answer to the subscription', signal)
  }

  async readTwin(signal: AbortSignal): Promise<Twin> {
    const { desired, reported } = (await this.#read(signal)).properties
    return copy({ desired, reported }) as Twin
  }

  onDesired(listener: (patch: unknown) => void): void {
    this.#listener = listener
  }

  serve(names: readonly string[], listener: MethodListener): void {
    for (const name of names) {
      this.#client.onDeviceMethod(name, (request, response) => {
        // A refused promise in a handler would end the process (rule 15); who called has its own limit of time.
        listener(name, request.payload)
          .then(({ status, payload }) => response.send(status, payload))
          .catch(error => this.#lose(explain(error)))
      })
    }
  }

  /** A read also fires the patch event, with the whole document (rule 9). */
  async #read(signal: AbortSignal): Promise<SdkTwin> {
    this.#reading = true
    try {
      this.#twin = await this.#answered(this.#client.getTwin(), 'no answer to a twin read', signal)
      return this.#twin
    } finally {
      this.#reading = false
    }
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
    this.#lose('closed by the agent')
    const client = this.#client
    this.#twin?.removeAllListeners()
    client.removeAllListeners()
    // What the SDK still has to say about this connection concerns nobody, and must not be an uncaught error.
    client.on('error', () => {})
    await limited(client.close(), LIMIT.close, 'close', new AbortController().signal).catch(() => {})
    this.#destroy()
  }

  /** A twin call without an answer means that the link or the session is dead (rules 5 and 6). */
  async #answered<T>(call: Promise<T>, complaint: string, signal: AbortSignal): Promise<T> {
    try {
      return await limited(call, this.#answerTimeout, complaint, AbortSignal.any([signal, this.#lost.signal]))
    } catch (error) {
      signal.throwIfAborted()
      if (isRejection(error)) throw new HubRejection(explain(error), { cause: error })
      const lost = error instanceof HubError ? error : new HubError(explain(error), { cause: error })
      this.#lose(lost.message)
      throw lost
    }
  }

  #lose(why: string): void {
    if (!this.#lost.signal.aborted) this.#lost.abort(new HubError(why))
  }
}

/** `call`, for `milliseconds` at the most. */
async function limited<T>(call: Promise<T>, milliseconds: number, complaint: string, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  let timer: NodeJS.Timeout | undefined
  let onAbort = (): void => {}
  const end = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new HubError(`${complaint} within ${milliseconds / 1000} s`)), milliseconds)
    onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort)
  })
  try {
    return await Promise.race([call, end])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
    // If `end` won, nobody is left to take what `call` still has to say.
    call.catch(() => {})
  }
}

/** The hub read the patch and will not have it. */
function isRejection(error: unknown): boolean {
  const status = statusOf(messageOf(error))
  return status !== undefined && status >= 400 && status < 500 && status !== 429 && status !== 408
}

/** The first connection's failures all come as UnauthorizedError; only the tail of the text tells them apart (rule 1). */
const explain = (error: unknown): string =>
  redact(messageOf(error).replace(/^mqtt\.js returned Failure on first connection \(Not authorized\): /, ''))

/** The SDK wraps the error, if there is one, in an object of its own. */
function explainEnd(ended: unknown): string {
  const why = ended instanceof Error ? ended : (ended as { transportObj?: unknown } | undefined)?.transportObj
  return why instanceof Error ? explain(why) : 'the connection was closed'
}

/** The SDK goes on merging into its own objects, arrays by index (rule 8), and hangs methods into them. */
const copy = (document: unknown): unknown =>
  JSON.parse(JSON.stringify(document, (_, value) => (typeof value === 'function' ? undefined : value)))
