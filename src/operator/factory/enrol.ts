import { X509Certificate } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { EXIT, Failure } from '../failure.ts'
import { readInput, textOf } from '../input.ts'
import { type Authority, certify, nameRequested } from './authority.ts'
import { firstCertificate, newPrivateKey, requestFor, thumbprintOf } from './certificates.ts'
import { addConfig, type CardOptions, type Credential, readCredential, writeFolder } from './device-folder.ts'
import { derivedKey, newKey } from './device-key.ts'
import type { Wanted } from './device-list.ts'
import type { EnrollmentRecord } from './enrollment-record.ts'
import { type Attestation, BULK, type Enrollment, type ProvisioningService } from './provisioning-service.ts'

export interface EnrolOptions extends CardOptions {
  readonly devices: readonly Wanted[]
  readonly out: string
  /** Enrollment group; absent: an individual enrollment for each device. */
  readonly group: string | undefined
  /** Present: certificates instead of keys. */
  readonly authority: Authority | undefined
  readonly days: number
  readonly initialTwin: object | undefined
}

/** A device whose folder is complete. */
interface Prepared {
  readonly wanted: Wanted
  readonly folder: string
  readonly credential: Credential
  /** What this call has written: the folder, or a file in it. */
  readonly written: string | undefined
}

/** Why the service has not enrolled a device. */
interface Refusal {
  readonly reason: string
  /** The service has certainly not taken the credential. */
  readonly isCertain: boolean
}

/**
 * Makes a credential for each device, writes its folder, and enrolls it. What an earlier call has completed is left alone; a folder
 * that it wrote without hearing of the enrollment is used again. Errors: Failure; the record then says how far it came.
 */
export async function enrol(
  options: EnrolOptions,
  service: ProvisioningService,
  record: EnrollmentRecord,
  onProgress: () => void,
): Promise<void> {
  const groupKeys = options.group === undefined ? [] : await ensureGroup(options.group, options, service)
  const left = options.devices.filter(({ registrationId }) => !record.isEnrolled(registrationId))
  for (let start = 0; start < left.length; start += BULK) {
    const batch = left.slice(start, start + BULK)
    const prepared = await Promise.all(batch.map(wanted => prepare(wanted, groupKeys, options)))
    const refusals = options.group === undefined ? await enrolBatch(prepared, options, service) : undefined
    for (const each of prepared) {
      const { registrationId } = each.wanted
      const refusal = refusals?.get(registrationId)
      // A card with a key that nobody knows would only look right. One that the service may know is used again.
      if (refusal?.isCertain && each.written !== undefined) await rm(each.written, { recursive: true, force: true })
      record.devices.set(registrationId, recordOf(each, refusal?.reason))
    }
    await record.save()
    onProgress()
  }
}

function recordOf({ wanted, folder, credential }: Prepared, reason: string | undefined) {
  const { registrationId, deviceId } = wanted
  const leaf = credential.chain === undefined ? undefined : new X509Certificate(credential.chain)
  return {
    registrationId,
    ...(deviceId === undefined ? {} : { deviceId }),
    folder,
    ...(reason === undefined ? { state: 'enrolled' as const } : { state: 'failed' as const, reason }),
    ...(leaf && { thumbprint: thumbprintOf(leaf), expires: new Date(leaf.validTo).toISOString() }),
  }
}

async function prepare(wanted: Wanted, groupKeys: readonly string[], options: EnrolOptions): Promise<Prepared> {
  const folder = join(options.out, wanted.registrationId)
  const earlier = await readCredential(folder)
  const kind = options.authority ? 'chain' : 'key'
  if (earlier && earlier[kind] === undefined) {
    throw new Failure(EXIT.usage, `${folder} has a credential of the other kind; move it away`)
  }
  const derived = groupKeys.map(each => derivedKey(each, wanted.registrationId))
  if (earlier?.key !== undefined && options.group !== undefined && !derived.includes(earlier.key)) {
    throw new Failure(EXIT.usage, `${folder} has a key that is not of the group ${options.group}; move it away`)
  }
  const credential = earlier ?? (await newCredential(wanted, derived[0], options))
  if (earlier)
    return { wanted, folder, credential, written: await addConfig(folder, wanted.registrationId, earlier, options) }
  await writeFolder(folder, wanted.registrationId, credential, options)
  return { wanted, folder, credential, written: folder }
}

