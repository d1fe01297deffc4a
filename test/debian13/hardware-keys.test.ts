import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'

// Run by scripts/test --debian13: the agent's own reading of keys that are in a software TPM and in a software token, with Debian's Node.

const fresh = process.env.FRESH_ROOT ?? assert.fail('run scripts/test --debian13')
const HOME = '/var/tmp/hardware-keys'
const write = (name: string, text: string): void => writeFileSync(join(fresh, HOME, name), text, { mode: 0o600 })

/** As root, in the folder; both outputs together. */
function inside(script: string): { status: number | null; said: string } {
  const argv = [fresh, 'sh', '-euc', `cd ${HOME}; ${script}`]
  const run = spawnSync(join(repositoryRoot(), 'scripts/lib/in-root'), argv, { encoding: 'utf8' })
  return { status: run.status, said: `${run.stdout}${run.stderr}` }
}

function wellInside(script: string): string {
  const { status, said } = inside(script)
  assert.equal(status, 0, said)
  return said
}

const PACKAGES = 'openssl tpm2-openssl swtpm libtss2-tcti-swtpm0t64 pkcs11-provider softhsm2 opensc'

/** Node's and the tool's configuration, as src/config/hardware-keys.md has it. */
const configuration = (provider: string, ...settings: string[]): string =>
  [
    ...['nodejs_conf = init', 'openssl_conf = init', '[init]', 'providers = providers'],
    ...['[providers]', 'default = default_provider', `${provider} = ${provider}_provider`],
    ...['[default_provider]', 'activate = 1', `[${provider}_provider]`, ...settings, 'activate = 1', ''],
  ].join('\n')

/** Reads certificate and key as the agent does, then shows the certificate to a server that asks for it. */
const PROBE = `
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import tls from 'node:tls'
import { readCertificate } from './src/adapters/identity/certificate.js'
import { certificateRequest } from './src/adapters/identity/request.js'
const [name, maxVersion, withRequest] = process.argv.slice(2)
const file = end => ({ setting: end, path: name + '.' + end })
const pair = await readCertificate({ certificate: file('pem'), key: file('key'), passphrase: undefined, passphraseSetting: '' })
if (withRequest) console.log('request', certificateRequest('pi1', createPrivateKey(pair.key)).length > 200)
const own = { key: readFileSync('server.key'), cert: readFileSync('server.pem') }
const server = tls.createServer({ ...own, requestCert: true, rejectUnauthorized: false, maxVersion }).listen(0)
await once(server, 'listening')
const accepted = once(server, 'secureConnection')
const { port } = server.address()
const device = tls.connect({ port, host: 'localhost', ca: own.cert, cert: pair.chain, key: pair.key })
await once(device, 'secureConnect')
const [seen] = await accepted
const shown = new X509Certificate(seen.getPeerCertificate().raw).fingerprint256 === pair.leaf.fingerprint256
console.log(device.getProtocol(), shown)
// Not process.exit: it would leave the key loaded in the TPM.
for (const socket of [seen, device]) socket.destroy()
server.close()
`

before(() => {
  wellInsideRoot(
    `apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq --yes --no-install-recommends install ${PACKAGES}`,
  )
  mkdirSync(join(fresh, HOME), { recursive: true })
  cpSync(join(repositoryRoot(), 'dist/src'), join(fresh, HOME, 'src'), { recursive: true })
  write('package.json', '{"type":"module"}')
  write('probe.mjs', PROBE)
  const server = '-keyout server.key -out server.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost'
  wellInside(`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes ${server} -days 30`)
})

function wellInsideRoot(script: string): void {
  const argv = [fresh, 'sh', '-euc', script]
  const { status, stderr } = spawnSync(join(repositoryRoot(), 'scripts/lib/in-root'), argv, { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
}

const probe = (name: string, version: string, request = ''): string =>
  `NODE_OPTIONS=--openssl-config=${HOME}/${name}.cnf node probe.mjs ${name} ${version} ${request}`

test('a key in a PKCS#11 token: read, a request signed, and shown over TLS 1.2 and 1.3', () => {
  write('softhsm2.conf', `directories.tokendir = ${HOME}/tokens\nobjectstore.backend = file\n`)
  write('pin', '5678')
  const module = 'pkcs11-module-path = /usr/lib/softhsm/libsofthsm2.so'
  const pin = `pkcs11-module-token-pin = file:${HOME}/pin`
  write('pkcs11.cnf', configuration('pkcs11', module, pin, 'pkcs11-module-quirks = no-deinit'))
  const der = (type: number, content: Buffer): Buffer => Buffer.concat([Buffer.of(type, content.length), content])
  const uri = Buffer.from('pkcs11:token=pi;object=device;type=private')
  const named = der(0x30, Buffer.concat([der(0x1a, Buffer.from('PKCS#11 Provider URI v1.0')), der(0x0c, uri)]))
  const lines = named
    .toString('base64')
    .match(/.{1,64}/g)
    ?.join('\n')
  write('pkcs11.key', `-----BEGIN PKCS#11 PROVIDER URI-----\n${lines}\n-----END PKCS#11 PROVIDER URI-----\n`)
  const hsm = `export SOFTHSM2_CONF=${HOME}/softhsm2.conf; `
  const token = 'pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --login --pin 5678'
  wellInside(
    `${hsm} mkdir tokens; softhsm2-util --init-token --free --label pi --so-pin 1234 --pin 5678
    ${token} --keypairgen --key-type EC:prime256v1 --label device --id 01
    OPENSSL_CONF=pkcs11.cnf openssl req -x509 -new -key pkcs11.key -out pkcs11.pem -subj /CN=pi1 -days 30`,
  )
  const said = wellInside(`${hsm} ${probe('pkcs11', 'TLSv1.2', 'request')}; ${probe('pkcs11', 'TLSv1.3')}`)
  assert.deepEqual(said.trim().split('\n'), ['request true', 'TLSv1.2 true', 'TLSv1.3 true'])
})

test('a key in a TPM: read, and shown over TLS 1.2 and 1.3', () => {
  write('tpm2.cnf', configuration('tpm2'))
  // All of it in one call: the TPM ends with it. A software TPM has no resource manager, so each process connects once.
  const port = (number: number): string => `type=tcp,port=${number},bindaddr=127.0.0.1`
  const said = wellInside(
    `mkdir tpm
    swtpm socket --tpm2 --tpmstate dir=${HOME}/tpm --server ${port(23210)} --ctrl ${port(23211)} --flags not-need-init,startup-clear --daemon
    export TPM2OPENSSL_TCTI=swtpm:host=127.0.0.1,port=23210
    openssl genpkey -provider default -provider tpm2 -propquery provider=tpm2 -algorithm EC -pkeyopt group:P-256 -out tpm2.key
    OPENSSL_CONF=tpm2.cnf openssl req -x509 -new -key tpm2.key -out tpm2.pem -subj /CN=pi1 -days 30
    ${probe('tpm2', 'TLSv1.2')}
    ${probe('tpm2', 'TLSv1.3')}`,
  )
  assert.deepEqual(said.trim().split('\n').slice(-2), ['TLSv1.2 true', 'TLSv1.3 true'], said)
})

test('without the configuration it is one sentence', () => {
  for (const [name, provider] of [
    ['pkcs11', 'pkcs11'],
    ['tpm2', 'tpm2'],
  ]) {
    const { status, said } = inside(`node probe.mjs ${name} TLSv1.3`)
    assert.notEqual(status, 0)
    assert.match(
      said,
      new RegExp(`key: ${name}\\.key names a key in hardware.*the OpenSSL provider ${provider} in Node's`),
    )
  }
})
