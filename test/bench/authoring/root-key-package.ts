import { createHash, createPublicKey, sign as cryptoSign, type KeyObject } from 'node:crypto'
import { type NamedKey, publicNumbers } from './keys.ts'

/** What the service says about keys (PROTOCOL.md, "Root key package"). */
export interface PackageDescription {
  readonly isTest?: boolean
  readonly version?: number
  readonly published?: number
  readonly disabledRootKeys?: readonly string[]
  readonly disabledSigningKeys?: readonly { readonly alg: string; readonly hash: string }[]
  /** Other keys than the signers; they come behind these. */
  readonly more?: readonly NamedKey[]
}

/** The `protected` part: the signers' keys first, so that signature i belongs to the i-th key. */
export function packageContent(signers: readonly NamedKey[], description: PackageDescription = {}): object {
  const { isTest = true, version = 1, published = 1_675_972_876, more = [] } = description
  return {
    isTest,
    version,
    published,
    disabledRootKeys: description.disabledRootKeys ?? [],
    disabledSigningKeys: description.disabledSigningKeys ?? [],
    rootKeys: Object.fromEntries(
      [...signers, ...more].map(({ kid, privateKey }) => {
        const { n, e } = publicNumbers(privateKey)
        return [kid, { keyType: 'RSA', n, e: Number.parseInt(Buffer.from(e, 'base64url').toString('hex'), 16) }]
      }),
    ),
  }
}

/** A signed package: each of `signers` signs the text of `content`, which is written as it is. */
export function signPackage(content: string, signers: readonly NamedKey[]): string {
  const signatures = signers.map(({ privateKey }) => ({
    alg: 'RS256',
    sig: cryptoSign('sha256', Buffer.from(content), privateKey).toString('base64url'),
  }))
  return `{"protected":${content},"signatures":${JSON.stringify(signatures)}}`
}

export function rootKeyPackage(signers: readonly NamedKey[], description: PackageDescription = {}): string {
  return signPackage(JSON.stringify(packageContent(signers, description)), signers)
}

/** An entry of `disabledSigningKeys` in either DER form (PROTOCOL.md, "Revoked signing keys"). */
export function withdrawn(
  key: KeyObject,
  alg: 'SHA256' | 'SHA384' | 'SHA512' = 'SHA256',
  type: 'pkcs1' | 'spki' = 'pkcs1',
) {
  const der = createPublicKey(key).export({ type, format: 'der' })
  return { alg, hash: createHash(alg).update(der).digest('base64url') }
}
