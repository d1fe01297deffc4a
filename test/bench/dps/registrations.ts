import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { commonName } from '../hub/client-certificate.ts'
import type { Devices } from '../hub/devices.ts'
import { HubError, invalidArgument } from '../hub/errors.ts'
import { isObject, type JsonObject } from '../hub/json.ts'
import type { Recognised } from './attestation.ts'
import { type Enrollment, idOf, isGroup } from './enrollments.ts'
import { checkedRequest, derOf } from './request.ts'
import type { ProvisioningStore, Registration } from './store.ts'

/** A hub that devices can be assigned to. */
export interface AssignableHub {
  /** As enrolments name it. */
  readonly name: string
  /** As devices are told it; on a bench perhaps with a port. */
  readonly address: string
  readonly devices: Devices
  /** Makes the hub accept certificates of this authority (PEM). */
  readonly trust: (authority: string) => void
}

export interface Allocation {
  readonly iotHubHostName: string
  readonly initialTwin?: Enrollment['initialTwin']
  readonly payload?: JsonObject
}

/** What a custom allocation is asked; it may be slow, and may throw. */
export type CustomAllocation = (request: {
  readonly registrationId: string
  readonly payload: JsonObject | undefined
  readonly hubs: readonly string[]
}) => Allocation | Promise<Allocation>

/** Signs a request (PEM): leaf, then upwards to the root (PEM). */
export type IssueCertificate = (request: string, registrationId: string) => Promise<readonly string[]>

/** Behaviour that a test may change at any time. */
export interface ProvisioningSettings {
  /** What 202 answers carry. */
  retryAfterSeconds: number
  /** How many polls are answered by 202 before the outcome. */
  polls: number
  /** Reported when not undefined. */
  connectionProfile: string | null | undefined
  customAllocation: CustomAllocation | undefined
}

export interface Answer {
  readonly status: number
  readonly body: JsonObject
  readonly retryAfter?: number
}

interface Operation {
  readonly registrationId: string
  polls: number
  outcome?: JsonObject
}

export const API_VERSIONS = [
  '2018-11-01',
  '2019-03-31',
  '2021-06-01',
  '2021-10-01',
  '2025-07-01-preview',
  '2026-11-01',
  '2026-11-02-preview',
]
const WITH_CSR = ['2025-07-01-preview', '2026-11-01', '2026-11-02-preview']
const MAX_OPERATIONS = 20_000

/** Registers devices, as the provisioning service does: an operation that is polled for its outcome. */
export class Registrations {
  readonly settings: ProvisioningSettings = {
    retryAfterSeconds: 1,
    polls: 0,
    connectionProfile: undefined,
    customAllocation: undefined,
  }
  /** How often each device has registered; polls are not counted. */
  readonly counts = new Map<string, number>()
  readonly #store: ProvisioningStore
  readonly #hubs: readonly AssignableHub[]
  readonly #issue: IssueCertificate
  readonly #operations = new Map<string, Operation>()

  constructor(store: ProvisioningStore, hubs: readonly AssignableHub[], issue: IssueCertificate) {
    this.#store = store
    this.#hubs = hubs
    this.#issue = issue
  }

