import { createHash, sign as cryptoSign, type KeyObject } from 'node:crypto'
import { type NamedKey, publicNumbers } from './keys.ts'
import { type PackageDescription, packageContent, signPackage } from './root-key-package.ts'

/** The keys of a signing chain, and some that have no business in it. */
export interface Keys {
  /** Both sign root key packages; the first signs the signing key. */
  readonly roots: readonly [NamedKey, NamedKey]
  readonly signing: NamedKey
  readonly stranger: NamedKey
  /** 1024 bits. */
  readonly short: NamedKey
}

/** JSON as an object, or as the exact text where that matters. */
type JsonText = object | string

/** All parts of a deployment. A change is signed again, unless it changes the signature itself. */
export interface Recipe {
  readonly manifest: JsonText
  readonly workflow: JsonText | null
  readonly fileUrls: unknown
  readonly rootKey: NamedKey
  readonly signingKey: NamedKey
  readonly sjwkHeader: JsonText
  readonly jwk: JsonText
  /** Without `sjwk` when it has one of its own. */
  readonly header: JsonText
  readonly payload: (manifest: string) => JsonText
  /** Of the finished compact JWS. */
  readonly sjwk: (jws: string) => unknown
  readonly signature: (jws: string) => unknown
  /** Of the finished `service`. */
  readonly service: (service: Record<string, unknown>) => unknown
  readonly packageContent: (content: Record<string, unknown>) => JsonText
  readonly packageSigners: readonly NamedKey[]
  readonly package: (text: string) => string
}

export interface Cooked {
  readonly service: unknown
  readonly rootKeyPackage: Buffer
}

export const MANIFEST = {
  manifestVersion: '5',
  updateId: { provider: 'Contoso', name: 'Toaster', version: '1.0.1' },
  compatibility: [{ manufacturer: 'contoso', model: 'toaster' }],
  instructions: {
    steps: [
      {
        handler: 'microsoft/swupdate:2',
        files: ['f06b052ef8f38d681'],
        handlerProperties: { installedCriteria: '1.0.1', swuFileName: 'toaster.swu' },
      },
    ],
  },
  files: {
    f06b052ef8f38d681: {
      fileName: 'toaster.swu',
      sizeInBytes: 1000,
      hashes: { sha256: '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' },
    },
  },
  createdDateTime: '2024-04-04T19:18:19.0123317Z',
} as const

const text = (json: JsonText): string => (typeof json === 'string' ? json : JSON.stringify(json))

/** A deployment and a root key package: right in everything but what `change` says. */
export function cook(keys: Keys, change: Partial<Recipe> = {}): Cooked {
  const { rootKey = keys.roots[0], signingKey = keys.signing } = change
  const manifest = text(change.manifest ?? MANIFEST)
  const { n, e } = publicNumbers(signingKey.privateKey)
  // Standard base64 with padding, as the service writes it.
  const jwk = { kty: 'RSA', n: Buffer.from(n, 'base64url').toString('base64'), e, alg: 'RS256', kid: signingKey.kid }
  const inner = jws(change.sjwkHeader ?? { alg: 'RS256', kid: rootKey.kid }, change.jwk ?? jwk, rootKey.privateKey)
  const sjwk = change.sjwk ? change.sjwk(inner) : inner
  const header = change.header ?? { alg: 'RS256' }
  const whole = typeof header === 'string' ? header.replaceAll('SJWK', String(sjwk)) : { sjwk, ...header }
  const payload = change.payload ?? (signed => ({ sha256: createHash('sha256').update(signed).digest('base64') }))
  const outer = jws(whole, payload(manifest), signingKey.privateKey)
  const service = {
    workflow: change.workflow === undefined ? { action: 3, id: '6423dd30aacfd9abd4f75103' } : change.workflow,
    rootKeyPackageUrl: 'http://contoso.example/westus/rootkeypackages/rootkeypackage-1.json',
    updateManifest: manifest,
    updateManifestSignature: change.signature ? change.signature(outer) : outer,
    fileUrls: 'fileUrls' in change ? change.fileUrls : { f06b052ef8f38d681: 'http://contoso.example/toaster.swu' },
  }
  return { service: change.service ? change.service(service) : service, rootKeyPackage: cookPackage(keys, change) }
}

function cookPackage(keys: Keys, change: Partial<Recipe>): Buffer {
  const description: PackageDescription = { isTest: false }
  const content = packageContent(keys.roots, description) as Record<string, unknown>
  const signers = change.packageSigners ?? keys.roots
  const signed = signPackage(text(change.packageContent ? change.packageContent(content) : content), signers)
  return Buffer.from(change.package ? change.package(signed) : signed)
}

const DIGEST = new Map([
  ['RS384', 'sha384'],
  ['RS512', 'sha512'],
])

/** Signed with the algorithm that the header names, as far as RSA goes. */
function jws(header: JsonText, payload: JsonText, key: KeyObject): string {
  const alg = typeof header === 'string' ? '' : String((header as { alg?: unknown }).alg)
  const signed = [header, payload].map(part => Buffer.from(text(part)).toString('base64url')).join('.')
  return `${signed}.${cryptoSign(DIGEST.get(alg) ?? 'sha256', Buffer.from(signed), key).toString('base64url')}`
}
