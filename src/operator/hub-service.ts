import { EXIT, type ExitCode, Failure, messageOf } from './failure.ts'

/** A call to the hub failed. `passing`: the failure is transient. */
export class HubFailure extends Failure {
  readonly passing: boolean
  /** HTTP status, if the hub answered. */
  readonly status: number | undefined

  constructor(exitCode: ExitCode, message: string, passing: boolean, status?: number, options?: ErrorOptions) {
    super(exitCode, message, options)
    this.passing = passing
    this.status = status
  }
}

export interface MethodAnswer {
  readonly status: number
  readonly payload: unknown
}

/** The parts of a twin that we read, as the service sees it. */
export interface Twin {
  readonly deviceId: string
  readonly connectionState?: string
  readonly properties: { readonly desired: unknown; readonly reported: unknown }
}

export interface JobState {
  readonly jobId: string
  readonly status: string
  readonly queryCondition?: string
  readonly createdTime?: string
  readonly cloudToDeviceMethod?: { readonly methodName?: string; readonly payload?: unknown }
  readonly failureReason?: string
}

export interface MethodCall {
  readonly name: string
  readonly payload: unknown
  readonly responseSeconds: number
  /** How long the hub waits for a device that is not connected, in seconds. */
  readonly connectSeconds: number
}

/** Milliseconds: the SDK has no working timeout (PROTOCOL.md, "Service SDK"). */
const LIMIT = 20_000

type Sdk = typeof import('azure-iothub')

/** The hub over the service SDK; no SDK type leaves this file. Errors: HubFailure, which never contains the key. */
export class HubService {
  readonly #client: InstanceType<Sdk['Client']>
  readonly #registry: InstanceType<Sdk['Registry']>
  readonly #jobs: InstanceType<Sdk['JobClient']>
  readonly #secret: string

  private constructor(sdk: Sdk, connectionString: string) {
    this.#secret = /SharedAccessKey=([^;]+)/.exec(connectionString)?.[1] ?? connectionString
    this.#client = sdk.Client.fromConnectionString(connectionString)
    this.#registry = sdk.Registry.fromConnectionString(connectionString)
    this.#jobs = sdk.JobClient.fromConnectionString(connectionString)
  }

  /** Does not contact the hub yet. */
  static async open(connectionString: string): Promise<HubService> {
    const sdk = await import('azure-iothub').catch(cause => {
      throw new Failure(EXIT.usage, 'the package azure-iothub is not installed: npm install azure-iothub', { cause })
    })
    // Each call is made once. The SDK would repeat a method for up to four minutes, and could run it twice.
    const common = await import('azure-iot-common')
    const service = new HubService(sdk.default as unknown as Sdk, connectionString)
    service.#client.setRetryPolicy(new common.default.NoRetry())
    return service
  }

