import assert from 'node:assert/strict'
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto'
import { mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { AssignmentFile } from '../../src/adapters/dps/assignment-file.ts'
import { DpsClient } from '../../src/adapters/dps/dps-client.ts'
import type { Outcome, Registration } from '../../src/adapters/dps/onboarding.ts'
import { type Issued, IssuedFile, isDue, issuedPair } from '../../src/adapters/identity/issued.ts'
import { Issuing } from '../../src/adapters/identity/issuing.ts'
import { ProvisionedIdentity } from '../../src/adapters/identity/provisioned.ts'
import { certificateRequest, newPrivateKey } from '../../src/adapters/identity/request.ts'
import { certificateIn } from '../../src/adapters/iot-hub/authentication.ts'
import { IotHub } from '../../src/adapters/iot-hub/iot-hub.ts'
import { leanMqtt } from '../../src/adapters/iot-hub/lean-mqtt.ts'
import type { HubAuth } from '../../src/ports/identity.ts'
import type { AgentEvent } from '../../src/view/event.ts'
import { Issuer } from '../bench/dps/authority.ts'
import { checkedRequest, derOf } from '../bench/dps/request.ts'
import type { Fault } from '../bench/hub/hub.ts'
import { aHub, tempDir } from '../hub/support.ts'

// Certificates that the provisioning service issues and renews: on the bench, and with a power cut at each write.

leanMqtt()
const never = new AbortController().signal
const NO_PROXY = { httpProxy: undefined, httpsProxy: undefined, noProxy: [] }
const HOUR = 3_600_000
const DAY = 24 * HOUR
const time = { behind: () => 0, seen: async () => {}, explain: (message: string) => message }

function noting() {
  const events: (readonly [string, unknown])[] = []
  const note = (event: string, more?: unknown) => void events.push([event, more])
  return {
    events,
    log: { debug() {}, info: note, warn: note, error: note },
    told: { tell: (event: AgentEvent) => note(event.event, event) },
  }
}

/** A device on the bench whose hub certificate is issued; its clocks move as the test wants. */
async function device(t: TestContext) {
  const hub = await aHub(t)
  const { attestation } = hub.provisioning.enroll({
    registrationId: 'pi-1',
    attestation: { type: 'symmetricKey' },
    credentialPolicyName: hub.provisioning.credentialPolicy,
  })
  const key = attestation.type === 'symmetricKey' ? (attestation.symmetricKey?.primaryKey ?? '') : ''
  const folder = join(await tempDir(t), 'identity')
  const state = { monotonic: 0, ahead: 0 }
  const { events, log, told } = noting()
  const clock = {
    monotonic: () => state.monotonic,
    now: () => new Date(Date.now() + state.ahead),
    random: () => 0.5,
  }
  const { idScope } = hub.provisioning
  const host = `localhost:${hub.mqttPort}`
  const make = () => {
    const onboarding = new DpsClient({
      ...{ host, idScope, payload: undefined, protocol: 'mqtt', ca: hub.ca, proxies: NO_PROXY, time, limit: 60_000 },
    })
    const auth: HubAuth = { kind: 'symmetricKey', key, keyName: undefined }
    const credential = async () => ({ registrationId: 'pi-1', auth, fingerprint: 'one' })
    const issuing = new Issuing(new IssuedFile(folder, log), clock, log, told)
    const options = { idScope, host, credential, onboarding, issuing, spread: 0 }
    const identity = new ProvisionedIdentity(options, new AssignmentFile(folder, log), clock, log)
    return new IotHub({
      ...{ identity, modelId: 'dtmi:test;1', productInfo: 'test', ca: hub.ca, protocol: 'mqtt', proxies: NO_PROXY },
      ...{ keepAliveSeconds: 60, tokenSeconds: 3600, answerTimeout: 10_000, time },
    })
  }
  const stored = async () => JSON.parse(await readFile(join(folder, 'issued.json'), 'utf8'))
  return { hub, key, folder, state, events, make, stored }
}

async function connects(hub: IotHub): Promise<void> {
  const connection = await hub.connect(never)
  await connection.readTwin(never)
  await connection.close()
}

const serialOf = ({ chain }: { chain: string }) => new X509Certificate(chain).serialNumber

describe('issued certificates', { concurrency: true }, () => {
  test('a request is what OpenSSL takes for one, whatever the length of the name', async () => {
    for (const name of ['pi-1', 'p'.repeat(64), `${'p'.repeat(127)}x`.slice(0, 64)]) {
      await checkedRequest(certificateRequest(name, newPrivateKey()), name)
    }
  })

  test('issued at the registration, used at the hub, renewed at about four fifths of its life with another key', async t => {
    const pi = await device(t)
    pi.hub.provisioning.setCertificateLife(10 * 24 * 3600)
    const agent = pi.make()
    await connects(agent)
    const first = await pi.stored()
    assert.equal(first.next, undefined, 'accepted by the hub')
    assert.equal((await stat(join(pi.folder, 'issued.json'))).mode & 0o777, 0o600)
    assert.match(JSON.stringify(pi.events), /"identity\.issued".*"identity\.assigned"/)
    assert.ok(!JSON.stringify(pi.events).includes(first.current.key.split('\n')[1]))

    pi.state.monotonic += 7 * DAY
    pi.state.ahead += 7 * DAY
    await connects(agent)
    await connects(pi.make())
    assert.equal(pi.hub.provisioning.registrationsOf('pi-1'), 1, 'not yet due')

    pi.state.monotonic += DAY
    pi.state.ahead += 1.2 * DAY
    await connects(agent)
    const second = await pi.stored()
    assert.equal(pi.hub.provisioning.registrationsOf('pi-1'), 2)
    assert.notEqual(serialOf(second.current), serialOf(first.current))
    assert.notEqual(second.current.key, first.current.key)
  })

  test('a renewed certificate that the hub refuses gives way to the old one, and is not asked for again that day', async t => {
    const pi = await device(t)
    const agent = pi.make()
    await connects(agent)
    const before = await pi.stored()
    pi.state.ahead += 25 * DAY
    pi.state.monotonic += 25 * DAY
    for (let refusal = 0; refusal < 3; refusal++) {
      pi.hub.faults.inject({ kind: 'refuseConnections', deviceId: 'pi-1', how: 'notAuthorized', times: 1 })
      await assert.rejects(connects(agent), /not authorized/i)
      const now = await pi.stored()
      assert.deepEqual(now.current, before.current)
    }
    assert.equal((await pi.stored()).next, undefined)
    await connects(agent)
    assert.match(
      JSON.stringify(pi.events),
      /"identity\.renewal-refused".*refused the renewed certificate 3 times; the old/,
    )
    const inTwin = () => (pi.hub.getTwin('pi-1').properties.reported.piAdu as { certificate: object }).certificate
    const { chain } = before.current
    const shown = { auth: { kind: 'x509', chain, key: '', passphrase: undefined }, renewalRefused: true } as const
    assert.deepEqual(inTwin(), certificateIn(shown))
    // A new process knows it too.
    pi.events.length = 0
    pi.state.ahead -= 25 * DAY
    await connects(pi.make())
    assert.match(JSON.stringify(pi.events), /"identity\.renewal-refused".*refused the renewed certificate 3 times/)
    pi.state.ahead += 25 * DAY
    pi.state.monotonic += 23 * HOUR
    await connects(agent)
    assert.equal(pi.hub.provisioning.registrationsOf('pi-1'), 2)
    pi.state.monotonic += 2 * HOUR
    await connects(agent)
    assert.equal(pi.hub.provisioning.registrationsOf('pi-1'), 3)
    assert.notEqual(serialOf((await pi.stored()).current), serialOf(before.current))
    assert.match(JSON.stringify(pi.events), /"identity\.renewed"/)
    assert.equal((await pi.stored()).refused, undefined)
    assert.deepEqual(Object.keys(inTwin()).sort(), ['notAfter', 'sha256'])
  })

  test('wrong certificates are not taken into use', async t => {
    const pi = await device(t)
    const agent = pi.make()
    await connects(agent)
    const before = (await pi.stored()).current
    pi.state.ahead += 25 * DAY
    type Plan = Extract<Fault, { kind: 'provisioning' }>['do']
    const NOT_OURS = /issued no certificate for this device's key/
    const rows: readonly (readonly [Plan, RegExp])[] = [
      [{ do: 'certificate', how: 'otherKey' }, NOT_OURS],
      [{ do: 'certificate', how: 'noLeaf' }, NOT_OURS],
      [{ do: 'state', changes: { issuedCertificateChain: null } }, /issued no certificate: does the enrollment/],
      [{ do: 'state', changes: { issuedCertificateChain: ['AAAA'] } }, /something that is not a certificate/],
      [{ do: 'state', changes: { issuedCertificateChain: [7] } }, /issued no certificate/],
    ]
    let told: RegExp | undefined
    for (const [plan, says] of rows) {
      pi.state.monotonic += 3 * HOUR
      pi.events.length = 0
      pi.hub.faults.inject({ kind: 'provisioning', at: 'assigned', do: plan, times: 1 })
      await connects(agent)
      assert.match(JSON.stringify(pi.events), says)
      // The same reason is told once.
      if (says !== told) assert.match(JSON.stringify(pi.events), /renewal-refused".*; the old certificate stays in use/)
      told = says
      assert.deepEqual((await pi.stored()).current, before)
    }
    // In another order it is the same chain.
    pi.state.monotonic += 3 * HOUR
    pi.hub.faults.inject({ kind: 'provisioning', at: 'assigned', do: { do: 'certificate', how: 'reversed' }, times: 1 })
    await connects(agent)
    assert.notDeepEqual((await pi.stored()).current, before)
  })

  test('an enrollment that issues none: the one right sentence', async t => {
    const pi = await device(t)
    pi.hub.provisioning.enroll({
      registrationId: 'pi-1',
      attestation: { type: 'symmetricKey', symmetricKey: { primaryKey: pi.key, secondaryKey: pi.key } },
    })
    await assert.rejects(connects(pi.make()), /refused the registration: 400 \(.*no credential policy/)
  })

  test('a file of certificates that is damaged: another one is issued, and nothing of the file is logged', async t => {
    const pi = await device(t)
    await connects(pi.make())
    const good = await pi.stored()
    const secret = good.current.key.split('\n')[1]
    const file = join(pi.folder, 'issued.json')
    const other = {
      ...good,
      current: { ...good.current, key: newPrivateKey().export({ type: 'pkcs8', format: 'pem' }) },
    }
    for (const bad of ['', JSON.stringify(good).slice(0, -40), '{"version":2}', JSON.stringify(other)]) {
      await writeFile(file, bad)
      await connects(pi.make())
      assert.ok((await pi.stored()).current)
    }
    assert.equal(pi.hub.provisioning.registrationsOf('pi-1'), 5)
    assert.ok(!JSON.stringify(pi.events).includes(secret))
  })

  test('a file that cannot be read just now is not lost: no registration, until that has lasted for an hour', async t => {
    const pi = await device(t)
    await connects(pi.make())
    const good = await pi.stored()
    const file = join(pi.folder, 'issued.json')
    await rename(file, `${file}.away`)
    // ELOOP, for root too.
    await symlink('issued.json', file)
    const agent = pi.make()
    for (const minutes of [0, 59]) {
      pi.state.monotonic = minutes * 60_000
      await assert.rejects(connects(agent), { name: 'HubError', message: /^no identity: .*issued\.json: ELOOP/ })
    }
    assert.equal(pi.hub.provisioning.registrationsOf('pi-1'), 1)
    await rm(file)
    await rename(`${file}.away`, file)
    await connects(agent)
    assert.deepEqual(await pi.stored(), good)
    assert.equal(pi.hub.provisioning.registrationsOf('pi-1'), 1)

    await rm(file)
    await symlink('issued.json', file)
    const later = pi.make()
    await assert.rejects(connects(later), /ELOOP/)
    pi.state.monotonic += HOUR
    await connects(later)
    assert.equal(pi.hub.provisioning.registrationsOf('pi-1'), 2)
    assert.ok((await pi.stored()).current)
  })

  test('a clock that is wrong renews once at most, and never makes a good certificate look expired', async t => {
    const pi = await device(t)
    const agent = pi.make()
    await connects(agent)
    // 2040, and then 1970.
    pi.state.ahead = 14 * 365 * DAY
    for (let hours = 0; hours < 48; hours += 4) {
      pi.state.monotonic += 4 * HOUR
      await connects(agent)
    }
    assert.equal(pi.hub.provisioning.registrationsOf('pi-1'), 2)
    assert.equal((await pi.stored()).current.clockWasWrong, true)
    pi.state.ahead = -50 * 365 * DAY
    pi.state.monotonic += DAY
    await connects(agent)
    assert.equal(pi.hub.provisioning.registrationsOf('pi-1'), 2)
  })

  test('dates and names', async t => {
    const issuer = await Issuer.open(join(await tempDir(t), 'issuer'), 'Issuer')
    const from = new Date('2026-01-01T00:00:00Z')
    const { cert, key } = await issuer.issue('pi-1', { from, until: new Date('2026-04-11T00:00:00Z') })
    const made = issuedPair([derOf(cert)], createPrivateKey(key), 'pi-1', from)
    assert.ok(typeof made !== 'string' && !made.clockWasWrong)
    const at = (days: number) => isDue(made, new Date(from.getTime() + days * DAY))
    assert.deepEqual([at(-9000), at(0), at(74), at(81), at(9000)], [false, false, false, true, true])
    assert.match(String(issuedPair([derOf(cert)], createPrivateKey(key), 'pi-2', from)), /another name/)
    assert.match(String(issuedPair(Array(11).fill(derOf(cert)), createPrivateKey(key), 'pi-1', from)), /chain of 11/)
  })
})

class PowerCut extends Error {}

/**
 * A device in memory, whose hub knows every certificate that was issued, for a while refuses new ones (`unreachable`: without a
 * word), and whose power is cut at the write that `cutAt` counts, `before` it is on the disk or after.
 */
async function renewedDevice(issuer: Issuer, cutAt: number, before: boolean, refusal?: 'refused' | 'unreachable') {
  let refusesNew = refusal !== undefined
  const disk = new Map<string, unknown>()
  const { log, events, told } = noting()
  let writes = 0
  let registrations = 0
  let monotonic = 0
  let ahead = 0
  const start = Date.now()
  const accepted = new Set<string>()
  const issuedAt: string[] = []
  const clock = { monotonic: () => monotonic, now: () => new Date(start + ahead), random: () => 0.5 }
  const file = (name: string) => ({
    read: async () => disk.get(name) as never,
    write: async (value: unknown) => {
      writes += 1
      if (writes === cutAt && before) throw new PowerCut()
      disk.set(name, value)
      if (writes === cutAt) throw new PowerCut()
    },
    readOrder: async () => undefined,
    removeOrder: async () => {},
  })
  const onboarding = {
    async register({ csr }: Registration): Promise<Outcome> {
      registrations += 1
      const lines = `-----BEGIN CERTIFICATE REQUEST-----\n${csr?.match(/.{1,64}/g)?.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`
      const cert = await issuer.sign(lines, { until: new Date(start + ahead + 30 * DAY) })
      issuedAt.push(new X509Certificate(cert).serialNumber)
      return { is: 'assigned', to: { hub: 'hub', deviceId: 'pi-1', substatus: undefined, chain: [derOf(cert)] } }
    },
  }
  const boot = () => {
    const auth: HubAuth = { kind: 'symmetricKey', key: 'k', keyName: undefined }
    const credential = async () => ({ registrationId: 'pi-1', auth, fingerprint: 'one' })
    const issuing = new Issuing(file('issued'), clock, log, told)
    const options = { idScope: '0ne1', host: 'dps', credential, onboarding, issuing, spread: 0 }
    return new ProvisionedIdentity(options, file('assignment'), clock, log)
  }
  let identity = boot()
  let used = ''
  let failures = 0
  /** Tries to connect until it works; a power cut starts the device again. */
  const connect = async (): Promise<void> => {
    for (let attempt = 0; attempt < 30; attempt++) {
      try {
        const { auth } = await identity.get(never)
        assert.ok(auth.kind === 'x509')
        const leaf = new X509Certificate(auth.chain)
        assert.ok(leaf.checkPrivateKey(createPrivateKey(auth.key)), 'a pair, always')
        used = leaf.serialNumber
        const isFirst = accepted.size === 0
        if (!refusesNew || accepted.has(used) || isFirst) {
          accepted.add(used)
          await identity.tried('connected')
          return
        }
        failures += 1
        await identity.tried(refusal ?? 'refused')
      } catch (error) {
        if (!(error instanceof PowerCut)) throw error
        identity = boot()
      }
      monotonic += 2 * 60_000
    }
    assert.fail('never connected')
  }
  await connect()
  const first = used
  ahead += 26 * DAY
  monotonic += 26 * DAY
  await connect()
  const again = async (hubTakesNew: boolean) => {
    refusesNew = !hubTakesNew
    failures = 0
    await connect()
    return { used, failures, registrations }
  }
  return { writes, registrations, first, used, disk, events, again }
}

test('a hub that drops a renewed certificate without a word is reached with the old one, and the new one stays', async t => {
  const issuer = await Issuer.open(join(await tempDir(t), 'issuer'), 'Issuer')
  const { first, used, registrations, disk, again } = await renewedDevice(issuer, 0, false, 'unreachable')
  assert.equal(used, first)
  assert.equal(registrations, 2)
  const stored = () => disk.get('issued') as Issued
  const { next } = stored()
  assert.ok(next)
  for (let round = 0; round < 10; round++) {
    assert.deepEqual(await again(false), { used: first, failures: 1, registrations: 2 })
    assert.deepEqual(stored().next, next, 'what connected was the old one')
  }
  assert.deepEqual(await again(true), { used: serialOf(next), failures: 0, registrations: 2 })
  assert.deepEqual([stored().current, stored().next], [next, undefined])
})

test('a power cut at each write of issue and renewal: always a whole pair, always connected, at most one registration more', async t => {
  const issuer = await Issuer.open(join(await tempDir(t), 'issuer'), 'Issuer')
  for (const refusal of [undefined, 'refused', 'unreachable'] as const) {
    const plain = await renewedDevice(issuer, 0, false, refusal)
    // An unpromoted certificate saves a write.
    assert.ok(plain.writes >= (refusal === 'unreachable' ? 5 : 6), `${plain.writes} writes`)
    assert.equal(plain.registrations, 2)
    assert.equal(plain.used === plain.first, refusal !== undefined)
    for (let cutAt = 1; cutAt <= plain.writes; cutAt++) {
      for (const before of [true, false]) {
        const { registrations, first, used } = await renewedDevice(issuer, cutAt, before, refusal)
        const what = `cut ${before ? 'before' : 'after'} write ${cutAt}`
        assert.ok(registrations <= plain.registrations + 1, `${what}: ${registrations} registrations`)
        assert.equal(used === first, refusal !== undefined, what)
      }
    }
  }
})

test('a folder that cannot be written to: the certificate is used all the same, and the log says so', async t => {
  const dir = await tempDir(t)
  const { log, events, told } = noting()
  await mkdir(join(dir, 'issued.json.new'))
  const clock = { monotonic: () => 0, now: () => new Date(), random: () => 0 }
  const issuing = new Issuing(new IssuedFile(dir, log), clock, log, told)
  const issuer = await Issuer.open(join(dir, 'issuer'), 'Issuer')
  const { csr, take } = issuing.order('pi-1')
  const lines = `-----BEGIN CERTIFICATE REQUEST-----\n${csr.match(/.{1,64}/g)?.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`
  assert.equal(await take([derOf(await issuer.sign(lines))]), undefined)
  const auth = (await issuing.get('pi-1'))?.auth
  assert.ok(auth && new X509Certificate(auth.chain).checkPrivateKey(createPrivateKey(auth.key)))
  assert.match(JSON.stringify(events), /identity\.issued-not-written/)
  assert.equal(await issuing.get(`pi-${randomBytes(2).toString('hex')}`), undefined, 'another id is another device')
})
