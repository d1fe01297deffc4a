import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EXIT, Failure } from '../failure.ts'
import { runProgram } from '../program.ts'

/** Certificates with openssl, which every office has. Keys are on disk only in folders that others cannot read. */

export interface Signer {
  /** PEM. */
  readonly certificate: string
  readonly keyFile: string
  readonly passphraseFile?: string | undefined
}

export interface Life {
  readonly from: Date
  readonly until: Date
}

export type Kind = 'root' | 'intermediate' | 'device'

/** `openssl ca` can choose the first day in every version of OpenSSL 3. */
const CONFIG = `
[req]
distinguished_name = name
prompt = no
[name]
CN = unused
[ca]
default_ca = signer
[signer]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[intermediate]
basicConstraints = critical, CA:true, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[device]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
`

/** A private key as PEM. */
export function newPrivateKey(namedCurve: 'P-256' | 'P-384'): string {
  return generateKeyPairSync('ec', {
    namedCurve,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  }).privateKey
}

/** A request for this key, PEM. */
export const requestFor = (key: string, commonName: string): Promise<string> =>
  inFolder({ key }, async dir => {
    const subject = `/CN=${commonName.replace(/[\\/+]/g, '\\$&')}`
    const options = ['-config', join(dir, 'ca.cnf'), '-utf8', '-subj', subject]
    return (await runProgram(['openssl', 'req', '-new', '-key', join(dir, 'key'), ...options])).toString()
  })

/**
 * The certificate (PEM) for a request (PEM). Without `signer` it signs itself with `key`. Errors: Failure, also when the request
 * was not signed by its own key.
 */
export const signRequest = (
  request: string,
  kind: Kind,
  { from, until }: Life,
  by: { readonly signer: Signer } | { readonly key: string },
): Promise<string> =>
  inFolder(
    { request, index: '', ...('signer' in by ? { cert: by.signer.certificate } : { key: by.key }) },
    async dir => {
      const file = (name: string) => join(dir, name)
      const who =
        'signer' in by
          ? ['-cert', file('cert'), '-keyfile', by.signer.keyFile, ...passphrase(by.signer.passphraseFile)]
          : ['-selfsign', '-keyfile', file('key')]
      const dates = ['-startdate', asn1(from), '-enddate', asn1(until)]
      const options = ['-config', file('ca.cnf'), '-batch', '-notext', '-extensions', kind, ...dates]
      await runProgram(['openssl', 'ca', ...options, ...who, '-in', file('request'), '-out', file('out')])
      // openssl ends with 0 when the request was not signed by its own key, and writes nothing.
      const signed = await readFile(file('out'), 'utf8').catch(() => '')
      if (signed === '')
        throw new Failure(EXIT.failed, 'openssl did not sign: the request is not signed by its own key')
      return signed
    },
  )

/** The same key, encrypted with the first line of the file. */
export const encryptedKey = (key: string, passphraseFile: string): Promise<string> =>
  inFolder({ key }, async dir => {
    const options = ['-topk8', '-v2', 'aes-256-cbc', '-in', join(dir, 'key'), '-passout', `file:${passphraseFile}`]
    return (await runProgram(['openssl', 'pkcs8', ...options])).toString()
  })

const passphrase = (file: string | undefined): string[] => (file === undefined ? [] : ['-passin', `file:${file}`])

const asn1 = (date: Date): string => `${date.toISOString().replace(/[-:T]|\..*/g, '')}Z`

async function inFolder<T>(files: Readonly<Record<string, string>>, work: (dir: string) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), 'pi-adu-operator-'))
  try {
    const config = CONFIG.replace('index.txt', join(dir, 'index')).replace('= .\n', `= ${dir}\n`)
    for (const [name, text] of Object.entries({ 'ca.cnf': config, ...files })) {
      await writeFile(join(dir, name), text, { mode: 0o600 })
    }
    return await work(dir)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** The first certificate in a PEM text. Errors: Failure that names the file. */
export function firstCertificate(pem: string, file: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (cause) {
    throw new Failure(EXIT.usage, `${file} is not a certificate in PEM`, { cause })
  }
}

/** SHA-256 in hexadecimal, as the service writes it. */
export const thumbprintOf = ({ fingerprint256 }: X509Certificate): string => fingerprint256.replaceAll(':', '')
