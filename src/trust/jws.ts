import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { AgentError } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/result-codes.ts'
import type { RootKey } from './root-keys.ts'

/** The only algorithms that are looked up: everything else, `none` and HMAC included, is refused. */
const DIGEST: Readonly<Record<string, string>> = { RS256: 'sha256', RS384: 'sha384', RS512: 'sha512' }
const MIN_SIGNING_KEY_BITS = 2048
const MAX_SIGNATURE_LENGTH = 16 * 1024

function fail(code: ErrorCode, message: string): never {
  throw new AgentError(code, `updateManifestSignature: ${message}`)
}

interface Compact {
  readonly header: string
  readonly payload: string
  readonly signature: Buffer
  /** What the signature covers: the ASCII bytes as transmitted. */
  readonly signed: Buffer
}

/**
 * Verifies the chain root key → signing key → payload (protocol, chapter 4.4) and gives the payload's members.
 * Depends on no clock. Errors: AgentError `JWS_…`, one for each row of chapter 4.7.
 */
export function verifySignature(jws: string, rootKeys: readonly RootKey[]): Record<string, unknown> {
  if (jws.length > MAX_SIGNATURE_LENGTH) fail('JWS_STRUCTURE', `is longer than ${MAX_SIGNATURE_LENGTH} characters`)
  const outer = split(jws, 'the signature')
  const header = object(outer.header, 'JWS_HEADER_ENCODING', 'the header')
  if (typeof header.sjwk !== 'string' || header.sjwk === '') fail('JWS_STRUCTURE', 'the header has no sjwk')
  const signingKey = verifySigningKey(header.sjwk, rootKeys)
  check(outer, header.alg, signingKey, 'the signing key')
  return object(outer.payload, 'JWS_UNUSABLE', 'the payload')
}

function verifySigningKey(sjwk: string, rootKeys: readonly RootKey[]): KeyObject {
  const inner = split(sjwk, 'sjwk')
  const header = object(inner.header, 'JWS_UNUSABLE', "sjwk's header")
  const { kid } = header
  if (typeof kid !== 'string' || kid === '') fail('JWS_UNUSABLE', "sjwk's header has no kid")
  const root = rootKeys.find(key => key.kid === kid)
  if (!root) fail('JWS_ROOT_KEY_UNKNOWN', `root key "${kid.slice(0, 64)}" is not trusted by this device`)
  if (header.alg === undefined) fail('JWS_STRUCTURE', "sjwk's header has no alg")
  check(inner, header.alg, rsaKey(root.n, root.e), `root key ${kid}`)
  const jwk = object(inner.payload, 'JWS_UNUSABLE', "sjwk's payload")
  const { n, e } = jwk
  if (typeof n !== 'string' || n === '' || e !== 'AQAB') {
    fail('JWS_SIGNING_KEY_PAYLOAD', 'the signing key needs n and e, and e must be AQAB')
  }
  const key = rsaKey(n, e)
  if ((key.asymmetricKeyDetails?.modulusLength ?? 0) < MIN_SIGNING_KEY_BITS) {
    fail('JWS_SIGNING_KEY_BUILD', `the signing key is shorter than ${MIN_SIGNING_KEY_BITS} bits`)
  }
  return key
}

/** Real service data has `n` in the standard alphabet, with padding and a sign byte; the standard says otherwise (4.2). */
export function rsaKey(n: string, e: string): KeyObject {
  try {
    const bytes = Buffer.from(n, 'base64')
    const start = bytes.findIndex(byte => byte !== 0)
    const modulus = bytes.subarray(Math.max(start, 0)).toString('base64url')
    return createPublicKey({ key: { kty: 'RSA', n: modulus, e }, format: 'jwk' })
  } catch (cause) {
    throw new AgentError('JWS_SIGNING_KEY_BUILD', 'updateManifestSignature: a key cannot be built', { cause })
  }
}

function check({ signed, signature }: Compact, alg: unknown, key: KeyObject, who: string): void {
  const digest = typeof alg === 'string' && Object.hasOwn(DIGEST, alg) ? DIGEST[alg] : undefined
  if (!digest) fail('JWS_SIGNATURE', `alg ${JSON.stringify(alg)?.slice(0, 40)} is not accepted`)
  if (!verify(digest, signed, key, signature)) fail('JWS_SIGNATURE', `does not verify with ${who}`)
}

function split(text: string, what: string): Compact {
  const parts = text.split('.')
  const [header, payload, signature] = parts
  if (parts.length !== 3 || !header || !payload || !signature) {
    fail('JWS_STRUCTURE', `${what} has not three parts`)
  }
  return {
    header,
    payload,
    signature: bytesOf(signature, 'JWS_STRUCTURE', what),
    signed: Buffer.from(`${header}.${payload}`),
  }
}

function bytesOf(text: string, code: ErrorCode, what: string): Buffer {
  if (!/^[\w-]+$/.test(text)) fail(code, `${what} is not base64url`)
  return Buffer.from(text, 'base64url')
}

function object(text: string, code: ErrorCode, what: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(bytesOf(text, code, what).toString())
  } catch (error) {
    if (error instanceof AgentError) throw error
    fail(code, `${what} is not JSON`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(code, `${what} is not an object`)
  return value as Record<string, unknown>
}
