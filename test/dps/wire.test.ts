import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { execa } from 'execa'
import { type Credential, selfSignedDevice } from '../bench/dps/authority.ts'
import type { BenchHub } from '../bench/hub/hub.ts'
import { connectPacket, RawClient } from '../hub/raw-mqtt.ts'
import { aHub, tempDir, within } from '../hub/support.ts'
import { RawProvisioning } from './support.ts'

// What is on the wire, rule by rule, where Microsoft's client shows only the good case.

const SYMMETRIC = { attestation: { type: 'symmetricKey' } }
const CSR_VERSION = '2026-11-01'

async function aFleet(t: TestContext, more: object = {}) {
  const hub = await aHub(t)
  hub.provisioning.enrollGroup({ enrollmentGroupId: 'fleet', ...SYMMETRIC, ...more })
  return { hub, dps: hub.provisioning, key: (id: string) => hub.provisioning.deviceKey('fleet', id) }
}

test('who may connect', async t => {
  const { hub, dps, key } = await aFleet(t)
  const token = (sr: string, expires?: number) => RawProvisioning.token(hub, 'pi', key('pi'), sr, expires)
  const past = Date.now() / 1000 - 1
  type Options = Parameters<typeof RawProvisioning.connect>[3]
  const cases: [what: string, credential: { key?: string; token?: string }, options: Options, code: number][] = [
    ['resource encoded', {}, {}, 0],
    ['resource raw', { token: token(`${dps.idScope}/registrations/pi`) }, {}, 0],
    ['client id in other case', {}, { clientId: 'PI' }, 0],
    ['another client id', {}, { clientId: 'other' }, 5],
    ['unknown scope', {}, { scope: '0ne00FFFFFF' }, 5],
    ['unknown version', {}, { version: '2001-01-01' }, 5],
    ['preview version', {}, { version: '2026-11-02-preview' }, 0],
    ['key of another device', { key: key('other') }, {}, 5],
    ['token of another device', { token: token(`${dps.idScope}/registrations/other`) }, {}, 5],
    ['expired', { token: token(`${dps.idScope}/registrations/pi`, past) }, {}, 5],
    ['no token', { token: '' }, {}, 5],
    ['garbage', { token: 'SharedAccessSignature x' }, {}, 5],
  ]
  for (const [what, credential, options, code] of cases) {
    const { returnCode, client } = await RawProvisioning.connect(hub, 'pi', { key: key('pi'), ...credential }, options)
    assert.equal(returnCode, code, what)
    client.raw.socket.destroy()
  }
})

test('subscriptions, operations and their owners', async t => {
  const { hub, dps, key } = await aFleet(t)
  dps.settings.polls = 2
  dps.settings.retryAfterSeconds = 7
  const pi = await RawProvisioning.open(t, hub, 'pi', key('pi'))
  assert.deepEqual(await pi.subscribe('$dps/registrations/res/#', 2), [1])
  assert.deepEqual(await pi.subscribe('$iothub/twin/res/#'), [128])

  const first = await pi.register()
  assert.equal(first.status, 202)
  assert.equal(first.retryAfter, '7')
  assert.equal(first.body.status, 'assigning')
  assert.match(first.body.operationId, /^5\.[0-9a-f]{16}\.[0-9a-f-]{36}$/)
  const stranger = await RawProvisioning.open(t, hub, 'other', key('other'))
  assert.equal((await stranger.poll(first.body.operationId)).status, 404)
  assert.equal((await pi.poll('5.0.nothing')).status, 404)

  // A client that has lost its connection polls on.
  pi.raw.socket.destroy()
  const again = await RawProvisioning.open(t, hub, 'pi', key('pi'))
  assert.equal((await again.poll(first.body.operationId)).status, 202)
  assert.equal((await again.poll(first.body.operationId)).retryAfter, '7')
  const { status, body } = await again.poll(first.body.operationId)
  assert.equal(status, 200)
  assert.equal(body.registrationState.deviceId, 'pi')
  assert.equal(dps.registrationsOf('pi'), 1)

  assert.equal((await again.register({ registrationId: 'other' })).body.errorCode, 400004)
  assert.equal((await again.register('text')).status, 400)
  assert.equal((await again.register({ registrationId: 'pi', payload: [1] })).status, 400)
  again.raw.send(Buffer.from([0x30, 0x03, 0x00, 0x01, 0x41]))
  await within(5000, again.raw.closed)
})

