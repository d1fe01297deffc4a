import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import { fromBase64 } from './base64.ts'
import type { RootKey } from './root-keys.ts'

/** Minimum length of every key of the chain (PROTOCOL.md, "Key size and algorithms"). */
export const MIN_KEY_BITS = 2048

/** PROTOCOL.md, "Revoked signing keys". */
export interface KeyHash {
  readonly alg: 'SHA256' | 'SHA384' | 'SHA512'
  readonly hash: Buffer
}

/** Everything that decides which signatures are accepted. */
export interface KeyRing {
  readonly rootKeys: readonly RootKey[]
  readonly disabledRootKeys: readonly string[]
  readonly disabledSigningKeys: readonly KeyHash[]
}

/**
 * A public RSA key from modulus and exponent. The service sends them in either base64 alphabet, padded or not, the modulus
 * with a sign byte (PROTOCOL.md, "Signature"). Undefined for an unusable or too short key.
 */
export function rsaKey(n: string, e: string): KeyObject | undefined {
  const modulus = fromBase64(n)
  const exponent = fromBase64(e)
  if (!modulus || !exponent) return undefined
  const start = Math.max(
    modulus.findIndex(byte => byte !== 0),
    0,
  )
  try {
    const key = createPublicKey({
      key: { kty: 'RSA', n: modulus.subarray(start).toString('base64url'), e: exponent.toString('base64url') },
      format: 'jwk',
    })
    return (key.asymmetricKeyDetails?.modulusLength ?? 0) >= MIN_KEY_BITS ? key : undefined
  } catch {
    return undefined
  }
}

/** A key is revoked if either of its DER forms is listed (PROTOCOL.md, "Revoked signing keys"). */
export function isRevoked(key: KeyObject, revoked: readonly KeyHash[]): boolean {
  const forms = (['pkcs1', 'spki'] as const).map(type => key.export({ type, format: 'der' }))
  return revoked.some(({ alg, hash }) => forms.some(der => createHash(alg).update(der).digest().equals(hash)))
}
