import { messageOf } from '../../domain/errors.ts'

/** Alerts of a server that refuses the client's certificate (RFC 8446, section 6.2; OpenSSL's names). */
const REFUSED =
  /alert ((?:bad|unsupported|revoked|expired|unknown) certificate|certificate (?:revoked|expired|unknown|required)|unknown ca|access denied|handshake failure)\b/i

const UNTRUSTED = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

export const CERTIFICATE_REFUSED = "the server refused this device's certificate"

/** Whether the server has refused this device's certificate. */
export const isCertificateRefused = (error: unknown): boolean => REFUSED.test(messageOf(error))

/** The setting with the certificate authority of a server, and who may need it. */
const CA_SETTING = {
  hub: { who: 'hub, gateway or proxy', setting: 'piAdu.hub.caFile' },
  provisioning: { who: 'provisioning service or proxy', setting: 'piAdu.provisioning.caFile' },
} as const

/** Why a TLS connection failed, in words; the error's own message where it is good enough. */
export function explainTls(error: unknown, server: keyof typeof CA_SETTING = 'hub'): string {
  const message = messageOf(error)
  const alert = REFUSED.exec(message)?.[1]
  if (alert !== undefined) return `${CERTIFICATE_REFUSED}: ${alert.toLowerCase()}`
  const { code = '' } = error as NodeJS.ErrnoException
  if (UNTRUSTED.has(code)) {
    const { who, setting } = CA_SETTING[server]
    return `the server's certificate is not trusted: ${message} (if the ${who} has its own certificate authority, set ${setting})`
  }
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') return `the server's certificate: ${message}`
  return message
}
