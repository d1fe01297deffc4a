import { createHmac } from 'node:crypto'
import { request } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectionFields } from '../../domain/connection-string.ts'
import { EXIT, Failure, messageOf } from '../failure.ts'

/** The service's REST API. Not every member is here: what an answer has beside these goes back unchanged. */
const API = 'api-version=2021-10-01'

export interface CertificateInfo {
  readonly sha256Thumbprint?: string
  /** ISO 8601. */
  readonly notAfterUtc?: string
}

export interface Place {
  readonly certificate?: string
  readonly info?: CertificateInfo
}

export interface Attestation {
  readonly type: string
  readonly symmetricKey?: { readonly primaryKey?: string; readonly secondaryKey?: string }
  readonly x509?: {
    readonly clientCertificates?: { readonly primary?: Place | null; readonly secondary?: Place | null } | null
    readonly signingCertificates?: { readonly primary?: Place | null; readonly secondary?: Place | null } | null
  }
}

export interface Enrollment {
  readonly registrationId?: string
  readonly enrollmentGroupId?: string
  readonly deviceId?: string
  readonly attestation: Attestation
  readonly initialTwin?: object
  readonly provisioningStatus?: 'enabled' | 'disabled'
  readonly reprovisionPolicy?: object
  readonly etag?: string
}

export interface Registration {
  readonly registrationId: string
  readonly assignedHub?: string
  readonly deviceId?: string
  /** ISO 8601. */
  readonly lastUpdatedDateTimeUtc?: string
}

export interface BulkError {
  readonly registrationId: string
  readonly errorCode: number
  readonly errorStatus: string
}

/** How many individual enrollments one call may carry. */
export const BULK = 10

/** Seconds; after these a call counts as unanswered. */
const LIMIT = 20
/** The longest pause between two attempts, in seconds. */
const LONGEST_PAUSE = 60
/** Far more than any answer that is read here, in bytes. */
const MOST = 16 << 20

interface Answer {
  readonly status: number
  /** Of the next page. */
  readonly continuation?: string | undefined
  readonly retryAfter: number | undefined
  readonly body: unknown
}

export interface Patience {
  /** How long a call is repeated while the service is throttled or away, in milliseconds. */
  readonly patience: number
  readonly onTrouble: (why: string) => void
}

/** The Device Provisioning Service's side for operators. Errors: Failure, which never contains the key. */
export class ProvisioningService {
  readonly #host: string
  readonly #key: string
  readonly #policy: string
  readonly #patience: Patience

  /** `text`: a checked connection string. */
  constructor(text: string, patience: Patience) {
    const fields = new Map(connectionFields(text))
    this.#host = fields.get('HostName') ?? ''
    this.#policy = fields.get('SharedAccessKeyName') ?? ''
    this.#key = fields.get('SharedAccessKey') ?? ''
    this.#patience = patience
  }

  /** Undefined when there is none. */
  individual = (id: string): Promise<Enrollment | undefined> => this.#find(`/enrollments/${encodeURIComponent(id)}`)
  group = (id: string): Promise<Enrollment | undefined> => this.#find(`/enrollmentGroups/${encodeURIComponent(id)}`)
  registration = (id: string): Promise<Registration | undefined> =>
    this.#find(`/registrations/${encodeURIComponent(id)}`)

  /** The attestation with its keys, which the enrollment itself does not show. */
  async attestation(kind: 'enrollments' | 'enrollmentGroups', id: string): Promise<Attestation> {
    return (await this.#done('POST', `/${kind}/${encodeURIComponent(id)}/attestationmechanism`)) as Attestation
  }

  /** Creates it, or with an etag changes it. */
  async put(enrollment: Enrollment): Promise<Enrollment> {
    const { registrationId, enrollmentGroupId = '', etag } = enrollment
    const path =
      registrationId === undefined
        ? `/enrollmentGroups/${encodeURIComponent(enrollmentGroupId)}`
        : `/enrollments/${encodeURIComponent(registrationId)}`
    const headers = etag === undefined ? {} : { 'If-Match': `"${etag.replaceAll('"', '')}"` }
    return (await this.#done('PUT', path, enrollment, headers)) as Enrollment
  }

  /** Creates up to `BULK` individual enrollments, each with its own outcome. */
  async create(enrollments: readonly Enrollment[]): Promise<readonly BulkError[]> {
    const answer = await this.#done('POST', '/enrollments', { mode: 'create', enrollments })
    const { errors } = answer as { errors?: unknown }
    return Array.isArray(errors) ? errors : []
  }

  individuals = (): Promise<Enrollment[]> => this.#all('/enrollments/query')

  async #all<T>(path: string): Promise<T[]> {
    const found: T[] = []
    let next: string | undefined
    do {
      const headers = next === undefined ? {} : { 'x-ms-continuation': next }
      const { status, body, continuation } = await this.#patiently('POST', path, { query: 'SELECT *' }, headers)
      const page = this.#checked(status, body, path)
      if (Array.isArray(page)) found.push(...page)
      next = continuation
    } while (next)
    return found
  }

  async #find<T>(path: string): Promise<T | undefined> {
    const { status, body } = await this.#patiently('GET', path)
    if (status === 404) return undefined
    return this.#checked(status, body, path) as T
  }

