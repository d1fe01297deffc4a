import { AgentError } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/result-codes.ts'
import { fromBase64, fromBase64url } from './base64.ts'
import { JsonError, type JsonNode, parseJson, plain, utf8 } from './json.ts'
import { verifies } from './jws.ts'
import { type KeyHash, rsaKey } from './keys.ts'
import type { RootKey } from './root-keys.ts'

/** PROTOCOL.md, "Limits on signed input". */
export const MAX_PACKAGE_BYTES = 256 * 1024

/** The service's statement about keys, with verified signatures (PROTOCOL.md, "Root key package"). */
export interface RootKeyPackage {
  readonly isTest: boolean
  readonly version: number
  /** Unix seconds. */
  readonly published: number
  readonly disabledRootKeys: readonly string[]
  readonly disabledSigningKeys: readonly KeyHash[]
  readonly rootKeys: readonly RootKey[]
  /** The signed text; packages with equal text are equal. */
  readonly text: string
}

/** Keys that do not come from a package; they verify packages. */
export interface Anchors {
  /** The production keys. */
  readonly builtIn: readonly RootKey[]
  /** From configuration, for a bench; empty on a device in the field. */
  readonly configured: readonly RootKey[]
}

/**
 * Reads a package from the network or the store. *Every* built-in key must have signed it. On a device with configured root
 * keys, a package that all of those have signed is accepted too, because a bench cannot sign with Microsoft's keys.
 * Errors: AgentError `PACKAGE_…` (PROTOCOL.md, "Root key package").
 */
export function readRootKeyPackage(bytes: Buffer, { builtIn, configured }: Anchors): RootKeyPackage {
  if (bytes.length > MAX_PACKAGE_BYTES) fail('PACKAGE_JSON', `is larger than ${MAX_PACKAGE_BYTES} bytes`)
  const root = members(parse(bytes), 'PACKAGE_JSON', 'the file')
  const signedPart = root.get('protected')
  if (!signedPart) fail('PACKAGE_NO_PROTECTED', 'has no protected')
  const text = signedPart.compact()
  const content = { ...readProtected(signedPart), text }
  const signatures = readSignatures(root.get('signatures'))
  const anchors = configured.length > 0 ? [builtIn, configured] : [builtIn]
  const complaints = anchors.map(keys => complaintOf(keys, content, signedForms(signedPart), signatures))
  // A bad signature is more informative than a missing one, which is normal for the other set of keys.
  const worst = complaints.find(each => each?.code === 'PACKAGE_SIGNATURE') ?? complaints.at(-1)
  if (worst && !complaints.includes(undefined)) throw worst
  if (content.isTest && configured.length === 0) {
    fail('PACKAGE_IS_TEST', 'is a test package, and this device has production keys only')
  }
  return content
}

/** Why a package is not signed by all of `keys`. Signature i belongs to the i-th member of rootKeys, in document order. */
function complaintOf(
  keys: readonly RootKey[],
  { rootKeys }: Pick<RootKeyPackage, 'rootKeys'>,
  signed: readonly Buffer[],
  signatures: readonly Buffer[],
): AgentError | undefined {
  if (keys.length === 0) return new AgentError('PACKAGE_NO_ANCHOR', 'rootKeyPackage: there is no key to verify it with')
  for (const { kid, n, e } of keys) {
    const signature = signatures[rootKeys.findIndex(each => each.kid === kid)]
    if (!signature) return new AgentError('PACKAGE_UNSIGNED', `rootKeyPackage: has no signature by root key ${kid}`)
    // Verified with our own modulus, never with the one that the package claims for this name.
    const key = rsaKey(n, e)
    if (!key || !signed.some(bytes => verifies('sha256', bytes, key, signature))) {
      return new AgentError('PACKAGE_SIGNATURE', `rootKeyPackage: the signature of root key ${kid} does not verify`)
    }
  }
  return undefined
}

/**
 * The bytes that may have been signed: the text without white space, and the output of the reference's serializer, with `/`
 * escaped or not. All of them mean the same, so it is safe to try each (PROTOCOL.md, "Root key package").
 */
function signedForms(node: JsonNode): readonly Buffer[] {
  const normal = serialized(node)
  return [...new Set([node.compact(), normal, normal.replaceAll('/', '\\/')])].map(text => Buffer.from(text))
}

function serialized({ value }: JsonNode): string {
  if (value instanceof Map) {
    return `{${[...value].map(([key, node]) => `${JSON.stringify(key)}:${serialized(node)}`).join()}}`
  }
  return Array.isArray(value) ? `[${value.map(serialized).join()}]` : JSON.stringify(value)
}

function parse(bytes: Buffer): JsonNode {
  const text = utf8(bytes)
  if (text === undefined) fail('PACKAGE_JSON', 'is not UTF-8')
  try {
    return parseJson(text)
  } catch (error) {
    if (error instanceof JsonError) fail('PACKAGE_JSON', error.plain)
    throw error
  }
}

