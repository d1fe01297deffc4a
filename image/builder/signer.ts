import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Signer } from '../../src/operator/bundle/pack.ts'
import { run } from './run.ts'

/**
 * A board without a clock may be years behind, and SWUpdate reports a certificate that is "not yet valid" as a wrong
 * signature. So the certificate begins long before any image. In the format of `openssl ca`.
 */
const LONG_AGO = '20200101000000Z'

/** Opens the signer in `home`, or creates it: a key, and a certificate for `name` that is valid from `from`. */
export async function openSigner(home: string, name = 'bundle', from = LONG_AGO): Promise<Signer> {
  const signer = { certificate: join(home, 'cert.pem'), key: join(home, 'key.pem') }
  if (await exists(signer.certificate)) return signer
  await mkdir(join(home, '..'), { recursive: true, mode: 0o700 })
  const dir = await mkdtemp(`${home}.new-`)
  try {
    await makeSigner(dir, name, from)
    // Several processes may get here at once. A rename cannot replace a folder that has files, so the first one stays.
    await rename(dir, home)
  } catch (error) {
    if (!(await exists(signer.certificate))) throw error
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
  return signer
}

/** SWUpdate requires the extended key usage emailProtection. */
const EXTENSIONS = `[ca]
default_ca = own
[own]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
[any]
commonName = supplied
[signer]
basicConstraints = critical,CA:TRUE
keyUsage = critical,digitalSignature,keyCertSign
extendedKeyUsage = emailProtection,codeSigning
subjectKeyIdentifier = hash
`

async function makeSigner(cwd: string, name: string, from: string): Promise<void> {
  const openssl = (...args: string[]) => run(['openssl', ...args], { cwd })
  await writeFile(join(cwd, 'extensions'), EXTENSIONS)
  await writeFile(join(cwd, 'index'), '')
  await writeFile(join(cwd, 'serial'), '01\n')
  await openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', 'key.pem')
  await openssl('req', '-new', '-key', 'key.pem', '-subj', `/CN=${name} signer`, '-out', 'request.pem')
  await openssl(
    ...['ca', '-batch', '-notext', '-selfsign', '-config', 'extensions', '-extensions', 'signer'],
    ...['-in', 'request.pem', '-keyfile', 'key.pem', '-out', 'cert.pem'],
    ...['-startdate', from, '-enddate', '20491231235959Z'],
  )
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}
