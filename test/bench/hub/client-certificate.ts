import { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'

/** The certificates that a client sent: its own first, then upwards. Nothing about them has been checked. */
export type CertificateChain = readonly X509Certificate[]

/** Empty when the client sent none. The server must not resume sessions: a resumed one has forgotten the chain. */
export function chainOf(socket: TLSSocket): CertificateChain {
  const chain: X509Certificate[] = []
  let next = socket.getPeerCertificate(true)
  while (next?.raw) {
    const certificate = new X509Certificate(next.raw)
    if (chain.at(-1)?.fingerprint256 === certificate.fingerprint256) break // a root is its own issuer
    chain.push(certificate)
    next = next.issuerCertificate
  }
  return chain
}

export const isValidAt = (certificate: X509Certificate, now: number) =>
  Date.parse(certificate.validFrom) <= now && now <= Date.parse(certificate.validTo)

/** The subject's common name. */
export const commonName = (certificate: X509Certificate) => /^CN=(.*)$/m.exec(certificate.subject)?.[1]

/**
 * How many certificates lead from the leaf to `authority`, with nothing but what the client sent; undefined when they do not,
 * or when one of them is not valid now.
 */
export function stepsTo(chain: CertificateChain, authority: X509Certificate, now: number): number | undefined {
  const [leaf, ...others] = chain
  if (!leaf || !isValidAt(authority, now)) return undefined
  let current = leaf
  for (let step = 0; step <= others.length; step++) {
    if (!isValidAt(current, now)) return undefined
    if (isIssuedBy(current, authority)) return step
    const issuer = others.find(other => other.fingerprint256 !== current.fingerprint256 && isIssuedBy(current, other))
    if (!issuer) return undefined
    current = issuer
  }
  return undefined
}

const isIssuedBy = (certificate: X509Certificate, issuer: X509Certificate) =>
  issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)

/** Is `thumbprint` (hexadecimal, SHA-1 or SHA-256) that of the certificate? */
export function hasThumbprint(certificate: X509Certificate, thumbprint: string): boolean {
  const plain = (text: string) => text.replaceAll(':', '').toUpperCase()
  return [certificate.fingerprint, certificate.fingerprint256].map(plain).includes(plain(thumbprint))
}
