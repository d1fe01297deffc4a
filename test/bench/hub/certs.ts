import { X509Certificate } from 'node:crypto'
import { chmod, copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'

/** What a TLS server of the bench needs. `caFile` is where clients find `ca`. All PEM. */
export interface Certificates {
  readonly caFile: string
  readonly ca: string
  readonly key: string
  readonly cert: string
}

/** The name in connection strings, as in the cloud; the preload leads it to the local ports. */
export const BENCH_HOST = 'bench.azure-devices.net'
export const CONTENT_HOST = 'content.bench.local'

/** The names of the provisioning service: of all instances, and of this one. */
export const PROVISIONING_HOSTS = [
  'global.azure-devices-provisioning.net',
  'bench.azure-devices-provisioning.net',
] as const

/** This machine's loopback, as a guest of QEMU's user network sees it. */
export const GUEST_VIEW = '10.0.2.2'

// Wide, because a board without a clock may live in any year.
const START = '20200101000000Z'
const END = '20491231235959Z'

/** One config for both certificates: `openssl ca` is the OpenSSL 3.0 way to choose the start date. */
const CONFIG = `
[req]
distinguished_name = name
prompt = no
[name]
CN = unused
[ca]
default_ca = bench
[bench]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[v3_ca]
basicConstraints = critical, CA:true, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[v3_server]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, DNS:${BENCH_HOST}, DNS:${CONTENT_HOST}, ${PROVISIONING_HOSTS.map(name => `DNS:${name}`).join(', ')}, IP:127.0.0.1, IP:::1, IP:${GUEST_VIEW}
`

/**
 * The private CA and the server certificate in `dir`; made by the first call and read by later ones. A call that was
 * interrupted leaves nothing that a later one would take for complete.
 */
export async function ensureCertificates(dir: string): Promise<Certificates> {
  const stored = await load(dir)
  if (stored && namesAll(stored.cert)) return stored
  const work = `${dir}.new-${process.pid}`
  await rm(work, { recursive: true, force: true })
  await mkdir(work, { recursive: true, mode: 0o700 })
  // A folder of an earlier version: devices trust its CA already, so only the server's certificate is new.
  if (stored) await Promise.all(['ca.key', 'ca.pem'].map(name => copyFile(join(dir, name), join(work, name))))
  await generate(work, stored ? ['server'] : ['ca', 'server'])
  await rm(dir, { recursive: true, force: true })
  await rename(work, dir)
  const made = await load(dir)
  if (!made) throw new Error(`no certificates in ${dir} after making them`)
  return made
}

const namesAll = (cert: string) => PROVISIONING_HOSTS.every(name => new X509Certificate(cert).checkHost(name))

async function load(dir: string): Promise<Certificates | undefined> {
  const caFile = join(dir, 'ca.pem')
  try {
    const [ca, key, cert] = await Promise.all(
      [caFile, join(dir, 'server.key'), join(dir, 'server.pem')].map(file => readFile(file, 'utf8')),
    )
    return { caFile, ca: ca!, key: key!, cert: cert! }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

async function generate(cwd: string, names: readonly string[]): Promise<void> {
  const openssl = (line: string) => execa('openssl', line.split(' '), { cwd })
  const sign = (request: string) =>
    openssl(`ca -config bench.cnf -batch -notext -startdate ${START} -enddate ${END} ${request}`)

  await writeFile(join(cwd, 'bench.cnf'), CONFIG)
  await writeFile(join(cwd, 'index.txt'), '')
  for (const name of names) {
    await openssl(`genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ${name}.key`)
    await chmod(join(cwd, `${name}.key`), 0o600)
    await openssl(`req -new -config bench.cnf -subj /CN=bench-${name} -key ${name}.key -out ${name}.csr`)
  }
  if (names.includes('ca')) await sign('-selfsign -keyfile ca.key -extensions v3_ca -in ca.csr -out ca.pem')
  await sign('-cert ca.pem -keyfile ca.key -extensions v3_server -in server.csr -out server.pem')
}
