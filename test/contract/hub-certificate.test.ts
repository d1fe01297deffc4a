import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, type TestContext } from 'node:test'
import tls from 'node:tls'
import { promisify } from 'node:util'
import { CertificateIdentity } from '../../src/adapters/identity/certificate-identity.ts'
import { ConnectionStringIdentity } from '../../src/adapters/identity/connection-string.ts'
import type { HubProtocol } from '../../src/adapters/iot-hub/hub-socket.ts'
import { IotHub } from '../../src/adapters/iot-hub/iot-hub.ts'
import { leanMqtt } from '../../src/adapters/iot-hub/lean-mqtt.ts'
import { explainTls } from '../../src/adapters/tls/words.ts'
import { startHub } from '../bench/hub/hub.ts'
import { METHOD_CALLS } from '../bench/hub/topics.ts'
import { folder } from '../identity/files.ts'

// A device that proves itself by a certificate, and what it says when a certificate is refused, on either side.

const { path, text, write, certificate, expired } = folder()
certificate('root', { ca: true })
certificate('middle', { ca: true, issuer: 'root' })
certificate('pi', { issuer: 'middle' })
certificate('server', { cn: 'localhost' })
certificate('stranger', { cn: 'pi' })

const signal = new AbortController().signal
const state = await mkdtemp(join(tmpdir(), 'hub-certificate-'))
const bench = await startHub({ stateDir: state })
after(async () => {
  await bench.stop()
  await rm(state, { recursive: true })
})
leanMqtt()

const log = { debug() {}, info() {}, error() {}, warn() {} }
const named = (name: string) => ({ setting: name, path: path(name) })

const settings = {
  time: { behind: () => 0, seen: async () => {}, explain: (message: string) => message },
  ...{ modelId: 'dtmi:test;1', productInfo: 'test', keepAliveSeconds: 60, tokenSeconds: 3600 },
  proxies: { httpProxy: undefined, httpsProxy: undefined, noProxy: [] },
  answerTimeout: 10_000,
}

function hub(connection: string, ca: string | undefined, pair = 'pi', protocol: HubProtocol = 'mqtt') {
  const files = {
    ...{ certificate: named(`${pair}.pem`), key: named(`${pair}.key`) },
    ...{ passphrase: undefined, passphraseSetting: '' },
  }
  return new IotHub({ ...settings, identity: new CertificateIdentity(connection, files, log), ca, protocol })
}

const at = (port: number) => `HostName=localhost:${port};DeviceId=pi;x509=true`
const says = (message: RegExp) => ({ name: 'HubError', message })

test('a device known by its thumbprint: twin, reports and methods; the gateway is where it connects to', async () => {
  bench.createDevice('thumb', { thumbprint: new X509Certificate(text('pi.pem')).fingerprint256.replaceAll(':', '') })
  const gateway = `HostName=${bench.hostName};DeviceId=thumb;GatewayHostName=localhost:${bench.mqttPort}`
  for (const connection of [gateway, `HostName=localhost:${bench.mqttPort};DeviceId=thumb;x509=true`]) {
    const connected = await hub(connection, bench.ca).connect(signal)
    bench.updateDesired('thumb', { value: 1 })
    const { desired } = await connected.readTwin(signal)
    assert.equal((desired as { value: unknown }).value, 1)
    await connected.report({ seen: 1 }, signal)
    assert.equal(bench.getTwin('thumb').properties.reported.seen, 1)
    const leaf = new X509Certificate(text('pi.pem'))
    assert.deepEqual(bench.getTwin('thumb').properties.reported.piAdu, {
      certificate: {
        sha256: leaf.fingerprint256.replaceAll(':', ''),
        notAfter: new Date(leaf.validTo).toISOString(),
      },
    })
    await connected.close()
  }
})

