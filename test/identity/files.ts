import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { least } from '../config/examples.ts'

/** A folder for one test file, with certificates as openssl makes them. */
export function folder() {
  const dir = mkdtempSync(join(tmpdir(), 'identity-'))
  after(() => rmSync(dir, { recursive: true }))
  const path = (name: string): string => join(dir, name)
  const text = (name: string): string => readFileSync(path(name), 'utf8')
  const write = (name: string, content: string | Buffer, mode = 0o600): string => {
    writeFileSync(path(name), content, { mode })
    return path(name)
  }
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' })
  // The system's own configuration would add extensions of its own.
  write('req.cnf', '[req]\ndistinguished_name = name\n[name]\n')
  /** `NAME.pem` and `NAME.key`, signed by `issuer` or by itself. */
  const certificate = (
    name: string,
    { cn = name, issuer, kind = 'ec', ca = false, days = 30 }: CertificateOptions = {},
  ): void => {
    const key = {
      ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
      rsa: ['-newkey', 'rsa:2048'],
      ed25519: ['-newkey', 'ed25519'],
    }[kind]
    const signer = issuer === undefined ? [] : ['-CA', `${issuer}.pem`, '-CAkey', `${issuer}.key`]
    const basic = `basicConstraints=critical,CA:${ca}`
    const subject = `/CN=${cn.replaceAll('/', '\\/')}`
    const files = ['-nodes', '-keyout', `${name}.key`, '-out', `${name}.pem`]
    openssl(
      'req',
      '-x509',
      '-config',
      'req.cnf',
      ...key,
      ...files,
      '-subj',
      subject,
      '-days',
      `${days}`,
      '-addext',
      basic,
      ...signer,
    )
  }
  /** `NAME.pem` for the key `NAME.key` with the subject `CN=cn`, which expired in 2020: only `openssl ca` takes a start and an end. */
  const expired = (name: string, key: string, cn: string): void => {
    write(
      `${name}.cnf`,
      `[ca]\ndefault_ca = own\n[own]\ndatabase = ${name}.index\nnew_certs_dir = .\nrand_serial = yes\npolicy = any\n[any]\ncommonName = supplied\n`,
    )
    write(`${name}.index`, '')
    openssl('req', '-new', '-config', 'req.cnf', '-key', key, '-subj', `/CN=${cn}`, '-out', `${name}.csr`)
    const dates = ['-startdate', '20200101000000Z', '-enddate', '20200102000000Z', '-md', 'sha256']
    openssl(
      'ca',
      '-config',
      `${name}.cnf`,
      '-batch',
      '-notext',
      ...dates,
      '-selfsign',
      '-keyfile',
      key,
      '-in',
      `${name}.csr`,
      '-out',
      `${name}.pem`,
    )
  }
  return { dir, path, text, write, openssl, expired, certificate }
}

interface CertificateOptions {
  readonly cn?: string
  readonly issuer?: string
  readonly kind?: 'ec' | 'rsa' | 'ed25519'
  readonly ca?: boolean
  readonly days?: number
}

// biome-ignore lint/suspicious/noExplicitAny: tests change it in every way
type Any = Record<string, any>

/** A configuration of a device with a certificate. */
export function x509(certificate: string, key: string, source: Any = {}): Any {
  const config: Any = least()
  config.agents[0].connectionSource = {
    connectionType: 'X509',
    connectionData: 'HostName=hub.example.com;DeviceId=pi1;x509=true',
    connectionX509CertFilePath: certificate,
    connectionX509PrivateKeyFilePath: key,
    ...source,
  }
  return config
}
