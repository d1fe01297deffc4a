import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { runProgram } from './program.ts'

/** Who signs `sw-description`: the certificate is also what a device verifies it with. */
export interface BundleSigner {
  readonly certificate: string
  readonly key: string
}

/** As `openssl ca` takes it. */
const LONG_AGO = '20200101000000Z'

/** Opens the signer kept under `stateDir`, made at the first call; another `name` is another signer. */
export async function openBundleSigner(stateDir: string, name = 'bundle', from = LONG_AGO): Promise<BundleSigner> {
  const home = join(stateDir, `${name}-signer`)
  const signer = { certificate: join(home, 'cert.pem'), key: join(home, 'key.pem') }
  if (await exists(signer.certificate)) return signer
  await mkdir(stateDir, { recursive: true, mode: 0o700 })
  const dir = await mkdtemp(join(stateDir, 'new-'))
  try {
    await makeSigner(dir, name, from)
    // Several processes may be here at once: a folder cannot replace one with content, so the first one stays.
    await rename(dir, home)
  } catch (error) {
    if (!(await exists(signer.certificate))) throw error
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
  return signer
}

/**
 * A board without a clock may believe to be years back, and a certificate that is "not yet valid" there reads as a wrong
 * signature: the certificate begins long before any image. SWUpdate wants extended key usage emailProtection.
 */
async function makeSigner(dir: string, name: string, from: string): Promise<void> {
  const run = (...args: string[]) => runProgram(['openssl', ...args], { cwd: dir })
  await run('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', 'key.pem')
  await run('req', '-new', '-key', 'key.pem', '-subj', `/CN=workbench ${name} signer`, '-out', 'request.pem')
  await runProgram(['sh', '-c', `printf '%s' "$EXTENSIONS" > extensions; : > index; echo 01 > serial`], {
    cwd: dir,
    env: {
      EXTENSIONS:
        '[ca]\ndefault_ca=own\n[own]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=any\n' +
        '[any]\ncommonName=supplied\n' +
        '[signer]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature,keyCertSign\n' +
        'extendedKeyUsage=emailProtection,codeSigning\nsubjectKeyIdentifier=hash\n',
    },
  })
  await run(
    ...['ca', '-batch', '-notext', '-selfsign', '-config', 'extensions', '-extensions', 'signer'],
    ...['-in', 'request.pem', '-keyfile', 'key.pem', '-out', 'cert.pem'],
    ...['-startdate', from, '-enddate', '20491231235959Z'],
  )
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}
