import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './run.ts'

/** Who signs `sw-description`: the certificate is also what a device verifies it with. */
export interface Signer {
  readonly certificate: string
  readonly key: string
}

/** Opens the signer in the folder `home`, made at the first call. */
export async function openSigner(home: string, name = 'bundle'): Promise<Signer> {
  const signer = { certificate: join(home, 'cert.pem'), key: join(home, 'key.pem') }
  if (await exists(signer.certificate)) return signer
  await mkdir(join(home, '..'), { recursive: true, mode: 0o700 })
  const dir = await mkdtemp(`${home}.new-`)
  try {
    await makeSigner(dir, name)
    // Several processes may be here at once: a folder cannot replace one with content, so the first one stays.
    await rename(dir, home)
  } catch (error) {
    if (!(await exists(signer.certificate))) throw error
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
  return signer
}

/** SWUpdate wants extended key usage emailProtection. */
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

/**
 * A board without a clock may believe to be years back, and a certificate that is "not yet valid" there reads as a wrong
 * signature: the certificate begins long before any image.
 */
async function makeSigner(cwd: string, name: string): Promise<void> {
  const openssl = (...args: string[]) => run(['openssl', ...args], { cwd })
  await writeFile(join(cwd, 'extensions'), EXTENSIONS)
  await writeFile(join(cwd, 'index'), '')
  await writeFile(join(cwd, 'serial'), '01\n')
  await openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', 'key.pem')
  await openssl('req', '-new', '-key', 'key.pem', '-subj', `/CN=${name} signer`, '-out', 'request.pem')
  await openssl(
    ...['ca', '-batch', '-notext', '-selfsign', '-config', 'extensions', '-extensions', 'signer'],
    ...['-in', 'request.pem', '-keyfile', 'key.pem', '-out', 'cert.pem'],
    ...['-startdate', '20200101000000Z', '-enddate', '20491231235959Z'],
  )
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}
