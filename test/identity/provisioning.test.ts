import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { AssignmentFile } from '../../src/adapters/dps/assignment-file.ts'
import { dpsToken } from '../../src/adapters/dps/dps-client.ts'
import type { Outcome } from '../../src/adapters/dps/onboarding.ts'
import { ProvisionedIdentity } from '../../src/adapters/identity/provisioned.ts'
import { systemClock } from '../../src/adapters/system/clock.ts'
import type { HubAuth } from '../../src/ports/identity.ts'
import { type Credential, Issuer, selfSignedDevice } from '../bench/dps/authority.ts'
import type { BenchHub, Fault } from '../bench/hub/hub.ts'
import { aHub, tempDir } from '../hub/support.ts'
import { byKey, connects, dpsClient, hubOf } from './bench-device.ts'

// Our client of the provisioning service, against the bench that Microsoft's client works with.

const never = new AbortController().signal
const symmetric = { attestation: { type: 'symmetricKey' } }
const byCertificate = ({ cert, key }: Credential): HubAuth => ({
  kind: 'x509',
  chain: cert,
  key,
  passphrase: undefined,
})

const why = (outcome: Outcome): string => (outcome.is === 'assigned' ? 'assigned' : `${outcome.is}: ${outcome.why}`)

/** A bench with an enrolled device. */
async function enrolled(t: TestContext) {
  const hub = await aHub(t)
  const { registrationId, auth } = another(hub, 'pi-1')
  const key = auth.kind === 'symmetricKey' ? auth.key : ''
  return { hub, key, registration: { registrationId, auth } }
}

/** One more enrolled device. */
function another(hub: BenchHub, registrationId: string) {
  const { attestation } = hub.provisioning.enroll({ registrationId, ...symmetric })
  const key = attestation.type === 'symmetricKey' ? (attestation.symmetricKey?.primaryKey ?? '') : ''
  return { registrationId, deviceId: registrationId, auth: byKey(key) }
}

/** A device with the real adapters: identity by the service, then the hub. `clock` moves as the test wants. */
async function device(t: TestContext, hub: BenchHub, auth: () => HubAuth, id: string) {
  const dir = await tempDir(t)
  const state = { now: 0 }
  const events: (readonly [string, unknown])[] = []
  const note = (event: string, more?: unknown) => void events.push([event, more])
  const log = { debug() {}, info: note, warn: note, error: note }
  const make = () => {
    const credential = async () => {
      const current = auth()
      return {
        registrationId: id,
        auth: current,
        fingerprint: createHash('sha256').update(JSON.stringify(current)).digest('hex'),
      }
    }
    const identity = new ProvisionedIdentity(
      {
        ...{ idScope: hub.provisioning.idScope, host: 'dps', spread: 0 },
        ...{ credential, onboarding: dpsClient(hub), issuing: undefined },
      },
      new AssignmentFile(join(dir, 'identity'), log),
      { ...systemClock, monotonic: () => state.now, random: () => 0.5 },
      log,
    )
    return hubOf(hub, identity)
  }
  const registrations = () => hub.provisioning.registrationsOf(id)
  return { state, events, make, registrations, file: join(dir, 'identity/assignment.json'), dir: join(dir, 'identity') }
}

