import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { ConfigError, messageOf } from '../../domain/errors.ts'
import { onOneLine } from '../../domain/terminal.ts'
import { type NamedFile, ownersText } from './owners-text.ts'

/** Where a certificate and its private key are. */
export interface CertificateFiles {
  /** PEM: the device's certificate and its intermediate certificates, in any order. */
  readonly certificate: NamedFile
  readonly key: NamedFile
  /** The passphrase of an encrypted key. */
  readonly passphrase: NamedFile | undefined
  /** Setting that names the passphrase, for messages. */
  readonly passphraseSetting: string
}

/** A certificate and its key, for TLS. `key` and `passphrase` are secret. */
export interface CertificatePair {
  /** PEM: the device's own certificate, then its issuer, and so on. */
  readonly chain: string
  /** PEM, as in the file: a key in hardware is only a reference, and cannot be exported. */
  readonly key: string
  readonly passphrase: string | undefined
  readonly leaf: X509Certificate
}

/**
 * Reads both files and checks that they belong together: with an EC certificate and an RSA key OpenSSL would silently connect
 * without a certificate. Errors: as `ownersText`.
 */
export async function readCertificate(files: CertificateFiles): Promise<CertificatePair> {
  const { certificate, key, passphrase } = files
  const pem = await ownersText(certificate, false)
  const keyText = await ownersText(key, true)
  // Editors end the file with a newline, which is not part of the passphrase.
  const phrase = passphrase && (await ownersText(passphrase, true)).replace(/[\r\n]+$/, '')
  const all = certificatesIn(pem, certificate)
  const privateKey = keyIn(keyText, phrase, files)
  const leaf = all.find(each => each.checkPrivateKey(privateKey))
  if (!leaf) {
    throw new ConfigError(
      `${certificate.setting}: ${certificate.path} does not belong to the private key in ${key.path}: they must be a pair`,
    )
  }
  return { chain: upwards(leaf, all).join(''), key: keyText, passphrase: phrase, leaf }
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

function certificatesIn(text: string, { setting, path }: NamedFile): readonly X509Certificate[] {
  const found = text.match(PEM_CERTIFICATE) ?? []
  if (found.length === 0) {
    const isKey = /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/.test(text)
    const why = isKey ? 'holds a private key, not a certificate: the two files are swapped' : 'has no PEM certificate'
    throw new ConfigError(`${setting}: ${path} ${why}`)
  }
  return found.map((pem, index) => {
    try {
      return new X509Certificate(pem)
    } catch (cause) {
      throw new ConfigError(`${setting}: certificate ${index + 1} in ${path} is damaged`, { cause })
    }
  })
}

/** PEM blocks that only name a key, and the provider of OpenSSL that finds it. */
const PROVIDERS = [
  ['TSS2 PRIVATE KEY', 'tpm2'],
  ['PKCS#11 PROVIDER URI', 'pkcs11'],
] as const

function keyIn(text: string, passphrase: string | undefined, { key, ...files }: CertificateFiles): KeyObject {
  const refuse = (why: string, cause?: unknown): ConfigError =>
    new ConfigError(`${key.setting}: ${key.path} ${why}`, { cause })
  if (text.startsWith('pkcs11:')) {
    throw refuse('holds a pkcs11: URI: it must be a PEM file, as the PKCS#11 provider of OpenSSL makes it')
  }
  if (!text.includes('-----BEGIN ')) throw refuse('has no private key in PEM')
  let found: KeyObject
  try {
    found = createPrivateKey({ key: text, ...(passphrase === undefined ? {} : { passphrase }) })
  } catch (cause) {
    const isEncrypted = /ENCRYPTED/.test(text)
    if (isEncrypted && passphrase === undefined) {
      throw refuse(`is encrypted: name a file with its passphrase in ${files.passphraseSetting}`, cause)
    }
    if (isEncrypted) throw refuse(`cannot be decrypted with the passphrase in ${files.passphrase?.path}`, cause)
    if (!/-----BEGIN [^-]*(?:PRIVATE KEY|PROVIDER URI)-----/.test(text)) {
      const isCertificate = text.includes('-----BEGIN CERTIFICATE-----')
      throw refuse(isCertificate ? 'holds a certificate, not a private key' : 'has no private key in PEM', cause)
    }
    const provider = PROVIDERS.find(([block]) => text.includes(`-----BEGIN ${block}-----`))?.[1]
    if (provider) {
      throw refuse(
        `names a key in hardware, which OpenSSL cannot load here (${onOneLine(messageOf(cause))}): this needs the OpenSSL provider ${provider} in Node's configuration (src/config/hardware-keys.md)`,
        cause,
      )
    }
    throw refuse('has a private key that is damaged, or of a kind that OpenSSL does not know here', cause)
  }
  const type = found.asymmetricKeyType
  // A key in hardware may not reveal its type.
  if (type !== undefined && type !== 'rsa' && type !== 'ec')
    throw refuse(`has a key of type ${type}: must be RSA or EC`)
  return found
}

/** `leaf`, its issuer, and so on. The server could not use other certificates. */
export function upwards(leaf: X509Certificate, all: readonly X509Certificate[]): readonly X509Certificate[] {
  const chain = [leaf]
  for (let top = leaf; chain.length < all.length; ) {
    const issuer = all.find(each => !chain.includes(each) && top.checkIssued(each))
    if (!issuer) break
    chain.push(issuer)
    top = issuer
  }
  return chain
}

/** The common name (CN) of the subject; undefined when there is none. */
export const commonName = ({ subject }: X509Certificate): string | undefined => /^CN=(.*)$/m.exec(subject ?? '')?.[1]