  /** Rejects with HubError: 400 for a bad body, 404 when nobody has enrolled the device. */
  async register(who: Recognised, body: unknown, apiVersion: string): Promise<Answer> {
    const { registrationId } = who
    // It may have changed since the device connected.
    const enrollment = who.enrollment && this.#current(who.enrollment)
    this.counts.set(registrationId, (this.counts.get(registrationId) ?? 0) + 1)
    if (!enrollment) throw new HubError(404, 404201, 'NotFound', `no enrollment for ${registrationId}`)
    if (!isObject(body)) throw invalidArgument('the body is not a JSON object')
    if (typeof body.registrationId !== 'string' || body.registrationId.toLowerCase() !== registrationId) {
      throw invalidArgument('registrationId is not the one of the connection')
    }
    const { payload } = body
    if (payload !== undefined && payload !== null && !isObject(payload)) throw invalidArgument('payload is no object')
    if (body.csr !== undefined && !WITH_CSR.includes(apiVersion)) throw invalidArgument('csr: unknown in this version')
    if (body.csr !== undefined && !enrollment.credentialPolicyName) {
      throw invalidArgument('csr: the enrollment has no credential policy')
    }
    const request = body.csr === undefined ? undefined : await checkedRequest(body.csr, registrationId)

    const operationId = `5.${randomBytes(8).toString('hex')}.${randomUUID()}`
    const operation: Operation = { registrationId, polls: this.settings.polls }
    if (this.#operations.size >= MAX_OPERATIONS) this.#operations.delete([...this.#operations.keys()][0]!)
    this.#operations.set(operationId, operation)
    this.#outcome(who, enrollment, isObject(payload) ? payload : undefined, request).then(outcome => {
      operation.outcome = { operationId, ...outcome }
    })
    return this.#assigning(operationId)
  }

  /** Throws HubError (404) for an operation that is not this device's. */
  poll({ registrationId }: Recognised, operationId: string): Answer {
    const operation = this.#operations.get(operationId)
    if (operation?.registrationId !== registrationId) {
      throw new HubError(404, 404203, 'NotFound', 'no such operation')
    }
    if (operation.polls > 0 || !operation.outcome) {
      operation.polls -= 1
      return this.#assigning(operationId)
    }
    return { status: 200, body: operation.outcome }
  }

  /** The state of an earlier registration. Throws HubError (404). */
  lookUp({ registrationId }: Recognised): Answer {
    const registration = this.#store.registrations.get(registrationId)
    if (!registration) throw new HubError(404, 404202, 'NotFound', `${registrationId} has never registered`)
    return { status: 200, body: this.stateOf(registration) }
  }

  #current(enrollment: Enrollment): Enrollment | undefined {
    const { individuals, groups } = this.#store
    return isGroup(enrollment) ? groups.get(idOf(enrollment)) : individuals.get(idOf(enrollment))
  }

  #assigning(operationId: string): Answer {
    return { status: 202, body: { operationId, status: 'assigning' }, retryAfter: this.settings.retryAfterSeconds }
  }

  /** Never rejects: what goes wrong here is an outcome. */
  async #outcome(
    who: Recognised,
    enrollment: Enrollment,
    payload: JsonObject | undefined,
    request: string | undefined,
  ): Promise<JsonObject> {
    const { registrationId } = who
    const ended = (status: string, more: JsonObject = {}) => ({
      status,
      registrationState: { registrationId, status, lastUpdatedDateTimeUtc: new Date().toISOString(), ...more },
    })
    if (enrollment.provisioningStatus === 'disabled') return ended('disabled')
    try {
      const allocation = await this.#allocate(registrationId, enrollment, payload)
      const chain = request === undefined ? undefined : await this.#issue(request, registrationId)
      const registration = this.#assign(who, enrollment, allocation, chain?.at(-1))
      return {
        status: 'assigned',
        registrationState: {
          ...this.stateOf(registration),
          ...(chain && { issuedCertificateChain: chain.map(derOf) }),
        },
      }
    } catch (error) {
      const known = error instanceof HubError
      const [errorCode, errorMessage] = known ? [error.errorCode, error.message] : [500001, String(error)]
      return ended('failed', { errorCode, errorMessage })
    }
  }

  async #allocate(
    registrationId: string,
    enrollment: Enrollment,
    payload: JsonObject | undefined,
  ): Promise<Allocation> {
    const wanted = enrollment.iotHubHostName ? [enrollment.iotHubHostName] : (enrollment.iotHubs ?? [])
    const hubs = this.#hubs.map(({ name }) => name).filter(name => wanted.length === 0 || wanted.includes(name))
    if (enrollment.allocationPolicy === 'custom') {
      const { customAllocation } = this.settings
      if (!customAllocation) throw new HubError(400, 400209, 'BadRequest', 'the custom allocation is not authorized')
      return await customAllocation({ registrationId, payload, hubs })
    }
    // Evenly for most policies; "static" takes the first.
    const digest = createHash('sha256').update(registrationId).digest()
    const iotHubHostName = hubs[enrollment.allocationPolicy === 'static' ? 0 : digest.readUInt32BE() % hubs.length]
    if (iotHubHostName === undefined) throw new HubError(400, 400208, 'BadRequest', 'no IoT hub to assign to')
    return { iotHubHostName }
  }

  #assign(who: Recognised, enrollment: Enrollment, allocation: Allocation, root: string | undefined): Registration {
    const { registrationId } = who
    const old = this.#store.registrations.get(registrationId)
    const policy = enrollment.reprovisionPolicy ?? { updateHubAssignment: true, migrateDeviceData: true }
    const name = old && !policy.updateHubAssignment ? old.hub : allocation.iotHubHostName
    const hub = this.#hubs.find(each => each.name === name)
    if (!hub) throw new HubError(400, 400208, 'BadRequest', `no IoT hub ${name}`)

    const deviceId = (!isGroup(enrollment) && enrollment.deviceId) || registrationId
    const moved = old !== undefined && old.hub !== hub.name
    const before = moved ? this.#hubs.find(each => each.name === old.hub)?.devices.find(old.deviceId) : undefined
    const migrated = before && policy.migrateDeviceData
    const identity = identityFor(who, root !== undefined)
    if (root !== undefined) hub.trust(root)
    const known = hub.devices.find(deviceId)
    if (!known) {
      hub.devices.create(deviceId, { ...identity, ...(migrated && { twin: before.twin }) })
      if (!migrated) initialise(hub.devices, deviceId, allocation.initialTwin ?? enrollment.initialTwin)
    } else if (!hasIdentity(known, identity)) {
      // Only when it differs, since this ends the device's connection.
      hub.devices.updateIdentity(deviceId, identity)
    }
    if (before) this.#hubs.find(each => each.name === old?.hub)?.devices.delete(before.id)

    const now = new Date().toISOString()
    const moveStatus = policy.migrateDeviceData ? 'deviceDataMigrated' : 'deviceDataReset'
    const registration: Registration = {
      registrationId,
      ...(isGroup(enrollment) && { enrollmentGroupId: idOf(enrollment) }),
      deviceId,
      hub: hub.name,
      substatus: moved ? moveStatus : (old?.substatus ?? 'initialAssignment'),
      createdDateTimeUtc: old?.createdDateTimeUtc ?? now,
      lastUpdatedDateTimeUtc: now,
      etag: randomBytes(6).toString('base64'),
      ...(who.leaf && { certificateInfo: infoOf(who.leaf) }),
      ...(allocation.payload && { payload: allocation.payload }),
    }
    this.#store.registrations.set(registrationId, registration)
    this.#store.changed()
    return registration
  }

  /** As the service's REST API shows it: its reference (2021-10-01) has neither `x509` nor `symmetricKey` here. */
  serviceStateOf({ hub, enrollmentGroupId, certificateInfo, ...rest }: Registration): JsonObject {
    return { ...rest, assignedHub: this.#hubs.find(each => each.name === hub)?.address ?? hub, status: 'assigned' }
  }

  /** As the device sees it. */
  stateOf(registration: Registration): JsonObject {
    const { enrollmentGroupId, certificateInfo } = registration
    const { connectionProfile } = this.settings
    return {
      ...this.serviceStateOf(registration),
      ...(certificateInfo
        ? { x509: { certificateInfo, enrollmentGroupId: enrollmentGroupId ?? null } }
        : { symmetricKey: { enrollmentGroupId: enrollmentGroupId ?? null } }),
      ...(connectionProfile !== undefined && { connectionProfile }),
    }
  }
}

