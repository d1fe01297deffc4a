import { type KeyObject, verify } from 'node:crypto'
import { AgentError } from '../domain/errors.ts'
import { isObject } from '../domain/members.ts'
import type { ErrorCode } from '../domain/result-codes.ts'
import { fromBase64url } from './base64.ts'
import type { Checks } from './checks.ts'
import { readJson, utf8 } from './json.ts'
import { isRevoked, type KeyRing, MIN_KEY_BITS, rsaKey } from './keys.ts'

/** The accepted algorithms. Everything else is refused, `none` and HMAC included. */
const DIGEST: Readonly<Record<string, string>> = { RS256: 'sha256', RS384: 'sha384', RS512: 'sha512' }
const MAX_SIGNATURE_LENGTH = 16 * 1024

function fail(code: ErrorCode, message: string): never {
  throw new AgentError(code, `updateManifestSignature: ${message}`)
}

interface Compact {
  readonly header: string
  readonly payload: string
  readonly signature: string
  /** The bytes that the signature covers: ASCII, as transmitted. */
  readonly signed: Buffer
}

export interface Signed {
  /** Base64url, as transmitted. The signing key is signed by a trusted root key. */
  readonly payload: string
  readonly rootKey: string
  /** The signing key's own name for itself, which the root key has signed too. */
  readonly signingKey: string | undefined
}

/**
 * Verifies the chain root key → signing key → payload (PROTOCOL.md, "Order of verification"). The signing key is always the
 * one in the signature, never a remembered one. Depends on no clock. Errors: AgentError `SIGNATURE_MISSING`, `JWS_…`,
 * `SIGNING_KEY_REVOKED` (PROTOCOL.md, "Codes of a refused signature").
 */
export function verifySignature(jws: unknown, ring: KeyRing, checks: Checks): Signed {
  const { outer, header, inner } = checks.run('structure', () => readChain(jws))
  const root = checks.run(
    'root key',
    () => rootKeyOf(inner, ring),
    ({ kid }) => kid,
  )
  const { key, kid } = checks.run(
    'signing key',
    () => signingKeyOf(inner, root, ring),
    ({ kid }) => `${kid ?? 'unnamed'}, signed by ${root.kid}`,
  )
  checks.run('signature', () => verifyPart(outer, header.alg, key, 'the signing key'))
  return { payload: outer.payload, rootKey: root.kid, signingKey: kid }
}

function readChain(jws: unknown) {
  if (typeof jws !== 'string' || jws === '')
    fail('SIGNATURE_MISSING', 'is missing; unsigned deployments are never taken')
  if (jws.length > MAX_SIGNATURE_LENGTH) fail('JWS_STRUCTURE', `is longer than ${MAX_SIGNATURE_LENGTH} characters`)
  const outer = split(jws, 'the signature')
  const header = object(outer.header, 'the header', 'JWS_HEADER_ENCODING', 'JWS_STRUCTURE')
  if (typeof header.sjwk !== 'string' || header.sjwk === '') fail('JWS_STRUCTURE', 'the header has no sjwk')
  return { outer, header, inner: split(header.sjwk, 'sjwk') }
}

function rootKeyOf(inner: Compact, { rootKeys, disabledRootKeys }: KeyRing) {
  const { kid, alg } = object(inner.header, "sjwk's header", 'JWS_UNUSABLE')
  if (typeof kid !== 'string' || kid === '') fail('JWS_UNUSABLE', "sjwk's header has no kid")
  const name = JSON.stringify(kid.slice(0, 64))
  if (disabledRootKeys.includes(kid)) fail('JWS_ROOT_KEY_DISABLED', `root key ${name} was withdrawn`)
  const root = rootKeys.find(each => each.kid === kid)
  if (!root) fail('JWS_ROOT_KEY_UNKNOWN', `root key ${name} is not trusted by this device`)
  const key = rsaKey(root.n, root.e)
  if (!key) fail('JWS_ROOT_KEY_UNKNOWN', `root key ${name} of this device is not an RSA key`)
  return { kid, alg, key }
}

function signingKeyOf(inner: Compact, root: ReturnType<typeof rootKeyOf>, ring: KeyRing) {
  verifyPart(inner, root.alg, root.key, `root key ${root.kid}`)
  const { kty, n, e, kid } = object(inner.payload, "sjwk's payload", 'JWS_UNUSABLE')
  if (typeof n !== 'string' || n === '' || e !== 'AQAB' || (kty !== undefined && kty !== 'RSA')) {
    fail('JWS_SIGNING_KEY_PAYLOAD', 'the signing key must be an RSA key with n, and with e AQAB')
  }
  const key = rsaKey(n, e)
  if (!key) fail('JWS_SIGNING_KEY_BUILD', `the signing key is not an RSA key of at least ${MIN_KEY_BITS} bits`)
  const name = typeof kid === 'string' ? kid.slice(0, 64) : undefined
  if (isRevoked(key, ring.disabledSigningKeys)) fail('SIGNING_KEY_REVOKED', `signing key ${name ?? ''} was withdrawn`)
  return { key, kid: name }
}

function verifyPart({ signed, signature }: Compact, alg: unknown, key: KeyObject, who: string): void {
  if (alg === undefined) fail('JWS_STRUCTURE', 'a header has no alg')
  const digest = typeof alg === 'string' && Object.hasOwn(DIGEST, alg) ? DIGEST[alg] : undefined
  if (!digest) fail('JWS_SIGNATURE', `alg ${typeof alg === 'string' ? `"${alg.slice(0, 32)}"` : ''} is not accepted`)
  const bytes = fromBase64url(signature)
  if (!bytes || !verifies(digest, signed, key, bytes)) fail('JWS_SIGNATURE', `does not verify with ${who}`)
}

/** RSASSA-PKCS1-v1_5. A key or signature that OpenSSL rejects is not valid. */
export function verifies(digest: string, signed: Buffer, key: KeyObject, signature: Buffer): boolean {
  try {
    return verify(digest, signed, key, signature)
  } catch {
    return false
  }
}

function split(text: string, what: string): Compact {
  const [header, payload, signature, ...more] = text.split('.')
  if (!header || !payload || !signature || more.length > 0) fail('JWS_STRUCTURE', `${what} does not have three parts`)
  return { header, payload, signature, signed: Buffer.from(`${header}.${payload}`) }
}

/** Fails with `encoding` when the text is not base64url, with `content` when it is not an object that `readJson` accepts. */
function object(text: string, what: string, encoding: ErrorCode, content = encoding): Record<string, unknown> {
  const bytes = fromBase64url(text)
  if (!bytes) fail(encoding, `${what} is not base64url`)
  const value = payloadOf(bytes)
  if (!value) fail(content, `${what} is not a JSON object without doubled members`)
  // RFC 7515, section 4.1.11: `crit` names extensions that must be understood, and we know none.
  if (Object.hasOwn(value, 'crit')) fail('JWS_STRUCTURE', `${what} has crit, which no deployment needs`)
  return value
}

/** The JSON object in these bytes; undefined when there is none, or when it is ambiguous. */
export function payloadOf(bytes: Buffer | undefined): Record<string, unknown> | undefined {
  const text = bytes && utf8(bytes)
  if (text === undefined) return undefined
  try {
    const value = readJson(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}