/** Twin, reports, desired patches and methods, under the id that the bench has for it. */
async function worksAs(id: string, side: IotHub): Promise<void> {
  const connection = await side.connect(signal)
  await connection.readTwin(signal)
  const patched = new Promise<unknown>(resolve => connection.onDesired(resolve))
  bench.updateDesired(id, { wanted: 1 })
  assert.equal(((await patched) as { wanted: unknown }).wanted, 1)
  await connection.report({ seen: id }, signal)
  assert.equal(bench.getTwin(id).properties.reported.seen, id)
  connection.serve(async (name, payload) => ({ status: 200, payload: { name, payload } }))
  await bench.waitFor(() => bench.isSubscribed(id, METHOD_CALLS))
  const answer = await bench.invokeMethod(id, 'reboot', { now: true }, { responseMs: 5000 })
  assert.deepEqual(answer.payload, { name: 'reboot', payload: { now: true } })
  await connection.close()
}

for (const protocol of ['mqtt', 'mqtt/ws'] as const) {
  test(`a module with a key, one with a certificate, and a device of an authority, over ${protocol}`, async () => {
    const device = protocol === 'mqtt' ? 'edge' : 'edge-ws'
    const form = { webSocket: protocol === 'mqtt/ws' }
    bench.createDevice(device)
    bench.createModule(device, 'du')
    const identity = new ConnectionStringIdentity(() => bench.deviceConnectionString(`${device}/du`, form))
    await worksAs(`${device}/du`, new IotHub({ ...settings, identity, ca: bench.ca, protocol }))
    // The device's own twin is another one.
    assert.equal(bench.getTwin(device).properties.reported.seen, undefined)

    bench.addAuthority(text('root.pem'))
    for (const [id, make] of [
      [device, () => bench.createModule(device, 'certified', { caSigned: true })],
      [`${device}-ca`, () => bench.createDevice(`${device}-ca`, { caSigned: true })],
    ] as const) {
      make()
      const name = id === device ? `${device}/certified` : id
      const pair = name.replace('/', '-')
      certificate(pair, { cn: name, issuer: 'middle' })
      write(`${pair}.pem`, text(`${pair}.pem`) + text('middle.pem'))
      await worksAs(name, hub(bench.deviceConnectionString(name, form), bench.ca, pair, protocol))
    }
  })
}

test('a certificate that the hub does not know is "Not authorized"', async () => {
  bench.createDevice('pi', { thumbprint: new X509Certificate(text('pi.pem')).fingerprint256.replaceAll(':', '') })
  await assert.rejects(hub(at(bench.mqttPort), bench.ca, 'stranger').connect(signal), says(/not authorized/i))
})

/** A server of OpenSSL that knows only `root`, and says so as TLS has it. */
async function strictServer(t: TestContext, version: '-tls1_2' | '-tls1_3', more: readonly string[]): Promise<number> {
  const port = await freePort()
  const certificates = ['-cert', path('server.pem'), '-key', path('server.key'), '-CAfile', path('root.pem')]
  const refuse = ['-Verify', '3', '-verify_return_error', '-quiet', ...more]
  const process: ChildProcess = spawn(
    'openssl',
    ['s_server', '-port', `${port}`, version, ...certificates, ...refuse],
    {
      stdio: ['pipe', 'ignore', 'pipe'],
    },
  )
  t.after(() => process.kill('SIGKILL'))
  for (;;) {
    const reached = await new Promise<boolean>(resolve => {
      const probe = tls.connect({ port, rejectUnauthorized: false })
      probe
        .once('secureConnect', () => resolve(true))
        // The code: with two addresses to try the message is empty.
        .once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'ECONNREFUSED'))
    })
    if (reached) return port
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