// Most of their time is pauses that the service asks for.
describe('the provisioning service', { concurrency: true }, () => {
  test('the token is the published one', () => {
    const key = 'pLWgI2k6+Dsdry2k5mlPCMHLbxvNYWLTWkhaCuSO+ME='
    assert.equal(
      dpsToken('0ne00ABCDEF', 'pi-adu-0001', key, 1798761600),
      'SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fpi-adu-0001&sig=C5BXUHg9W7cEpnSezx24z51R6jcncYdYVERV7aI35gg%3D&skn=registration&se=1798761600',
    )
  })

  for (const protocol of ['mqtt', 'mqtt/ws'] as const) {
    test(`a key, individual or derived, over ${protocol}`, async t => {
      const { hub, registration } = await enrolled(t)
      hub.provisioning.settings.polls = 1
      const to = { hub: `localhost:${hub.mqttPort}`, substatus: 'initialAssignment', chain: undefined }
      assert.deepEqual(await dpsClient(hub, { protocol }).register(registration, never), {
        is: 'assigned',
        to: { ...to, deviceId: 'pi-1' },
      })
      hub.provisioning.enrollGroup({ enrollmentGroupId: 'fleet', ...symmetric })
      const derived = { registrationId: 'pi-2', auth: byKey(hub.provisioning.deviceKey('fleet', 'pi-2')) }
      assert.deepEqual(await dpsClient(hub, { protocol }).register(derived, never), {
        is: 'assigned',
        to: { ...to, deviceId: 'pi-2' },
      })
    })
  }

  test('a certificate, individual and of a group; a missing intermediate is refused', async t => {
    const hub = await aHub(t)
    const dir = await tempDir(t)
    const x509 = (kind: string, certificate: string) => ({
      attestation: { type: 'x509', x509: { [kind]: { primary: { certificate } } } },
    })
    const own = await selfSignedDevice('pi-own')
    hub.provisioning.enroll({ registrationId: 'pi-own', ...x509('clientCertificates', own.cert) })
    const root = await Issuer.open(join(dir, 'root'), 'Root')
    const factory = await Issuer.open(join(dir, 'factory'), 'Factory', { parent: root })
    hub.provisioning.enrollGroup({ enrollmentGroupId: 'certified', ...x509('signingCertificates', root.certificate) })
    const pi = await factory.issue('pi-3')
    const leafOnly = pi.cert.slice(0, pi.cert.indexOf('-----END CERTIFICATE-----') + 26)
    for (const protocol of ['mqtt', 'mqtt/ws'] as const) {
      const register = (registrationId: string, auth: HubAuth) =>
        dpsClient(hub, { protocol }).register({ registrationId, auth }, never)
      assert.equal(why(await register('pi-own', byCertificate(own))), 'assigned')
      assert.equal(why(await register('pi-3', byCertificate(pi))), 'assigned')
      assert.match(
        why(await register('pi-3', byCertificate({ ...pi, cert: leafOnly }))),
        /^operator: .*refused the credential/,
      )
      assert.match(why(await register('pi-4', byCertificate(pi))), /^operator: .*refused the credential/)
    }
  })

  test('what needs a person is told from what may pass, in one line with what support asks for', async t => {
    const { hub, key, registration } = await enrolled(t)
    const host = `the provisioning service localhost:${hub.mqttPort}`
    const other = Buffer.alloc(32, 7).toString('base64')
    const told = async (register: Promise<Outcome>) => why(await register).replace(host, 'DPS')
    const refused =
      'operator: DPS refused the credential of this device (key or certificate, id scope, registration id, or the clock): '
    assert.equal(
      await told(dpsClient(hub).register({ ...registration, auth: byKey(other) }, never)),
      `${refused}not authorized`,
    )
    assert.equal(
      await told(dpsClient(hub, { idScope: '0neOTHER' }).register(registration, never)),
      `${refused}not authorized`,
    )
    const past = { behind: () => 86_400_000 }
    assert.equal(await told(dpsClient(hub, { time: past }).register(registration, never)), 'assigned')
    assert.match(
      await told(dpsClient(hub).register({ registrationId: 'nobody', auth: byKey(key) }, never)),
      /^operator: DPS knows no enrollment for this device, or not this id scope: 404 \(code 404201, no enrollment for nobody, tracking id /,
    )
    hub.provisioning.setEnrollmentStatus('pi-1', 'disabled')
    assert.equal(
      await told(dpsClient(hub).register(registration, never)),
      'operator: DPS says that the enrollment of this device is disabled',
    )
    hub.provisioning.setEnrollmentStatus('pi-1', 'enabled')
    hub.provisioning.enroll({ registrationId: 'pi-5', ...symmetric, iotHubs: ['no.such.hub'] })
    const nowhere = hub.provisioning.store.individuals.get('pi-5')?.attestation
    const auth = byKey(nowhere?.type === 'symmetricKey' ? (nowhere.symmetricKey?.primaryKey ?? '') : '')
    assert.equal(
      await told(dpsClient(hub).register({ registrationId: 'pi-5', auth }, never)),
      'operator: DPS could not assign a hub (code 400208, no IoT hub to assign to)',
    )
    for (const profile of ['mqttV5', 'nonsense\nline']) {
      hub.provisioning.settings.connectionProfile = profile
      const line = await told(dpsClient(hub).register(registration, never))
      assert.match(
        line,
        /^operator: DPS assigned a hub with the connection profile "\w+.*": that hub needs a newer agent$/,
      )
    }
    for (const profile of [null, 'classic', 'Classic']) {
      hub.provisioning.settings.connectionProfile = profile
      assert.equal(await told(dpsClient(hub).register(registration, never)), 'assigned')
    }
  })

  test('every fault of connection, service and answers ends in bounded time with the right kind of outcome', async t => {
    const { hub, registration } = await enrolled(t)
    hub.provisioning.settings.polls = 1
    type Provisioning = Extract<Fault, { kind: 'provisioning' }>
    const state = (changes: Record<string, unknown>) => ({ do: 'state', changes }) as const
    const rows: readonly (readonly [Provisioning['at'], Provisioning['do'], RegExp])[] = [
      ['connect', { do: 'cut' }, /^transient: .*cannot be used now: /],
      ['connect', { do: 'lose' }, /^transient: .*(no answer to CONNECT|connack timeout|connection was closed)/i],
      ['connect', { do: 'refuse', code: 3 }, /^transient: .*[Ss]erver unavailable/],
      ['connect', { do: 'refuse', code: 5 }, /^operator: .*not authorized/],
      ['subscribe', { do: 'cut' }, /^transient: .*closed/],
      ['subscribe', { do: 'lose' }, /^transient: .*no answer to SUBSCRIBE within 3 s/],
      ['subscribe', { do: 'refuse' }, /^transient: .*the subscription was refused/],
      ['register', { do: 'cut' }, /^transient: .*closed/],
      ['register', { do: 'lose' }, /^transient: .*no answer to the registration within 3 s/],
      ['register', { do: 'otherRid' }, /^transient: .*no answer to the registration within 3 s/],
      ['register', { do: 'cutAfter' }, /^transient: .*closed/],
      ['register', { do: 'fail', status: 429, retryAfter: '120' }, /^transient: .*is busy: 429/],
      ['register', { do: 'fail', status: 429, retryAfter: '3000000000' }, /^transient: .*is busy: 429/],
      ['register', { do: 'fail', status: 500 }, /^transient: .*has a problem: 500 \(code 500001, an injected fault/],
      ['register', { do: 'fail', status: 401, errorCode: 401002 }, /^operator: .*401 \(code 401002/],
      ['register', { do: 'fail', status: 400 }, /^operator: .*refused the registration: 400/],
      ['register', { do: 'fail', status: 409 }, /^transient: /],
      [
        'register',
        { do: 'answer', body: '<html>', status: 200 },
        /^transient: .*200 with something that is not a JSON/,
      ],
      ['register', { do: 'answer', body: '' }, /not a JSON object/],
      ['register', { do: 'answer', body: 'null' }, /not a JSON object/],
      ['register', { do: 'answer', body: '[]' }, /not a JSON object/],
      ['register', { do: 'answer', body: '{}', status: 200 }, /^transient: .*a status that this agent does not know/],
      ['register', { do: 'answer', body: '{}', status: 202 }, /^transient: .*named no operation/],
      ['register', { do: 'answer', body: '{}', bytes: 100_000 }, /^transient: .*answered 100000 bytes/],
      ['register', { do: 'answer', body: '{}', bytes: 900_000 }, /^transient: .*(closed|too much)/],
      ['register', { do: 'answer', body: '{}', bytes: 10_000_000 }, /^transient: .*(closed|too much)/],
      ['poll', { do: 'answer', body: '{}', bytes: 10_000_000 }, /^transient: .*(closed|too much)/],
      ['poll', { do: 'cut' }, /^transient: .*closed/],
      ['poll', { do: 'lose' }, /^transient: .*no answer to the registration within 3 s/],
      ['poll', { do: 'fail', status: 404 }, /^operator: .*knows no enrollment/],
      // The operation is still there.
      ['poll', { do: 'fail', status: 429, retryAfter: '1' }, /^assigned/],
      ['poll', { do: 'fail', status: 500, retryAfter: '1' }, /^assigned/],
      ['assigned', state({ assignedHub: null }), /^operator: .*a hub whose name is not a host name/],
      ['assigned', state({ assignedHub: 'evil.example/..' }), /^operator: .*not a host name "evil\.example\/\.\."$/],
      ['assigned', state({ assignedHub: 'hub\nevil' }), /^operator: .*not a host name "hub evil"$/],
      ['assigned', state({ deviceId: '' }), /^operator: .*assigned a device id that is empty$/],
      ['assigned', state({ deviceId: 'a/b' }), /^operator: .*assigned a device id with characters that no id has$/],
      ['assigned', state({ deviceId: 7 }), /^operator: .*assigned a device id that is missing$/],
    ]
    // At once, each on a device of its own.
    const run = async ([at, plan, expected]: (typeof rows)[number], index: number): Promise<void> => {
      const { deviceId, ...own } = another(hub, `row-${index}`)
      hub.faults.inject({ kind: 'provisioning', deviceId, at, do: plan, times: 1 })
      // Short only where nothing comes.
      const patience = plan.do === 'lose' || plan.do === 'otherRid' ? 3000 : 20_000
      const outcome = await dpsClient(hub, { patience }).register(own, never)
      assert.match(why(outcome), expected, JSON.stringify([at, plan]))
      assert.doesNotMatch(why(outcome), /\n/)
      const isUnsent = outcome.is === 'transient' && outcome.unsent === true
      assert.equal(isUnsent, /^transient/.test(why(outcome)) && (at === 'connect' || at === 'subscribe'), at)
      const wait = plan.do === 'fail' && at === 'register' ? plan.retryAfter : undefined
      if (wait !== undefined) {
        assert.ok(outcome.is === 'transient' && outcome.retryAfter === Math.min(Number(wait) * 1000, 3_600_000))
      }
    }
    const started = performance.now()
    await Promise.all(rows.map(run))
    assert.ok(performance.now() - started < 60_000)
    assert.equal(why(await dpsClient(hub).register(registration, never)), 'assigned')
  })

  test('a wish for time is honoured, bounded, and never makes a loop', async t => {
    const hub = await aHub(t)
    const run = async (value: string, index: number): Promise<void> => {
      const { deviceId, ...own } = another(hub, `wish-${index}`)
      hub.faults.inject({ kind: 'provisioning', deviceId, at: 'register', do: { do: 'retryAfter', value }, times: 1 })
      const outcome = await dpsClient(hub, { limit: 9000, patience: 9000 }).register(own, never)
      // The default of 3 s, or an hour, which is beyond this client's limit.
      assert.match(
        why(outcome),
        value === '3000000000' ? /^transient: .*not assigned within 9 s$/ : /^assigned$/,
        value,
      )
      assert.equal(hub.provisioning.registrationsOf(deviceId), 1)
    }
    await Promise.all(['0', '-1', 'abc', '3000000000', '99999999999999999999'].map(run))
  })

  test('a registration without an end takes as long as it may, and then the service gets the quiet that it asked for', async t => {
    const { hub, registration } = await enrolled(t)
    hub.provisioning.settings.polls = 1_000_000
    const { deviceId, ...own } = another(hub, 'slow')
    const plan = { do: 'retryAfter', value: '120' } as const
    hub.faults.inject({ kind: 'provisioning', deviceId, at: 'register', do: plan, times: 1 })
    const started = performance.now()
    const outcomes = await Promise.all(
      [registration, own].map(each => dpsClient(hub).register({ ...each, limit: 5000 }, never)),
    )
    assert.ok(performance.now() - started < 30_000)
    for (const [index, outcome] of outcomes.entries()) {
      assert.match(why(outcome), /^transient: .*not assigned within 5 s$/)
      assert.ok(outcome.is === 'transient')
      assert.equal(outcome.retryAfter, index === 0 ? 1000 : 120_000)
    }
  })

  test('an abort ends a registration at once, with its reason', async t => {
    const { hub, registration } = await enrolled(t)
    hub.faults.inject({ kind: 'provisioning', at: 'register', do: { do: 'lose' }, times: 1 })
    const stop = new AbortController()
    const enough = new Error('enough')
    setTimeout(() => stop.abort(enough), 100)
    await assert.rejects(dpsClient(hub).register(registration, stop.signal), error => error === enough)
  })

  test('a server that is none, and one whose certificate nobody trusts', async t => {
    const { hub, registration } = await enrolled(t)
    assert.match(
      why(await dpsClient(hub, { ca: undefined }).register(registration, never)),
      /^transient: .*not trusted.*provisioning service or proxy .* set piAdu\.provisioning\.caFile\)$/,
    )
    const server = createServer(socket => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(0)
    t.after(() => server.close())
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    assert.match(why(await dpsClient(hub, { host: `localhost:${port}` }).register(registration, never)), /^transient: /)
    assert.match(
      why(await dpsClient(hub, { host: 'localhost:1' }).register(registration, never)),
      /^transient: .*ECONNREFUSED/,
    )
  })

  test('registered once; later connections and later processes use the assignment', async t => {
    const { hub, key } = await enrolled(t)
    const pi = await device(t, hub, () => byKey(key), 'pi-1')
    const first = pi.make()
    await connects(first)
    await connects(first)
    await connects(pi.make())
    assert.equal(pi.registrations(), 1)
    const text = await readFile(pi.file, 'utf8')
    assert.ok(!text.includes(key))
    assert.equal((await stat(pi.file)).mode & 0o777, 0o600)
    assert.deepEqual(pi.events[0]?.[0], 'identity.assigned')
  })

  test('a refused identity, a deleted hub device: registered again after five minutes, at most once an hour', async t => {
    const { hub, key } = await enrolled(t)
    const pi = await device(t, hub, () => byKey(key), 'pi-1')
    const agent = pi.make()
    await connects(agent)
    pi.state.now = 3 * 3_600_000
    hub.deleteDevice('pi-1')
    for (const minutes of [0, 1, 4]) {
      pi.state.now = 3 * 3_600_000 + minutes * 60_000
      await assert.rejects(connects(agent), /not authorized/i)
    }
    assert.equal(pi.registrations(), 1)
    pi.state.now += 60_000
    await connects(agent)
    assert.equal(pi.registrations(), 2)
    // Disabled at hub and service: the one right sentence, and no storm.
    hub.setStatus('pi-1', 'disabled')
    hub.provisioning.setEnrollmentStatus('pi-1', 'disabled')
    for (let minute = 0; minute < 60 * 6; minute += 5) {
      pi.state.now += 5 * 60_000
      await assert.rejects(connects(agent), /not authorized/i)
    }
    assert.ok(pi.registrations() <= 2 + 9, `${pi.registrations()} registrations in six hours`)
    assert.match(JSON.stringify(pi.events), /identity\.registration-failed.*enrollment of this device is disabled/)
  })

  test('a device that had no network for six hours registers with its next connection', async t => {
    const { hub, key } = await enrolled(t)
    const pi = await device(t, hub, () => byKey(key), 'pi-1')
    const agent = pi.make()
    const tries = 20
    hub.faults.inject({ kind: 'provisioning', deviceId: 'pi-1', at: 'connect', do: { do: 'cut' }, times: tries })
    for (let count = 0; count < tries; count++) {
      await assert.rejects(connects(agent), /^HubError: no identity: .* cannot be used now: [^;]*$/)
      pi.state.now += (6 * 3_600_000) / tries
    }
    await connects(agent)
    assert.equal(pi.registrations(), 1)
    assert.doesNotMatch(JSON.stringify(pi.events), /againInSeconds/)
  })

  test('a new credential is registered at once; until that succeeds the old assignment stays', async t => {
    const hub = await aHub(t)
    const dir = await tempDir(t)
    const root = await Issuer.open(join(dir, 'root'), 'Root')
    hub.provisioning.enrollGroup({
      enrollmentGroupId: 'certified',
      attestation: { type: 'x509', x509: { signingCertificates: { primary: { certificate: root.certificate } } } },
    })
    let current = await root.issue('pi-9')
    const pi = await device(t, hub, () => byCertificate(current), 'pi-9')
    const agent = pi.make()
    await connects(agent)
    current = await root.issue('pi-9')
    hub.faults.inject({ kind: 'provisioning', at: 'register', do: { do: 'fail', status: 503 }, times: 1 })
    // The hub knows the old thumbprint only.
    await assert.rejects(connects(agent), /not authorized/i)
    pi.state.now += 60_000
    await connects(agent)
    assert.equal(pi.registrations(), 2)
  })

  test('an order, and a device that the service moves to another hub', async t => {
    const { hub, key } = await enrolled(t)
    const other = await aHub(t)
    const pi = await device(t, hub, () => byKey(key), 'pi-1')
    const agent = pi.make()
    await connects(agent)
    hub.provisioning.linkHub({ ...other.assignable, name: 'other' })
    hub.provisioning.enroll({
      registrationId: 'pi-1',
      attestation: { type: 'symmetricKey', symmetricKey: { primaryKey: key, secondaryKey: key } },
      iotHubs: ['other'],
    })
    await new AssignmentFile(pi.dir, { debug() {}, info() {}, warn() {}, error() {} }).order()
    // Another bench has another authority: what counts is where it goes.
    await assert.rejects(connects(agent), /not trusted/)
    assert.equal(pi.registrations(), 2)
    assert.match(
      JSON.stringify(pi.events),
      new RegExp(`"hub":"localhost:${other.mqttPort}".*"before":"pi-1 at localhost:${hub.mqttPort}"`),
    )
    await assert.rejects(connects(agent), /not trusted/)
    assert.equal(pi.registrations(), 2, 'an order counts once')
  })

  test('an order in the twin: registered again once, at the hub that is then assigned', async t => {
    const { hub, key } = await enrolled(t)
    const pi = await device(t, hub, () => byKey(key), 'pi-1')
    const agent = pi.make()
    for (const bad of [7, '', 'a b', 'x'.repeat(65), { order: 1 }, null]) {
      if (hub.hasDevice('pi-1')) hub.updateDesired('pi-1', { piAdu: { reprovision: bad } })
      await connects(agent)
    }
    const held = await agent.connect(never)
    await held.readTwin(never)
    assert.equal(pi.registrations(), 1)
    const lost = once(held.lost, 'abort')
    hub.updateDesired('pi-1', { piAdu: { reprovision: '2026-11-27T09:00:00.000Z' } })
    await lost
    assert.match(String(held.lost.reason), /the twin orders this device to register again/)
    await held.close()
    for (const each of [agent, agent, pi.make()]) {
      const again = await each.connect(never)
      await again.readTwin(never)
      assert.equal(pi.registrations(), 2, 'an order counts once')
      assert.ok(!again.lost.aborted)
      await again.close()
    }
    // Another process that did not know the first one.
    hub.updateDesired('pi-1', { piAdu: { reprovision: 'two' } })
    const next = pi.make()
    const seen = await next.connect(never)
    await seen.readTwin(never)
    if (!seen.lost.aborted) await once(seen.lost, 'abort')
    await seen.close()
    await connects(next)
    assert.equal(pi.registrations(), 3)
  })

  test('orders in the twin: paused after failures, and at most one an hour, however many there are', async t => {
    const dir = await tempDir(t)
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const to = { hub: 'hub', deviceId: 'pi', substatus: undefined, chain: undefined }
    const state = { registrations: 0, now: 0, next: { is: 'assigned', to } as Outcome }
    const register = async (): Promise<Outcome> => {
      state.registrations += 1
      return state.next
    }
    const credential = async () => ({ registrationId: 'pi', auth: byKey('k'), fingerprint: 'f' })
    const options = { ...{ idScope: '0ne1', host: 'dps', spread: 0, issuing: undefined }, credential }
    const clock = { ...systemClock, monotonic: () => state.now, random: () => 0.5 }
    const file = new AssignmentFile(dir, log)
    const pi = new ProvisionedIdentity({ ...options, onboarding: { register } }, file, clock, log)
    const counted = async () => {
      await pi.get(never)
      return state.registrations
    }
    const MINUTE = 60_000
    assert.equal(await counted(), 1)
    state.now = MINUTE
    assert.equal(await pi.ordered('one'), 0)
    state.next = { is: 'operator', why: 'no' }
    assert.equal(await counted(), 2)
    assert.equal(await pi.ordered('one'), 5 * MINUTE, 'the same order, after a pause')
    assert.equal(await pi.ordered('other'), 5 * MINUTE, 'no order shortens the pause after a failure')
    assert.equal(await counted(), 2)
    state.now += 5 * MINUTE
    state.next = { is: 'assigned', to }
    assert.equal(await counted(), 3)
    assert.equal(await pi.ordered('other'), undefined)
    // A writer of orders gone wild.
    const begun = state.now
    for (let minute = 0; minute < 600; minute++) {
      state.now += MINUTE
      await pi.ordered(`wild-${minute}`)
      await counted()
    }
    assert.ok(state.registrations <= 3 + 11, `${state.registrations} in ${(state.now - begun) / MINUTE} minutes`)
    assert.ok(state.registrations >= 3 + 9)
  })

  test('an order outlasts a power cut and a failure, and a failure is not repeated without a pause', async t => {
    const dir = await tempDir(t)
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const file = new AssignmentFile(dir, log)
    const to = { hub: 'hub', deviceId: 'pi', substatus: undefined, chain: undefined }
    const state: { registrations: number; now: number; next: Outcome | 'cut' } = {
      ...{ registrations: 0, now: 0 },
      next: { is: 'assigned', to },
    }
    const register = async (): Promise<Outcome> => {
      state.registrations += 1
      if (state.next === 'cut') throw new Error('power cut')
      return state.next
    }
    const credential = async () => ({ registrationId: 'pi', auth: byKey('k'), fingerprint: 'f' })
    const options = { ...{ idScope: '0ne1', host: 'dps', spread: 0, issuing: undefined }, credential }
    const clock = { ...systemClock, monotonic: () => state.now, random: () => 0.5 }
    const start = () => new ProvisionedIdentity({ ...options, onboarding: { register } }, file, clock, log)
    const counted = async (identity: ProvisionedIdentity) => {
      await identity.get(never)
      return state.registrations
    }
    assert.equal(await counted(start()), 1)
    await file.order()
    state.next = 'cut'
    await assert.rejects(start().get(never), /power cut/)
    state.next = { is: 'operator', why: 'no' }
    let pi = start()
    assert.equal(await counted(pi), 3)
    assert.equal(await counted(pi), 3, 'the pause holds')
    // A person who orders again does not wait for it.
    await new Promise(resolve => setTimeout(resolve, 20))
    await file.order()
    assert.equal(await counted(pi), 4)
    state.next = { is: 'assigned', to }
    pi = start()
    assert.equal(await counted(pi), 5)
    assert.equal(await counted(pi), 5)
    assert.equal(await counted(start()), 5, 'carried out')
  })

  test('a file that can be neither read nor written: one warning for each', async t => {
    const dir = await tempDir(t)
    await mkdir(join(dir, 'assignment.json'))
    const events: string[] = []
    const log = { debug() {}, info() {}, error() {}, warn: (event: string) => void events.push(event) }
    const file = new AssignmentFile(dir, log)
    const inputs = { idScope: '0ne1', registrationId: 'pi', host: 'dps', credential: 'f' }
    for (let round = 0; round < 2; round++) {
      assert.equal(await file.read(), undefined)
      await file.write({ hub: 'hub', deviceId: 'pi', substatus: undefined, inputs, at: '' })
    }
    assert.deepEqual(events, ['identity.assignment-unreadable', 'identity.assignment-not-written'])
  })

  test('an assignment file that is damaged or hostile counts as none, with one warning', async t => {
    const { hub, key } = await enrolled(t)
    const pi = await device(t, hub, () => byKey(key), 'pi-1')
    await connects(pi.make())
    const good = await readFile(pi.file, 'utf8')
    let count = 1
    for (const bad of [
      '',
      '{',
      'null',
      good.replace(/"hub": "[^"]*"/, '"hub": "evil.example/.."'),
      good.slice(0, 50),
    ]) {
      await writeFile(pi.file, bad)
      pi.events.length = 0
      await connects(pi.make())
      count += 1
      assert.equal(pi.registrations(), count, bad)
      assert.equal(pi.events.filter(([event]) => event === 'identity.assignment-unreadable').length, 1)
    }
  })
})
