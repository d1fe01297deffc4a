import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { keptFile } from './state-dir.ts'

/** A key pair of the signing chain and the name it goes by. */
export interface NamedKey {
  readonly kid: string
  readonly privateKey: KeyObject
}

/** A root key as the agent's configuration lists it: modulus and exponent in base64url. */
export interface RootKeyJwk {
  readonly kid: string
  readonly n: string
  readonly e: string
}

/** The author's side of the deployment signature: the root key signs the signing key, the signing key signs manifests. */
export interface Authority {
  readonly rootKey: NamedKey
  readonly signingKey: NamedKey
  readonly rootKeyJwks: readonly RootKeyJwk[]
}

// The service's sizes: root keys of 3072 bits, signing keys of 2048.
const ROOT_KEY_BITS = 3072
const SIGNING_KEY_BITS = 2048

/** Opens the authority kept under `stateDir`; its keys are made at the first call. */
export async function openAuthority(stateDir: string, rootKid = 'BENCH.ROOT.1'): Promise<Authority> {
  const [rootKey, signingKey] = await Promise.all([
    keptKey(stateDir, rootKid, ROOT_KEY_BITS),
    keptKey(stateDir, `${rootKid}.S`, SIGNING_KEY_BITS),
  ])
  return { rootKey, signingKey, rootKeyJwks: [{ kid: rootKey.kid, ...publicNumbers(rootKey.privateKey) }] }
}

/** Modulus and exponent of a key, in base64url, without a leading zero byte. */
export function publicNumbers(key: KeyObject): { n: string; e: string } {
  const { n, e } = createPublicKey(key).export({ format: 'jwk' })
  if (n === undefined || e === undefined) throw new TypeError('not an RSA key')
  return { n, e }
}

async function keptKey(stateDir: string, kid: string, bits: number): Promise<NamedKey> {
  const pem = await keptFile(join(stateDir, `${kid}.pem`), async () => {
    const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: bits })
    return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  })
  return { kid, privateKey: createPrivateKey(pem) }
}
