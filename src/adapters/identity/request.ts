import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

/** A new key that has never left this device, PEM; secret. */
export const newPrivateKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

/** A certificate request (PKCS #10, RFC 2986) for an EC key, in base64 of DER. Node has no function for it. */
export function certificateRequest(commonName: string, key: KeyObject): string {
  const name = sequence(set(sequence(COMMON_NAME, der(UTF8_STRING, Buffer.from(commonName)))))
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' })
  const info = sequence(VERSION, name, publicKey, NO_ATTRIBUTES)
  const signature = der(BIT_STRING, Buffer.concat([Buffer.of(0), sign('sha256', info, key)]))
  return sequence(info, sequence(ECDSA_WITH_SHA256), signature).toString('base64')
}

const UTF8_STRING = 0x0c
const BIT_STRING = 0x03
const VERSION = Buffer.from('020100', 'hex')
const NO_ATTRIBUTES = Buffer.from('a000', 'hex')
/** Object identifiers 2.5.4.3 and 1.2.840.10045.4.3.2. */
const COMMON_NAME = Buffer.from('0603550403', 'hex')
const ECDSA_WITH_SHA256 = Buffer.from('06082a8648ce3d040302', 'hex')

const sequence = (...parts: readonly Buffer[]): Buffer => der(0x30, Buffer.concat(parts))
const set = (...parts: readonly Buffer[]): Buffer => der(0x31, Buffer.concat(parts))

/** Type, length and content (X.690, 8.1). */
function der(type: number, content: Buffer): Buffer {
  const { length } = content
  if (length < 128) return Buffer.concat([Buffer.of(type, length), content])
  const bytes = length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.of(type, ...bytes), content])
}