  async invoke(
    deviceId: string,
    { name, payload, responseSeconds, connectSeconds }: MethodCall,
  ): Promise<MethodAnswer> {
    const call = this.#client.invokeDeviceMethod(deviceId, {
      methodName: name,
      payload,
      responseTimeoutInSeconds: responseSeconds,
      connectTimeoutInSeconds: connectSeconds,
    })
    const { result } = await this.#limited(
      call,
      `method ${name} of ${deviceId}`,
      (responseSeconds + connectSeconds) * 1000,
    )
    return result as MethodAnswer
  }

  async twin(deviceId: string): Promise<Twin> {
    const { responseBody } = await this.#limited(this.#registry.getTwin(deviceId), `the twin of ${deviceId}`)
    return responseBody as unknown as Twin
  }

  /** A merge patch of the desired properties. */
  async updateDesired(deviceId: string, desired: object): Promise<void> {
    const patch = { properties: { desired } }
    await this.#limited(this.#registry.updateTwin(deviceId, patch, '*'), `the twin of ${deviceId}`)
  }

  /** The device may connect no more, and loses the connection that it has. */
  async disable(deviceId: string, reason: string): Promise<void> {
    const what = `device ${deviceId}`
    const { responseBody } = await this.#limited(this.#registry.get(deviceId), what)
    const changed = { ...responseBody, status: 'disabled', statusReason: reason } as never
    await this.#limited(this.#registry.update(changed), what)
  }

  /** All results of a query. */
  async query(sql: string): Promise<unknown[]> {
    const query = this.#registry.createQuery(sql, 100)
    const found: unknown[] = []
    do {
      // PROTOCOL.md, "Service SDK": without its token this is the first page again.
      const { result } = await this.#limited(query.next(query.continuationToken), 'the query')
      if (Array.isArray(result)) found.push(...result)
    } while (query.hasMoreResults)
    return found
  }

  async startJob(jobId: string, condition: string, { name, payload, responseSeconds }: MethodCall, maxSeconds: number) {
    const params = { methodName: name, payload, responseTimeoutInSeconds: responseSeconds }
    await this.#limited(
      this.#jobs.scheduleDeviceMethod(jobId, condition, params as never, new Date(), maxSeconds),
      `job ${jobId}`,
    )
  }

  async job(jobId: string): Promise<JobState> {
    const { jobStatus } = (await this.#limited(this.#jobs.getJob(jobId), `job ${jobId}`)) as unknown as {
      jobStatus: JobState
    }
    return jobStatus
  }

  async #limited<T>(call: Promise<T>, what: string, more = 0): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const end = new Promise<never>((_, reject) => {
      const text = `${what}: the hub did not answer within ${(LIMIT + more) / 1000} s`
      timer = setTimeout(() => reject(new HubFailure(EXIT.unavailable, text, true)), LIMIT + more)
    })
    try {
      return await Promise.race([call, end])
    } catch (error) {
      throw error instanceof Failure ? error : this.#explained(error, what)
    } finally {
      clearTimeout(timer)
      call.catch(() => {})
    }
  }

  #explained(error: unknown, what: string): HubFailure {
    const { response, responseBody, code } = error as {
      response?: { statusCode?: number }
      responseBody?: string
      code?: string
    }
    const status = response?.statusCode
    const said = this.#clean(saidIn(responseBody) ?? messageOf(error))
    const failure = (exitCode: ExitCode, text: string, passing = false) =>
      new HubFailure(exitCode, `${what}: ${text}`, passing, status, { cause: new Error(said) })
    switch (status) {
      case undefined: {
        const reached = code === undefined ? 'the hub could not be asked' : 'the hub cannot be reached'
        return failure(EXIT.unavailable, `${reached}: ${said}`, code !== undefined && code !== 'ENOTFOUND')
      }
      case 400:
        return failure(EXIT.usage, `the hub does not take this: ${said}`)
      case 401:
      case 403:
        return failure(EXIT.denied, `the hub refuses this connection string (${status}): ${said}`)
      case 404:
        if (responseBody?.includes('404103')) return failure(EXIT.unavailable, 'the device is not connected')
        return failure(EXIT.unavailable, `the hub does not know it (404): ${said}`)
      case 504:
        return failure(EXIT.unavailable, 'the device did not answer in time')
      default:
        return failure(EXIT.unavailable, `the hub answered ${status}: ${said}`, status === 429 || status >= 500)
    }
  }

  #clean(text: string): string {
    const cleaned = text.replaceAll(this.#secret, '…').replace(/(SharedAccess\w+|sig|sr|skn|se)=[^;&\s]+/g, '$1=…')
    return cleaned.split('\n')[0]?.slice(0, 300) ?? ''
  }
}

/** The sentence in the hub's error body, without its code. */
function saidIn(body: string | undefined): string | undefined {
  try {
    const { Message } = JSON.parse(body ?? '') as { Message?: unknown }
    return typeof Message === 'string' ? Message.replace(/^ErrorCode:\w+;/, '') : undefined
  } catch {
    return undefined
  }
}