for (const version of ['-tls1_2', '-tls1_3'] as const) {
  test(`a server that refuses the certificate in the handshake is quoted (${version})`, async t => {
    const port = await strictServer(t, version, [])
    const refused = /^the server refused this device's certificate: (unknown ca|bad certificate)$/
    await assert.rejects(hub(at(port), text('server.pem'), 'stranger').connect(signal), says(refused))
  })

  test(`a server that ends the connection without a word leaves the cause open (${version})`, async t => {
    const limits = version === '-tls1_2' ? { maxVersion: 'TLSv1.2' as const } : {}
    const server = tls.createServer({ key: text('server.key'), cert: text('server.pem'), requestCert: true, ...limits })
    server.listen(0)
    t.after(() => server.close())
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const open = /\(the network, or the hub has refused this device's certificate\)$/
    await assert.rejects(hub(at(port), text('server.pem'), 'stranger').connect(signal), says(open))
  })
}

const SOCKET = new URL('../../src/adapters/iot-hub/hub-socket.js', import.meta.url)
/** Prints why there is no socket. In a process of its own, because loading WebSockets for the first time takes a while. */
const KNOCK = `
const { openHubSocket } = await import(${JSON.stringify(SOCKET)})
const { hostName, ca, chain, key } = JSON.parse(process.env.KNOCK)
const certificate = { kind: 'x509', chain, key, passphrase: undefined }
const proxies = { http: undefined, https: undefined, except: [] }
const route = { server: 'hub', hostName, protocol: 'mqtt/ws', ca, certificate, proxies }
await openHubSocket(route, new AbortController().signal).then(() => console.log('open'), error => console.log(error.message))
`

async function knockAt(port: number): Promise<string> {
  const told = { ca: text('server.pem'), chain: text('stranger.pem'), key: text('stranger.key') }
  const env = { ...process.env, KNOCK: JSON.stringify({ hostName: `localhost:${port}`, ...told }) }
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', KNOCK], { env })
  return stdout.trim()
}

test('a refusal just after the handshake, over WebSockets, is an error and not the end of the process', async t => {
  const port = await strictServer(t, '-tls1_3', [])
  assert.match(await knockAt(port), /^the server refused this device's certificate: (unknown ca|bad certificate)$/)

  const server = tls.createServer({ key: text('server.key'), cert: text('server.pem'), requestCert: true })
  let raw: Socket | undefined
  server.on('connection', socket => {
    raw = socket
  })
  server.on('secureConnection', socket => {
    socket.on('error', () => {})
    raw?.resetAndDestroy()
  })
  server.listen(0)
  t.after(() => server.close())
  await once(server, 'listening')
  assert.match(await knockAt((server.address() as AddressInfo).port), /ECONNRESET|closed|hang up|disconnected/)
})

test('a server whose authority nobody trusts, or whose certificate has expired, is told from a dead network', async t => {
  expired('old', 'server.key', 'localhost')
  for (const [cert, ca, message] of [
    ['server.pem', undefined, /^the server's certificate is not trusted: .*set piAdu\.hub\.caFile\)$/],
    ['old.pem', 'old.pem', /^the server's certificate: certificate has expired$/],
  ] as const) {
    const server = tls.createServer({ key: text('server.key'), cert: text(cert) }).listen(0)
    t.after(() => server.close())
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await assert.rejects(hub(at(port), ca && text(ca)).connect(signal), says(message))
  }
  await assert.rejects(hub(at(await freePort()), undefined).connect(signal), says(/^connect ECONNREFUSED/))
})

test('other errors of TLS keep their words', () => {
  const error = Object.assign(new Error('certificate is not yet valid'), { code: 'CERT_NOT_YET_VALID' })
  assert.equal(explainTls(error), "the server's certificate: certificate is not yet valid")
  for (const [alert, words] of [
    [
      'ssl3_read_bytes:sslv3 alert certificate expired:ssl/record/rec_layer_s3.c:1605:SSL alert number 45',
      'certificate expired',
    ],
    ['ssl/tls alert certificate revoked', 'certificate revoked'],
    ['tlsv13 alert certificate required', 'certificate required'],
  ] as const) {
    assert.equal(explainTls(new Error(alert)), `the server refused this device's certificate: ${words}`)
  }
  assert.equal(explainTls(new Error('getaddrinfo ENOTFOUND hub')), 'getaddrinfo ENOTFOUND hub')
  assert.equal(explainTls(new Error('alert protocol version')), 'alert protocol version')
})
