import type { X509Certificate } from 'node:crypto'
import { type CertificateChain, commonName, isValidAt, stepsTo } from '../hub/client-certificate.ts'
import { decoded, expiryOf, isSignedBy, parseSas } from '../hub/sas.ts'
import {
  certificateOf,
  derivedKey,
  type Enrollment,
  type Group,
  type Individual,
  keysOf,
  pemsOf,
  type X509Attestation,
} from './enrollments.ts'

/** A device as the provisioning service has recognised it. */
export interface Recognised {
  /** Lower case. */
  readonly registrationId: string
  /** Absent: the id scope is right, but nobody has enrolled this device. */
  readonly enrollment?: Enrollment
  /** Its own or its derived keys, with symmetric keys. */
  readonly keys?: { readonly primary: string; readonly secondary: string }
  /** With X.509. */
  readonly leaf?: X509Certificate
}

export interface Presented {
  readonly idScope: string
  readonly registrationId: string
  readonly token: string | undefined
  readonly chain: CertificateChain
  readonly now: number
}

export interface Directory {
  readonly individual: (registrationId: string) => Individual | undefined
  readonly groups: () => Iterable<Group>
  /** Certificates that the service knows by name. */
  readonly named: (name: string) => string | undefined
}

/** A text is the reason to refuse, for the log only: the client learns 401, or CONNACK 5. */
export function recognise(presented: Presented, directory: Directory): Recognised | string {
  const registrationId = presented.registrationId.toLowerCase()
  if (!/^[a-z0-9\-._:]{0,127}[a-z0-9-]$/.test(registrationId)) return 'not a valid registration id'
  return presented.token === undefined
    ? byCertificate(registrationId, presented, directory)
    : byToken(registrationId, presented.token, presented, directory)
}

function byToken(registrationId: string, text: string, presented: Presented, directory: Directory) {
  const token = parseSas(text)
  if (!token) return 'malformed token'
  // The signature covers the text as written, raw or encoded; what it names is compared without regard to case.
  const wanted = `${presented.idScope}/registrations/${registrationId}`.toLowerCase()
  if (decoded(token.sr)?.toLowerCase() !== wanted) return 'token of another resource'
  if (token.skn !== 'registration') return 'skn is not registration'
  if (expiryOf(token) <= presented.now) return 'token has expired'

  const individual = directory.individual(registrationId)
  if (individual) {
    const keys = keysOf(individual)
    if (!keys) return 'the enrollment wants a certificate'
    return isSignedBy(token, [keys.primary, keys.secondary])
      ? { registrationId, enrollment: individual, keys }
      : 'wrong signature'
  }
  let groups = 0
  for (const group of directory.groups()) {
    const of = keysOf(group)
    if (!of) continue
    groups += 1
    const keys = {
      primary: derivedKey(of.primary, registrationId),
      secondary: derivedKey(of.secondary, registrationId),
    }
    if (isSignedBy(token, [keys.primary, keys.secondary])) return { registrationId, enrollment: group, keys }
  }
  return groups > 0 ? 'wrong signature' : { registrationId }
}

function byCertificate(registrationId: string, { chain, now }: Presented, directory: Directory) {
  const [leaf] = chain
  if (!leaf) return 'neither token nor certificate'
  if (!isValidAt(leaf, now)) return 'the certificate is not valid now'
  if (commonName(leaf)?.toLowerCase() !== registrationId) return 'the certificate has another common name'
  const authorities = (x509: X509Attestation) => {
    const { primary, secondary } = x509.caReferences ?? {}
    const named = [primary, secondary].flatMap(name => (name && directory.named(name)) || [])
    return (x509.signingCertificates ? pemsOf({ signingCertificates: x509.signingCertificates }) : [])
      .concat(named)
      .map(certificateOf)
  }
  const individual = directory.individual(registrationId)
  if (individual) {
    if (individual.attestation.type !== 'x509') return 'the enrollment wants a key'
    const { x509 } = individual.attestation
    const own = x509.clientCertificates ? pemsOf({ clientCertificates: x509.clientCertificates }) : []
    const known =
      own.some(pem => certificateOf(pem).fingerprint256 === leaf.fingerprint256) ||
      authorities(x509).some(authority => stepsTo(chain, authority, now) !== undefined)
    return known ? { registrationId, enrollment: individual, leaf } : 'unknown certificate'
  }
  // The group nearest to the device wins, also when it is disabled.
  let nearest: { enrollment: Group; steps: number } | undefined
  let groups = 0
  for (const enrollment of directory.groups()) {
    if (enrollment.attestation.type !== 'x509') continue
    groups += 1
    for (const authority of authorities(enrollment.attestation.x509)) {
      const steps = stepsTo(chain, authority, now)
      if (steps !== undefined && steps < (nearest?.steps ?? Number.POSITIVE_INFINITY)) nearest = { enrollment, steps }
    }
  }
  if (nearest) return { registrationId, enrollment: nearest.enrollment, leaf }
  return groups > 0 ? 'the chain ends in no group' : { registrationId }
}
