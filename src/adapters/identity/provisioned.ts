import { HubError } from '../../domain/errors.ts'
import type { Clock } from '../../ports/clock.ts'
import type { HubAuth, HubIdentity, HubOutcome, Identity } from '../../ports/identity.ts'
import type { Log } from '../../ports/log.ts'
import type { Assignment, AssignmentFile, Inputs } from '../dps/assignment-file.ts'
import { KNOWN_HUB_LIMIT, type Onboarding, type Outcome } from '../dps/onboarding.ts'
import { afterConnect, afterRegistration, FRESH, type Known, nextStep } from '../dps/when-to-register.ts'
import type { CertificateOrder, Issuing } from './issuing.ts'

/** The credential for registrations. */
export interface Credential {
  /** In lower case. */
  readonly registrationId: string
  readonly auth: HubAuth
  /** Hash of the key or certificate, to detect a changed credential. */
  readonly fingerprint: string
}

export interface ProvisionedOptions {
  readonly idScope: string
  readonly host: string
  /** Reads the credential, for each connection. Errors: HubError with a message for people. */
  readonly credential: (signal: AbortSignal) => Promise<Credential>
  /** Undefined: only the result of an earlier registration may be used. */
  readonly onboarding: Onboarding | undefined
  /** Undefined: the hub accepts the same credential. */
  readonly issuing: Issuing | undefined
  /** 0 ≤ x < 1, drawn once per process: how long this device waits before it doubts its assignment. */
  readonly spread: number
}

/** Milliseconds. */
const ORDERS_APART = 3_600_000

type Files = Pick<AssignmentFile, 'read' | 'write' | 'readOrder' | 'removeOrder'>

/** Hub and device id as assigned by the provisioning service, with the device's own credential or an issued certificate. */
export class ProvisionedIdentity implements Identity {
  readonly #options: ProvisionedOptions
  readonly #file: Files
  readonly #clock: Pick<Clock, 'monotonic' | 'now' | 'random'>
  readonly #log: Log
  #standing = FRESH
  /** The last order of a person, and whether it is still to be carried out. */
  #order: string | undefined
  #ordered = false
  /** An order of the twin that is still to be carried out, and from when on another one may end a pause. */
  #twinOrder: string | undefined
  #twinOrdersFrom = 0
  #assignment: Assignment | undefined
  /** The last failed registration, and why it failed. */
  #failed: { readonly inputs: Inputs; readonly why: string } | undefined

  constructor(options: ProvisionedOptions, file: Files, clock: Pick<Clock, 'monotonic' | 'now' | 'random'>, log: Log) {
    this.#options = options
    this.#file = file
    this.#clock = clock
    this.#log = log
  }