function readProtected(node: JsonNode): Omit<RootKeyPackage, 'text'> {
  const part = members(node, 'PACKAGE_NO_PROTECTED', 'protected')
  const { isTest = false } = { isTest: part.get('isTest')?.value }
  if (typeof isTest !== 'boolean') fail('PACKAGE_JSON', 'isTest is not true or false')
  const version = part.get('version')?.value
  if (!isCount(version)) fail('PACKAGE_VERSION', 'version is not a whole number above 0')
  const published = part.get('published')?.value
  if (!isCount(published)) fail('PACKAGE_PUBLISHED', 'published is not a time in seconds above 0')
  return {
    isTest,
    version,
    published,
    disabledRootKeys: elements(part.get('disabledRootKeys'), 'PACKAGE_DISABLED_ROOT_KEYS', 'disabledRootKeys').map(
      kidOf,
    ),
    disabledSigningKeys: elements(
      part.get('disabledSigningKeys'),
      'PACKAGE_DISABLED_SIGNING_KEYS',
      'disabledSigningKeys',
    ).map(readKeyHash),
    rootKeys: readRootKeys(part.get('rootKeys')),
  }
}

function readRootKeys(node: JsonNode | undefined): readonly RootKey[] {
  if (!(node?.value instanceof Map)) fail('PACKAGE_ROOT_KEYS', 'has no rootKeys')
  if (node.value.size === 0) fail('PACKAGE_ROOT_KEYS_EMPTY', 'rootKeys is empty')
  return [...node.value].map(([kid, entry], index) => {
    // The name is left out, because the package is unverified.
    const which = `root key ${index + 1}`
    if (kid === '') fail('PACKAGE_KEY_ID', 'rootKeys has a key without a name')
    const { keyType, n, e } = object(entry, 'PACKAGE_KEY_PARAMETERS', which)
    if (keyType === undefined) fail('PACKAGE_KEY_TYPE_MISSING', `${which} has no keyType`)
    if (keyType !== 'RSA') fail('PACKAGE_KEY_TYPE', `${which} is not of keyType RSA`)
    if (typeof n !== 'string' || !fromBase64(n)) fail('PACKAGE_MODULUS', `the n of ${which} is not base64url`)
    if (!isCount(e)) fail('PACKAGE_EXPONENT', `the e of ${which} is not a number`)
    const exponent = exponentText(e)
    if (!rsaKey(n, exponent)) fail('PACKAGE_KEY_PARAMETERS', `${which} is not an RSA key of a safe length`)
    return { kid, n, e: exponent }
  })
}

function readKeyHash(node: JsonNode): KeyHash {
  const { alg, hash } = object(node, 'PACKAGE_SIGNING_KEY_ENTRY', 'an entry of disabledSigningKeys')
  if (alg === undefined) fail('PACKAGE_HASH_ALG_MISSING', 'an entry of disabledSigningKeys has no alg')
  if (alg !== 'SHA256' && alg !== 'SHA384' && alg !== 'SHA512') {
    fail('PACKAGE_HASH_ALG', 'an entry of disabledSigningKeys has another alg than SHA256, SHA384, SHA512')
  }
  return { alg, hash: base64Of(hash, 'hash') }
}

function readSignatures(node: JsonNode | undefined): readonly Buffer[] {
  const all = elements(node, 'PACKAGE_SIGNATURES', 'signatures')
  if (all.length === 0) fail('PACKAGE_SIGNATURES_EMPTY', 'signatures is empty')
  return all.map(each => {
    const { alg, sig } = object(each, 'PACKAGE_SIGNATURE_ENTRY', 'an entry of signatures')
    if (alg === undefined) fail('PACKAGE_SIGNATURE_ALG_MISSING', 'an entry of signatures has no alg')
    if (typeof alg !== 'string' || !/^RS(256|384|512)$/.test(alg)) {
      fail('PACKAGE_SIGNATURE_ALG', 'an entry of signatures has another alg than RS256, RS384, RS512')
    }
    return base64Of(sig, 'sig')
  })
}

function base64Of(text: unknown, name: string): Buffer {
  if (typeof text !== 'string' || text === '') fail('PACKAGE_HASH_OR_SIG', `has an entry without ${name}`)
  return fromBase64url(text.replace(/={1,2}$/, '')) ?? fail('PACKAGE_ENCODING', `has a ${name} that is not base64url`)
}

function kidOf({ value }: JsonNode): string {
  if (typeof value !== 'string' || value === '')
    fail('PACKAGE_KEY_ID', 'disabledRootKeys has an entry that is not a name')
  return value
}

function members(node: JsonNode, code: ErrorCode, what: string): ReadonlyMap<string, JsonNode> {
  return node.value instanceof Map ? node.value : fail(code, `${what} is not an object`)
}

function elements(node: JsonNode | undefined, code: ErrorCode, what: string): readonly JsonNode[] {
  return Array.isArray(node?.value) ? (node.value as readonly JsonNode[]) : fail(code, `${what} is not a list`)
}

function object(node: JsonNode, code: ErrorCode, what: string): Record<string, unknown> {
  members(node, code, what)
  return plain(node) as Record<string, unknown>
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0

/** Big-endian, as in a JWK. */
function exponentText(e: number): string {
  const hex = e.toString(16)
  return Buffer.from(hex.length % 2 ? `0${hex}` : hex, 'hex').toString('base64url')
}

function fail(code: ErrorCode, message: string): never {
  throw new AgentError(code, `rootKeyPackage: ${message}`)
}

/** Whether `next` may replace `stored`: a replay would undo revocations (PROTOCOL.md, "Age of a package"). */
export function compareAge(stored: RootKeyPackage, next: RootKeyPackage): 'same' | 'newer' | 'older' {
  if (next.text === stored.text) return 'same'
  if (next.version !== stored.version) return next.version > stored.version ? 'newer' : 'older'
  return next.published > stored.published ? 'newer' : 'older'
}