  async #done(method: string, path: string, body?: object, headers = {}): Promise<unknown> {
    const answer = await this.#patiently(method, path, body, headers)
    return this.#checked(answer.status, answer.body, path)
  }

  #checked(status: number, body: unknown, path: string): unknown {
    if (status < 300) return body ?? {}
    const { message, errorCode } = (body ?? {}) as { message?: unknown; errorCode?: unknown }
    const said = this.#clean(`${message ?? 'no reason given'}${errorCode === undefined ? '' : ` (${errorCode})`}`)
    const where = `the provisioning service, ${path}`
    if (status === 401 || status === 403) {
      throw new Failure(EXIT.denied, `${where}: it refuses this connection string (${status}): ${said}`)
    }
    if (status === 400) throw new Failure(EXIT.usage, `${where}: it does not take this: ${said}`)
    throw new Failure(EXIT.unavailable, `${where}: it answered ${status}: ${said}`)
  }

  /** Throttling, errors of the service and lost connections are waited out; each call may be repeated. */
  async #patiently(method: string, path: string, body?: object, headers = {}): Promise<Answer> {
    const until = Date.now() + this.#patience.patience
    for (let attempt = 0; ; attempt++) {
      const outcome = await this.#once(method, path, body, headers).catch((error: unknown) => error)
      const isAnswer = !(outcome instanceof Error)
      const answer = outcome as Answer
      if (isAnswer && answer.status !== 429 && answer.status < 500) return answer
      const why = isAnswer ? `it answered ${answer.status}` : this.#clean(messageOf(outcome))
      const asked = isAnswer ? answer.retryAfter : undefined
      const pause = Math.min(asked ?? 2 ** attempt, LONGEST_PAUSE) * (1 + Math.random() / 4) * 1000
      if (Date.now() + pause > until) {
        throw new Failure(EXIT.unavailable, `the provisioning service cannot be used: ${why}`)
      }
      this.#patience.onTrouble(`the provisioning service: ${why}; the next attempt in ${Math.round(pause / 1000)} s`)
      await sleep(pause)
    }
  }

  #once(method: string, path: string, body: object | undefined, headers: object): Promise<Answer> {
    const content = body === undefined ? '' : JSON.stringify(body)
    const [, hostname = '', port = '443'] = /^(.*?)(?::(\d+))?$/.exec(this.#host) ?? []
    return new Promise((resolve, reject) => {
      const sending = request(
        {
          ...{ hostname, port, method, path: `${path}?${API}`, timeout: LIMIT * 1000 },
          headers: {
            Authorization: this.#token(),
            'Content-Type': 'application/json; charset=utf-8',
            'Content-Length': Buffer.byteLength(content),
            ...headers,
          },
        },
        response => {
          const chunks: Buffer[] = []
          let size = 0
          response.on('data', (chunk: Buffer) => {
            size += chunk.length
            if (size > MOST) sending.destroy(new Error('the answer is too large'))
            else chunks.push(chunk)
          })
          response.on('error', reject)
          response.on('end', () => {
            const seconds = Number(response.headers['retry-after'])
            const retryAfter = Number.isInteger(seconds) && seconds > 0 ? seconds : undefined
            const [continuation] = [response.headers['x-ms-continuation']].flat()
            const body = jsonOf(Buffer.concat(chunks).toString())
            resolve({ status: response.statusCode ?? 0, retryAfter, continuation, body })
          })
        },
      )
      sending.on('timeout', () => sending.destroy(new Error(`no answer within ${LIMIT} s`)))
      sending.on('error', reject)
      sending.end(content)
    })
  }

  /** For one hour: each call makes its own. */
  #token(): string {
    const resource = encodeURIComponent(this.#host)
    const expires = Math.floor(Date.now() / 1000) + 3600
    const key = Buffer.from(this.#key, 'base64')
    const signature = createHmac('sha256', key).update(`${resource}\n${expires}`).digest('base64')
    const policy = encodeURIComponent(this.#policy)
    return `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&se=${expires}&skn=${policy}`
  }

  #clean(text: string): string {
    return (this.#key === '' ? text : text.replaceAll(this.#key, '…')).split('\n')[0]?.slice(0, 300) ?? ''
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