test('without a subscription nothing is answered', async t => {
  const { hub, key } = await aFleet(t)
  const { client } = await RawProvisioning.connect(hub, 'pi', { key: key('pi') })
  t.after(() => client.raw.socket.destroy())
  await assert.rejects(within(500, client.register()), /not settled/)
  assert.equal(client.raw.packets.filter(({ cmd }) => cmd === 'puback').length, 1)
})

test('nobody has enrolled the device, no hub to assign, enrolment disabled', async t => {
  const hub = await aHub(t)
  const stranger = await RawProvisioning.open(t, hub, 'stranger', Buffer.alloc(32).toString('base64'))
  const { status, body } = await stranger.register()
  assert.deepEqual([status, body.errorCode, typeof body.trackingId], [404, 404201, 'string'])

  const enrol = (registrationId: string, more: object) => {
    const { attestation } = hub.provisioning.enroll({ registrationId, ...SYMMETRIC, ...more })
    return (attestation.type === 'symmetricKey' && attestation.symmetricKey?.primaryKey) || ''
  }
  const lost = await RawProvisioning.open(t, hub, 'lost', enrol('lost', { iotHubHostName: 'gone.azure-devices.net' }))
  const failed = (await lost.assign()).body
  assert.deepEqual([failed.status, failed.registrationState.errorCode], ['failed', 400208])
  const off = await RawProvisioning.open(t, hub, 'off', enrol('off', { provisioningStatus: 'disabled' }))
  assert.equal((await off.assign()).body.status, 'disabled')
  hub.provisioning.setEnrollmentStatus('off', 'enabled')
  assert.equal((await off.assign()).body.status, 'assigned')
})

for (const [what, reprovisionPolicy, substatus, kept] of [
  ['moves a device with its twin', { updateHubAssignment: true, migrateDeviceData: true }, 'deviceDataMigrated', 'old'],
  ['moves a device and resets it', { updateHubAssignment: true, migrateDeviceData: false }, 'deviceDataReset', 'first'],
  ['leaves a device where it is', { updateHubAssignment: false, migrateDeviceData: false }, 'initialAssignment', 'old'],
] as const) {
  test(`a second registration ${what}, as the policy says`, async t => {
    const [hub, other] = [await aHub(t), await aHub(t)]
    const { provisioning: dps } = hub
    dps.linkHub(other.assignable)
    const initialTwin = { properties: { desired: { whose: 'first' } } }
    dps.enrollGroup({
      enrollmentGroupId: 'fleet',
      ...SYMMETRIC,
      reprovisionPolicy,
      initialTwin,
      allocationPolicy: 'custom',
    })
    let target = 0
    dps.settings.customAllocation = ({ hubs }) => ({ iotHubHostName: hubs[target]! })
    const pi = await RawProvisioning.open(t, hub, 'pi', dps.deviceKey('fleet', 'pi'))
    assert.equal((await pi.assign()).body.registrationState.assignedHub, `localhost:${hub.mqttPort}`)
    hub.updateDesired('pi', { whose: 'old' })
    target = 1
    const state = (await pi.assign()).body.registrationState
    assert.equal(state.substatus, substatus)
    const moves = reprovisionPolicy.updateHubAssignment
    assert.equal(state.assignedHub, `localhost:${(moves ? other : hub).mqttPort}`)
    assert.equal(hub.hasDevice('pi'), !moves)
    assert.equal((moves ? other : hub).getTwin('pi').properties.desired.whose, kept)
  })
}

test('a device that the hub has lost is made again; a new certificate becomes its credential', async t => {
  const hub = await aHub(t)
  const [first, second] = [await selfSignedDevice('pi'), await selfSignedDevice('pi')]
  const places = { primary: { certificate: first.cert }, secondary: { certificate: second.cert } }
  hub.provisioning.enroll({
    registrationId: 'pi',
    attestation: { type: 'x509', x509: { clientCertificates: places } },
  })
  const assign = async (tls: Credential) => {
    const { returnCode, client } = await RawProvisioning.connect(hub, 'pi', { tls })
    assert.equal(returnCode, 0)
    await client.subscribe()
    const { body } = await client.assign()
    client.raw.socket.destroy()
    return body.registrationState
  }
  assert.equal((await assign(first)).x509.certificateInfo.subjectName, 'CN=pi')
  assert.equal(await codeAtHub(hub, 'pi', first), 0)
  await assign(second)
  assert.equal(await codeAtHub(hub, 'pi', first), 5)
  assert.equal(await codeAtHub(hub, 'pi', second), 0)
  hub.deleteDevice('pi')
  await assign(second)
  assert.equal(await codeAtHub(hub, 'pi', second), 0)
})

