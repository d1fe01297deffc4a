import { createHmac, X509Certificate } from 'node:crypto'
import * as v from 'valibot'
import { invalidArgument } from '../hub/errors.ts'
import type { JsonObject } from '../hub/json.ts'
import { newKey } from '../hub/policies.ts'

/** Enrolments in the shape of the provisioning service's REST API, 2021-10-01. */

const base64Key = v.optional(v.union([v.pipe(v.string(), v.base64()), v.literal('')]))
const certificate = v.nullish(v.object({ certificate: v.string() }))
const places = v.nullish(v.object({ primary: certificate, secondary: certificate }))

const attestation = v.variant('type', [
  v.object({
    type: v.literal('symmetricKey'),
    symmetricKey: v.nullish(v.object({ primaryKey: base64Key, secondaryKey: base64Key })),
  }),
  v.object({
    type: v.literal('x509'),
    x509: v.object({
      clientCertificates: places,
      signingCertificates: places,
      caReferences: v.nullish(v.object({ primary: v.string(), secondary: v.nullish(v.string()) })),
    }),
  }),
])

const json = v.record(v.string(), v.unknown())
const shared = {
  attestation,
  allocationPolicy: v.nullish(v.picklist(['hashed', 'geoLatency', 'static', 'custom'])),
  iotHubHostName: v.nullish(v.string()),
  iotHubs: v.nullish(v.array(v.string())),
  provisioningStatus: v.nullish(v.picklist(['enabled', 'disabled'])),
  reprovisionPolicy: v.nullish(v.object({ updateHubAssignment: v.boolean(), migrateDeviceData: v.boolean() })),
  initialTwin: v.nullish(
    v.object({ tags: v.nullish(json), properties: v.nullish(v.object({ desired: v.nullish(json) })) }),
  ),
  capabilities: v.nullish(v.object({ iotEdge: v.nullish(v.boolean()) })),
  customAllocationDefinition: v.nullish(json),
  /** Names the policy that issues certificates for a `csr`; absent: this enrolment gets none. */
  credentialPolicyName: v.nullish(v.string()),
}
/** PROTOCOL of the service: up to 128 characters, case-insensitive, a letter, digit or hyphen at the end. */
const id = v.pipe(v.string(), v.regex(/^[A-Za-z0-9\-._:]{0,127}[A-Za-z0-9-]$/, 'not a valid id'), v.toLowerCase())
const individualSchema = v.object({ ...shared, registrationId: id, deviceId: v.nullish(v.string()) })
const groupSchema = v.object({ ...shared, enrollmentGroupId: id })

interface Stamps {
  readonly etag: string
  readonly createdDateTimeUtc: string
  readonly lastUpdatedDateTimeUtc: string
}
export type Individual = v.InferOutput<typeof individualSchema> & Stamps
export type Group = v.InferOutput<typeof groupSchema> & Stamps
export type Enrollment = Individual | Group

export const isGroup = (enrollment: Enrollment): enrollment is Group => 'enrollmentGroupId' in enrollment
export const idOf = (enrollment: Enrollment) =>
  isGroup(enrollment) ? enrollment.enrollmentGroupId : enrollment.registrationId

/** Reads what the service was sent; keys that are absent are those of `old`, or new. Throws HubError (400). */
export function individualOf(body: unknown, old: Individual | undefined): Individual {
  return complete(parsed(individualSchema, body), old)
}
export function groupOf(body: unknown, old: Group | undefined): Group {
  const group = complete(parsed(groupSchema, body), old)
  if (group.attestation.type === 'x509' && group.attestation.x509.clientCertificates) {
    throw invalidArgument('a group has signingCertificates or caReferences')
  }
  return group
}

function parsed<T>(schema: v.GenericSchema<unknown, T>, body: unknown): T {
  const result = v.safeParse(schema, body)
  if (!result.success) throw invalidArgument(v.summarize(result.issues))
  return result.output
}

function complete<T extends { attestation: Enrollment['attestation'] }>(given: T, old: Enrollment | undefined) {
  const now = new Date().toISOString()
  return {
    ...given,
    attestation: withKeys(given, old),
    etag: newKey().slice(0, 12),
    createdDateTimeUtc: old?.createdDateTimeUtc ?? now,
    lastUpdatedDateTimeUtc: now,
  }
}

function withKeys({ attestation }: { attestation: Enrollment['attestation'] }, old: Enrollment | undefined) {
  if (attestation.type === 'x509') {
    for (const pem of pemsOf(attestation.x509)) certificateOf(pem)
    return attestation
  }
  const { primaryKey, secondaryKey } = attestation.symmetricKey ?? {}
  const kept = old?.attestation.type === 'symmetricKey' ? old.attestation.symmetricKey : undefined
  for (const key of [primaryKey, secondaryKey]) {
    const size = Buffer.from(key ?? '', 'base64').length
    if (key && (size < 16 || size > 64)) throw invalidArgument('a symmetric key has 16 to 64 bytes')
  }
  const symmetricKey = {
    primaryKey: primaryKey || kept?.primaryKey || newKey(),
    secondaryKey: secondaryKey || kept?.secondaryKey || newKey(),
  }
  return { type: 'symmetricKey' as const, symmetricKey }
}

/** What the service shows: never the keys; those have a call of their own. */
export function shownEnrollment(enrollment: Enrollment): JsonObject {
  const { attestation, ...rest } = enrollment
  const shown =
    attestation.type === 'symmetricKey' ? { type: attestation.type, symmetricKey: {} } : shownX509(attestation)
  return { ...rest, attestation: shown } as unknown as JsonObject
}

/** Each certificate with what the service says of it. */
export function shownX509(attestation: Extract<Enrollment['attestation'], { type: 'x509' }>): JsonObject {
  const text = JSON.stringify(attestation, (_, value) => {
    if (typeof value?.certificate !== 'string' || value.info) return value
    const { fingerprint, fingerprint256, subject, validTo } = certificateOf(value.certificate)
    const [sha1Thumbprint, sha256Thumbprint] = [fingerprint, fingerprint256].map(each => each.replaceAll(':', ''))
    const notAfterUtc = new Date(validTo).toISOString()
    return { ...value, info: { subjectName: subject, sha1Thumbprint, sha256Thumbprint, notAfterUtc } }
  })
  return JSON.parse(text)
}

export function keysOf({ attestation }: Enrollment): { primary: string; secondary: string } | undefined {
  if (attestation.type !== 'symmetricKey') return undefined
  const { primaryKey = '', secondaryKey = '' } = attestation.symmetricKey ?? {}
  return { primary: primaryKey, secondary: secondaryKey }
}

/** The key of one device in a group. The registration id is in lower case. */
export const derivedKey = (groupKey: string, registrationId: string) =>
  createHmac('sha256', Buffer.from(groupKey, 'base64')).update(registrationId).digest('base64')

export type X509Attestation = Extract<Enrollment['attestation'], { type: 'x509' }>['x509']

/** Client certificates, or those that sign; CA references are names. */
export function pemsOf(x509: X509Attestation): string[] {
  const { clientCertificates: own, signingCertificates: signing } = x509
  return [own?.primary, own?.secondary, signing?.primary, signing?.secondary].flatMap(each =>
    each ? [each.certificate] : [],
  )
}

/** PEM, or the base64 of PEM or DER, as the service takes it. Throws HubError (400). */
export function certificateOf(text: string): X509Certificate {
  try {
    return new X509Certificate(text.includes('-----BEGIN') ? text : Buffer.from(text, 'base64'))
  } catch {
    throw invalidArgument('not a certificate')
  }
}
