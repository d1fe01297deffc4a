import { createHash, sign as cryptoSign } from 'node:crypto'
import { type Authority, type NamedKey, publicNumbers } from './keys.ts'

/**
 * `updateManifestSignature` for the exact text of an update manifest: a compact JWS whose header carries the signing key,
 * itself signed by the root key (`sjwk`): PROTOCOL.md, "Signature".
 */
export function signManifest(text: string, authority: Authority): string {
  const payload = { sha256: createHash('sha256').update(text, 'utf8').digest('base64') }
  return compactJws({ alg: 'RS256', sjwk: signedJwk(authority) }, payload, authority.signingKey)
}

/** The signing key's JWK, signed by the root key. */
export function signedJwk({ rootKey, signingKey }: Authority): string {
  const { n, e } = publicNumbers(signingKey.privateKey)
  // The service writes the numbers in standard base64 with padding, though JWK asks for base64url.
  const standard = (number: string) => Buffer.from(number, 'base64url').toString('base64')
  const jwk = { kty: 'RSA', n: standard(n), e: standard(e), alg: 'RS256', kid: signingKey.kid }
  return compactJws({ alg: 'RS256', kid: rootKey.kid }, jwk, rootKey)
}

/** RS256 over `header.payload` as they are sent. */
export function compactJws(header: object, payload: object, key: NamedKey): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${part(header)}.${part(payload)}`
  return `${signed}.${cryptoSign('sha256', Buffer.from(signed), key.privateKey).toString('base64url')}`
}