async function codeAtHub(hub: BenchHub, id: string, tls: Credential) {
  const client = await RawClient.open(hub, tls)
  client.send(connectPacket(hub, id))
  const { returnCode } = await client.got('connack')
  client.socket.destroy()
  return returnCode
}

/** A request made by openssl: base64 of its DER, and its key. */
async function aRequest(t: TestContext, commonName: string) {
  const dir = await tempDir(t)
  const line = `req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem -outform DER -out r.der -subj /CN=${commonName}`
  await execa('openssl', line.split(' '), { cwd: dir })
  const csr = (await readFile(join(dir, 'r.der'))).toString('base64')
  return { csr, key: await readFile(join(dir, 'k.pem'), 'utf8') }
}

const asPem = (der: string) => new X509Certificate(Buffer.from(der, 'base64')).toString()

test('a certificate request is answered by a new certificate, which the hub accepts', async t => {
  const { hub, dps, key } = await aFleet(t, { credentialPolicyName: 'bench' })
  dps.setCertificateLife(3600)
  const pi = await RawProvisioning.open(t, hub, 'pi', key('pi'), CSR_VERSION)
  const { csr, key: own } = await aRequest(t, 'pi')
  const chain: string[] = (await pi.assign({ registrationId: 'pi', csr })).body.registrationState.issuedCertificateChain
  const [leaf, intermediate, root] = chain.map(der => new X509Certificate(Buffer.from(der, 'base64')))
  assert.equal(chain.length, 3)
  assert.equal(leaf?.subject, 'CN=pi')
  assert.ok(leaf?.checkIssued(intermediate!) && intermediate?.checkIssued(root!) && root?.checkIssued(root))
  assert.equal(root?.publicKey.asymmetricKeyDetails?.namedCurve, 'secp384r1')
  const left = Date.parse(leaf!.validTo) - Date.now()
  assert.ok(left > 3_500_000 && left < 3_700_000, `${left} ms`)
  const tls = { key: own, cert: chain.slice(0, 2).map(asPem).join('') }
  assert.equal(await codeAtHub(hub, 'pi', tls), 0)
  assert.equal(await codeAtHub(hub, 'pi', { ...tls, cert: asPem(chain[0]!) }), 5, 'without the intermediate')

  const second = (await pi.assign({ registrationId: 'pi', csr })).body.registrationState.issuedCertificateChain
  assert.notEqual(second[0], chain[0])
  assert.equal((await pi.assign()).body.registrationState.issuedCertificateChain, undefined)
})

test('a certificate request that is refused', async t => {
  const { hub, dps, key } = await aFleet(t, { credentialPolicyName: 'bench' })
  const { csr } = await aRequest(t, 'pi')
  const pi = await RawProvisioning.open(t, hub, 'pi', key('pi'), CSR_VERSION)
  const broken = Buffer.from(csr, 'base64')
  broken[broken.length - 3]! ^= 1
  const bad: [what: string, csr: unknown][] = [
    ['another name', (await aRequest(t, 'other')).csr],
    ['wrong signature', broken.toString('base64')],
    ['PEM', `-----BEGIN CERTIFICATE REQUEST-----\n${csr}`],
    ['not a request', 'AAAA'],
    ['a number', 7],
  ]
  for (const [what, value] of bad) {
    assert.equal((await pi.register({ registrationId: 'pi', csr: value })).status, 400, what)
  }
  const old = await RawProvisioning.open(t, hub, 'pi', key('pi'), '2021-10-01')
  assert.equal((await old.register({ registrationId: 'pi', csr })).status, 400)
  dps.enrollGroup({ enrollmentGroupId: 'plain', ...SYMMETRIC })
  const plain = await RawProvisioning.open(t, hub, 'p', dps.deviceKey('plain', 'p'), CSR_VERSION)
  assert.equal((await plain.register({ registrationId: 'p', csr: (await aRequest(t, 'p')).csr })).status, 400)
})