const infoOf = (leaf: NonNullable<Recognised['leaf']>): JsonObject => ({
  subjectName: `CN=${commonName(leaf)}`,
  sha1Thumbprint: leaf.fingerprint.replaceAll(':', ''),
  sha256Thumbprint: leaf.fingerprint256.replaceAll(':', ''),
  issuerName: leaf.issuer.replaceAll('\n', ', '),
  notBeforeUtc: new Date(leaf.validFrom).toISOString(),
  notAfterUtc: new Date(leaf.validTo).toISOString(),
  serialNumber: leaf.serialNumber,
  version: 3,
})

/** What the hub is told of the device: its keys, or the thumbprint of its leaf, or that the issuer's certificates count. */
function identityFor({ keys, leaf }: Recognised, issued: boolean) {
  if (issued) return { caSigned: true, thumbprints: [] }
  if (leaf) return { caSigned: false, thumbprints: [leaf.fingerprint256.replaceAll(':', '')] }
  return { caSigned: false, thumbprints: [], ...(keys && { keys }) }
}

function hasIdentity(known: object, identity: object): boolean {
  return Object.entries(identity).every(([name, value]) => {
    const now = (known as Record<string, unknown>)[name] ?? (name === 'caSigned' ? false : undefined)
    return JSON.stringify(now) === JSON.stringify(value)
  })
}

function initialise(devices: Devices, deviceId: string, twin: Enrollment['initialTwin']): void {
  const tags = twin?.tags as JsonObject | undefined | null
  const desired = twin?.properties?.desired as JsonObject | undefined | null
  if (tags || desired) devices.updateTwin(deviceId, { ...(tags && { tags }), ...(desired && { desired }) })
}