  async get(signal: AbortSignal): Promise<HubIdentity> {
    signal.throwIfAborted()
    const { idScope, host, credential, onboarding, issuing, spread } = this.#options
    const { registrationId, auth: own, fingerprint } = await credential(signal)
    const inputs: Inputs = { idScope, registrationId, host, credential: fingerprint }
    this.#assignment ??= await this.#file.read()
    const known = await this.#known(inputs)
    if (await this.#mayTryAtOnce(inputs)) this.#standing = { ...this.#standing, notBefore: 0 }
    const now = this.#clock.monotonic()
    if (onboarding && nextStep(known, this.#isOrdered, this.#standing, now, spread) === 'register') {
      await this.#register(onboarding, own, inputs, known, signal)
    }
    const issued = await issuing?.get(registrationId)
    const auth = issuing ? issued?.auth : own
    if (!this.#assignment || !auth) throw new HubError(`no identity: ${this.#whyNot(onboarding !== undefined)}`)
    const { hub, deviceId } = this.#assignment
    const identity = { hub, gateway: undefined, deviceId, moduleId: undefined, auth }
    return issued?.refused ? { ...identity, renewalRefused: true } : identity
  }

  async tried(outcome: HubOutcome): Promise<void> {
    const now = this.#clock.monotonic()
    this.#standing = afterConnect(this.#standing, outcome, now)
    // The old certificate may be good: the hub's refusals concerned the new one.
    if (await this.#options.issuing?.tried(outcome)) {
      this.#standing = { ...FRESH, notBefore: this.#standing.notBefore }
    }
  }

  async ordered(order: string): Promise<number | undefined> {
    if (!this.#options.onboarding || !this.#assignment || this.#assignment.order === order) return undefined
    const now = this.#clock.monotonic()
    if (this.#twinOrder !== order) {
      this.#twinOrder = order
      // Ends the pause after a good registration. Whoever writes orders all the time gets one registration an hour.
      if (this.#standing.failures === 0 && now >= this.#twinOrdersFrom) {
        this.#standing = { ...this.#standing, notBefore: 0 }
        this.#twinOrdersFrom = now + ORDERS_APART
      }
    }
    return Math.max(0, this.#standing.notBefore - now)
  }

  get #isOrdered(): boolean {
    return this.#ordered || this.#twinOrder !== undefined
  }

  async #known(inputs: Inputs): Promise<Known> {
    const { issuing } = this.#options
    const known = knownOf(this.#assignment, inputs)
    const issued = await issuing?.get(inputs.registrationId)
    if (!issuing || known === 'nothing') return known
    if (!issued) return 'nothing'
    return issued.renew ? 'outdated' : known
  }

  /** Whether the reason for an earlier pause is gone: a person has ordered a registration or replaced the credential. */
  async #mayTryAtOnce(inputs: Inputs): Promise<boolean> {
    const order = this.#options.onboarding && (await this.#file.readOrder())
    const isOrder = order !== undefined && order !== this.#order
    if (isOrder) {
      this.#order = order
      this.#ordered = true
    }
    const before = this.#failed?.inputs ?? this.#assignment?.inputs
    const isNews = before !== undefined && !isSame(before, inputs)
    return isOrder || isNews
  }

  async #register(
    onboarding: Onboarding,
    auth: HubAuth,
    inputs: Inputs,
    known: Known,
    signal: AbortSignal,
  ): Promise<void> {
    const { registrationId } = inputs
    const certificate = this.#options.issuing?.order(registrationId)
    const limit = known === 'nothing' ? undefined : KNOWN_HUB_LIMIT
    const answer = await onboarding.register({ registrationId, auth, csr: certificate?.csr, limit }, signal)
    const outcome = certificate && answer.is === 'assigned' ? await taken(certificate, answer) : answer
    this.#standing = afterRegistration(known, this.#standing, outcome, this.#clock.monotonic(), this.#clock.random())
    if (outcome.is !== 'assigned') {
      this.#failed = { inputs, why: outcome.why }
      if (outcome.is === 'operator') this.#options.issuing?.renewalFailed(outcome.why)
      const wait = this.#standing.notBefore - this.#clock.monotonic()
      const again = wait > 0 ? { againInSeconds: Math.round(wait / 1000) } : {}
      this.#log.warn('identity.registration-failed', { registrationId, why: outcome.why, ...again })
      return
    }
    const { hub, deviceId, substatus } = outcome.to
    const before = this.#assignment
    const isMoved = before !== undefined && (before.hub !== hub || before.deviceId !== deviceId)
    const from = isMoved ? { before: `${before.deviceId} at ${before.hub}` } : {}
    this.#log[isMoved ? 'warn' : 'info']('identity.assigned', { registrationId, hub, deviceId, substatus, ...from })
    this.#failed = undefined
    const order = this.#twinOrder ?? before?.order
    const at = this.#clock.now().toISOString()
    this.#assignment = { hub, deviceId, substatus, inputs, at, ...(order === undefined ? {} : { order }) }
    await this.#file.write(this.#assignment)
    if (this.#ordered && this.#order !== undefined) await this.#file.removeOrder(this.#order)
    this.#ordered = false
    this.#twinOrder = undefined
  }

  #whyNot(mayRegister: boolean): string {
    if (!mayRegister) return 'the provisioning service has not assigned this device to a hub yet'
    const why = this.#failed?.why ?? 'not registered'
    const minutes = (this.#standing.notBefore - this.#clock.monotonic()) / 60_000
    // At the next connection, whose pause is not known here.
    if (minutes <= 0) return why
    return `${why}; ${minutes < 1 ? 'again within a minute' : `again in about ${Math.round(minutes)} min`}`
  }
}

/** With an unusable certificate the registration counts as failed, and the earlier identity stays. */
async function taken(order: CertificateOrder, assigned: Extract<Outcome, { is: 'assigned' }>): Promise<Outcome> {
  const flaw = await order.take(assigned.to.chain)
  return flaw === undefined ? assigned : { is: 'operator', why: `the provisioning service ${flaw}` }
}

const knownOf = (assignment: Assignment | undefined, inputs: Inputs): Known =>
  assignment === undefined ? 'nothing' : isSame(assignment.inputs, inputs) ? 'current' : 'outdated'

const isSame = (one: Inputs, other: Inputs): boolean =>
  one.idScope === other.idScope &&
  one.registrationId === other.registrationId &&
  one.host === other.host &&
  one.credential === other.credential