async function newCredential(
  { registrationId, csr }: Wanted,
  derived: string | undefined,
  { authority, days }: EnrolOptions,
): Promise<Credential> {
  if (!authority) return { key: derived ?? newKey() }
  if (csr === undefined) {
    const privateKey = newPrivateKey('P-256')
    return { privateKey, chain: await certify(authority, await requestFor(privateKey, registrationId), days) }
  }
  const request = textOf(await readInput(csr), csr)
  const name = await nameRequested(request, csr)
  if (name !== registrationId) {
    throw new Failure(EXIT.usage, `${csr}: the common name is ${JSON.stringify(name)}, not ${registrationId}`)
  }
  return { chain: await certify(authority, request, days) }
}

const REPROVISION = { updateHubAssignment: true, migrateDeviceData: true }

/** By registration id. */
async function enrolBatch(
  prepared: readonly Prepared[],
  { initialTwin }: EnrolOptions,
  service: ProvisioningService,
): Promise<Map<string, Refusal>> {
  const enrollments = prepared.map(
    ({ wanted: { registrationId, deviceId }, credential }): Enrollment => ({
      registrationId,
      ...(deviceId === undefined ? {} : { deviceId }),
      attestation: attestationOf(credential),
      ...(initialTwin && { initialTwin }),
      provisioningStatus: 'enabled',
      reprovisionPolicy: REPROVISION,
    }),
  )
  const refusals = new Map<string, Refusal>()
  for (const { registrationId, errorCode, errorStatus } of await service.create(enrollments)) {
    const own = prepared.find(({ wanted }) => wanted.registrationId === registrationId.toLowerCase())
    const status = Math.floor(errorCode / 1000)
    const exists = status === 409
    if (exists && own && (await isOurs(own, service))) continue
    const reason = exists ? 'it is enrolled already, with another credential' : `${errorStatus} (${errorCode})`
    refusals.set(registrationId.toLowerCase(), { reason, isCertain: status >= 400 && status < 500 })
  }
  return refusals
}

/** The answer to an earlier call may have been lost after the service had done it. */
async function isOurs({ wanted: { registrationId }, credential }: Prepared, service: ProvisioningService) {
  const { symmetricKey, x509 } = await service.attestation('enrollments', registrationId)
  if (credential.key !== undefined) return symmetricKey?.primaryKey === credential.key
  const thumbprint = thumbprintOf(new X509Certificate(credential.chain ?? ''))
  return x509?.clientCertificates?.primary?.info?.sha256Thumbprint?.toUpperCase() === thumbprint
}

function attestationOf({ key, chain }: Credential): Attestation {
  if (key !== undefined) return { type: 'symmetricKey', symmetricKey: { primaryKey: key, secondaryKey: newKey() } }
  const certificate = new X509Certificate(chain ?? '').toString()
  return { type: 'x509', x509: { clientCertificates: { primary: { certificate } } } }
}

/** Creates the group when there is none; gives its keys, the first of which makes new ones. None with certificates. */
async function ensureGroup(
  group: string,
  { authority, initialTwin }: EnrolOptions,
  service: ProvisioningService,
): Promise<string[]> {
  const type = authority ? 'x509' : 'symmetricKey'
  const found = await service.group(group)
  if (found && found.attestation.type !== type) {
    throw new Failure(
      EXIT.usage,
      `the group ${group} has ${found.attestation.type}; ${authority ? 'drop' : 'use'} --x509`,
    )
  }
  if (found && authority) checkSigner(group, found.attestation, authority)
  if (!found) {
    const signingCertificates = authority && { primary: { certificate: authority.certificate } }
    await service.put({
      enrollmentGroupId: group,
      attestation: signingCertificates ? { type, x509: { signingCertificates } } : { type },
      ...(initialTwin && { initialTwin }),
      provisioningStatus: 'enabled',
      reprovisionPolicy: REPROVISION,
    })
  }
  if (authority) return []
  const { symmetricKey } = await service.attestation('enrollmentGroups', group)
  if (!symmetricKey?.primaryKey) throw new Failure(EXIT.unavailable, `the service does not give the key of ${group}`)
  return [symmetricKey.primaryKey, symmetricKey.secondaryKey].filter(key => key !== undefined)
}

/** A group that names a certificate of the service shows no thumbprint to compare. */
function checkSigner(group: string, { x509 }: Attestation, { certificate, root, dir }: Authority): void {
  const { primary, secondary } = x509?.signingCertificates ?? {}
  const known = [primary, secondary].map(place => place?.info?.sha256Thumbprint?.toUpperCase()).filter(Boolean)
  const own = [certificate, ...(root === undefined ? [] : [root])].map(pem => thumbprintOf(firstCertificate(pem, dir)))
  if (known.length > 0 && !known.some(each => own.includes(each ?? ''))) {
    throw new Failure(EXIT.usage, `the group ${group} has another signing certificate than ${dir}; use its authority`)
  }
}
