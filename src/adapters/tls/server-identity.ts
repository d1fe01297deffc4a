import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import tls, { type PeerCertificate } from 'node:tls'

/**
 * For `checkServerIdentity` of tls.connect(): whether `certificate` was issued to `host`, a name or an address without
 * brackets. Returns Node's error, or undefined. OpenSSL compares addresses, because Debian 13's Node 20.19 refuses every IPv6
 * address: it compares two spellings of it.
 */
export function checkServerIdentity(host: string, certificate: PeerCertificate): Error | undefined {
  if (isIP(host) !== 0 && certificate.raw && new X509Certificate(certificate.raw).checkIP(host)) return undefined
  return tls.checkServerIdentity(host, certificate)
}
