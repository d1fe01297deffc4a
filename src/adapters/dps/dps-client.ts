import { createHmac } from 'node:crypto'
import { HubError, messageOf } from '../../domain/errors.ts'
import { redact } from '../../domain/redact.ts'
import type { HubAuth } from '../../ports/identity.ts'
import { type NetworkOptions, type Proxies, proxiesOf } from '../http/route.ts'
import { type HubProtocol, openHubSocket } from '../iot-hub/hub-socket.ts'
import { limited } from '../iot-hub/limited.ts'
import type { TimeFloor } from '../system/time-floor.ts'
import { CERTIFICATE_REFUSED, explainTls, isCertificateRefused } from '../tls/words.ts'
import { readAnswer } from './answer.ts'
import { type Onboarding, type Outcome, REGISTRATION_LIMIT, type Registration } from './onboarding.ts'
import { CredentialRefused, DpsSession } from './session.ts'

export interface DpsOptions {
  /** Host name, with or without `:port`. */
  readonly host: string
  readonly idScope: string
  /** Input for a custom allocation at the service. */
  readonly payload: Readonly<Record<string, unknown>> | undefined
  readonly protocol: HubProtocol
  /** PEM text of the service's certificate authority; undefined: the system's authorities. */
  readonly ca: string | undefined
  readonly proxies: Omit<NetworkOptions, 'ca'>
  readonly time: Pick<TimeFloor, 'behind'>
  /** Milliseconds for each answer, and for the whole registration. */
  readonly patience?: number
  readonly limit?: number
}

/** The newest version that has been stable for years, and the newest that is documented for both REST and MQTT. */
const API_VERSION = '2021-10-01'
/** The version that accepts certificate requests. */
const CSR_API_VERSION = '2026-11-01'
const TOKEN_SECONDS = 3600
const PATIENCE = 30_000
/** Milliseconds until the next poll of an operation when the service is busy. */
const BUSY_WAIT = 5000

/** What becomes known on the way of a registration. */
interface Notes {
  /** From now on the service may have it. */
  readonly sent: () => void
  /** The service wants to be left alone for so long. */
  readonly wait: (milliseconds: number) => void
}

/**
 * The provisioning service over MQTT, on a connection of its own for each registration. Microsoft's client ends the process at
 * three points when the connection is lost, and may never settle (PROTOCOL.md, "Provisioning SDK").
 */
export class DpsClient implements Onboarding {
  readonly #options: DpsOptions
  readonly #proxies: Proxies

  /** Errors: ConfigError for a proxy that is not a URL. */
  constructor(options: DpsOptions) {
    this.#options = options
    this.#proxies = proxiesOf(options.proxies)
  }

  async register(registration: Registration, signal: AbortSignal): Promise<Outcome> {
    signal.throwIfAborted()
    const { host } = this.#options
    const limit = registration.limit ?? this.#options.limit ?? REGISTRATION_LIMIT
    const over = new AbortController()
    let asked: number | undefined
    let isSent = false
    const note: Notes = {
      sent: () => {
        isSent = true
      },
      wait: milliseconds => {
        asked = milliseconds
      },
    }
    try {
      const work = this.#register(registration, note, AbortSignal.any([signal, over.signal]))
      return named(host, await limited(work, limit, 'not assigned', signal))
    } catch (error) {
      signal.throwIfAborted()
      const why = redact(messageOf(error))
      if (error instanceof CredentialRefused || why.includes(CERTIFICATE_REFUSED)) {
        return named(host, { is: 'operator', why: `${REFUSED}: ${why}` })
      }
      const unsent = isSent ? {} : ({ unsent: true } as const)
      return named(host, { is: 'transient', why: `cannot be used now: ${why}`, retryAfter: asked, ...unsent })
    } finally {
      over.abort(new HubError('the registration has ended'))
    }
  }

  async #register({ registrationId, auth, csr }: Registration, note: Notes, signal: AbortSignal): Promise<Outcome> {
    const { host, idScope, payload, protocol, ca, patience = PATIENCE } = this.#options
    const certificate = auth.kind === 'x509' ? auth : undefined
    const route = { server: 'provisioning', hostName: host, protocol, ca, certificate, proxies: this.#proxies } as const
    const { stream, secure } = await openHubSocket(route, signal)
    const username = `${idScope}/registrations/${registrationId}/api-version=${csr === undefined ? API_VERSION : CSR_API_VERSION}`
    const password = this.#token(registrationId, auth)
    const session = new DpsSession(stream, { clientId: registrationId, username, password, patience }, signal)
    try {
      await session.open()
      const body = {
        registrationId,
        ...(payload === undefined ? {} : { payload }),
        ...(csr === undefined ? {} : { csr }),
      }
      note.sent()
      let verdict = readAnswer(await session.register(body))
      for (let operationId = ''; ; ) {
        if (verdict.is === 'assigning') {
          operationId = verdict.operationId
          note.wait(verdict.wait)
          await session.pause(verdict.wait)
        } else if (verdict.is === 'transient' && operationId !== '') {
          // The operation still exists, and another registration would be billed.
          const wait = verdict.retryAfter ?? BUSY_WAIT
          note.wait(wait)
          await session.pause(wait)
        } else return verdict
        verdict = readAnswer(await session.poll(operationId))
      }
    } catch (error) {
      // With TLS 1.3 the client learns only after the handshake that its certificate was refused.
      if (secure.errored && isCertificateRefused(secure.errored))
        throw new CredentialRefused(explainTls(secure.errored))
      throw error
    } finally {
      session.end()
    }
  }

  /** As documented (PROTOCOL.md, "Tokens for the provisioning service"). The expiry counts from the lower bound on the time. */
  #token(registrationId: string, auth: HubAuth): string | undefined {
    if (auth.kind !== 'symmetricKey') return undefined
    const { idScope, time } = this.#options
    const expiry = Math.ceil((Date.now() + time.behind()) / 1000) + TOKEN_SECONDS
    return dpsToken(idScope, registrationId, auth.key, expiry)
  }
}

const REFUSED = 'refused the credential of this device (key or certificate, id scope, registration id, or the clock)'

/** `key`: base64. `expiry`: seconds since 1970. */
export function dpsToken(idScope: string, registrationId: string, key: string, expiry: number): string {
  const resource = encodeURIComponent(`${idScope}/registrations/${registrationId}`)
  const signature = createHmac('sha256', Buffer.from(key, 'base64')).update(`${resource}\n${expiry}`).digest('base64')
  return `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&skn=registration&se=${expiry}`
}

const named = (host: string, outcome: Outcome): Outcome =>
  outcome.is === 'assigned' ? outcome : { ...outcome, why: `the provisioning service ${host} ${outcome.why}` }