for (const profile of [undefined, null, 'classic', 'mqttV5', 'nonsense']) {
  test(`connectionProfile ${profile}`, async t => {
    const { hub, dps, key } = await aFleet(t)
    dps.settings.connectionProfile = profile
    const pi = await RawProvisioning.open(t, hub, 'pi', key('pi'))
    assert.equal((await pi.assign()).body.registrationState.connectionProfile, profile)
  })
}

/** A call over HTTPS. */
function call(
  hub: BenchHub,
  method: string,
  path: string,
  options: { token?: string; tls?: Credential; body?: object },
) {
  // biome-ignore lint/suspicious/noExplicitAny: the tests look into whatever came
  return new Promise<{ status: number | undefined; retryAfter: string | undefined; body: any }>((resolve, reject) => {
    const sending = request(
      {
        host: 'localhost',
        port: hub.restPort,
        ca: hub.ca,
        method,
        path,
        ...options.tls,
        headers: { ...(options.token && { Authorization: options.token }), 'Content-Type': 'application/json' },
        agent: false,
      },
      response => {
        const chunks: Buffer[] = []
        response.on('data', chunk => chunks.push(chunk))
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          const retryAfter = response.headers['retry-after']
          resolve({ status: response.statusCode, retryAfter, body: text ? JSON.parse(text) : undefined })
        })
      },
    )
    sending.on('error', reject)
    sending.end(options.body && JSON.stringify(options.body))
  })
}

test('over HTTPS: register, poll, look up; with a token and with a certificate', async t => {
  const { hub, dps, key } = await aFleet(t)
  const path = (rest: string, id = 'pi') => `/${dps.idScope}/registrations/${id}${rest}?api-version=2021-10-01`
  const token = RawProvisioning.token(hub, 'pi', key('pi'))
  assert.equal((await call(hub, 'POST', path(''), { token })).body.errorCode, 404202)
  const { status, retryAfter, body } = await call(hub, 'PUT', path('/register'), {
    token,
    body: { registrationId: 'pi' },
  })
  assert.deepEqual([status, retryAfter, body.status], [202, '1', 'assigning'])
  const poll = () => call(hub, 'GET', path(`/operations/${body.operationId}`), { token })
  let outcome = await poll()
  while (outcome.status === 202) outcome = await poll()
  assert.equal(outcome.body.registrationState.assignedHub, `localhost:${hub.mqttPort}`)
  assert.equal((await call(hub, 'POST', path(''), { token, body: {} })).body.deviceId, 'pi')
  assert.equal((await call(hub, 'POST', path(''), { token, body: { csr: 'x' } })).status, 400)
  assert.equal((await call(hub, 'PUT', path('/register'), { body: {} })).body.errorCode, 401002)
  assert.equal((await call(hub, 'PUT', path('/register').replace(dps.idScope, '0ne00FFFFFF'), { token })).status, 404)

  const tls = await selfSignedDevice('pi-x')
  const clientCertificates = { primary: { certificate: tls.cert } }
  dps.enroll({ registrationId: 'pi-x', attestation: { type: 'x509', x509: { clientCertificates } } })
  const more = { tls, body: { registrationId: 'pi-x' } }
  assert.equal((await call(hub, 'PUT', path('/register', 'pi-x'), more)).status, 202)

  hub.faults.inject({ kind: 'provisioning', at: 'register', do: { do: 'fail', status: 429, retryAfter: '9' } })
  const throttled = await call(hub, 'PUT', path('/register'), { token, body: { registrationId: 'pi' } })
  assert.deepEqual([throttled.status, throttled.retryAfter], [429, '9'])
  hub.faults.inject({ kind: 'provisioning', at: 'register', do: { do: 'cut' } })
  await assert.rejects(call(hub, 'PUT', path('/register'), { token, body: { registrationId: 'pi' } }), /hang up|reset/i)
})

test('enrolments and registrations outlive a restart', async t => {
  const stateDir = await tempDir(t)
  const first = await aHub(t, { stateDir })
  first.provisioning.enrollGroup({ enrollmentGroupId: 'fleet', ...SYMMETRIC })
  const key = first.provisioning.deviceKey('fleet', 'pi')
  const before = (await (await RawProvisioning.open(t, first, 'pi', key)).assign()).body.registrationState
  await first.stop()
  const second = await aHub(t, { stateDir })
  assert.equal(second.provisioning.deviceKey('fleet', 'pi'), key)
  const after = (await (await RawProvisioning.open(t, second, 'pi', key)).assign()).body.registrationState
  assert.equal(after.createdDateTimeUtc, before.createdDateTimeUtc)
})
