import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { certificateIn } from '../../src/adapters/iot-hub/authentication.ts'
import { Issuer, selfSignedDevice } from '../bench/dps/authority.ts'
import type { BenchHub } from '../bench/hub/hub.ts'
import { registerBySdk } from '../dps/support.ts'
import { aClient, aDevice, aHub, atEnd, report, tempDir } from '../hub/support.ts'
import { OPERATOR, operator, operatorOptions } from './support.ts'

/** An office: a folder, a configuration for all devices, and the operator's program at the bench's provisioning service. */
async function anOffice(t: TestContext) {
  const hub = await aHub(t)
  const dir = await tempDir(t)
  const config = join(dir, 'du-config.json')
  const agent = { name: 'main', manufacturer: 'contoso', model: 'pi4', connectionSource: { connectionType: 'string' } }
  await writeFile(
    config,
    JSON.stringify({
      ...{ schemaVersion: '1.1', manufacturer: 'contoso', model: 'pi4', agents: [agent] },
      piAdu: { hub: { caFile: '/data/adu/hub-ca.pem' }, provisioning: { caFile: '/data/adu/hub-ca.pem' } },
    }),
  )
  const out = join(dir, 'batch')
  const usual = ['--out', out, '--config', config, '--id-scope', hub.provisioning.idScope]
  return {
    hub,
    dir,
    out,
    args: usual,
    enrol: (...more: string[]) => operator(['enrol', ...usual, ...more], undefined, at(hub)),
  }
}

const at = (hub: BenchHub) => ({
  ...operatorOptions(hub),
  env: { ...hub.childEnvironment(), DPS_CONNECTION_STRING: hub.provisioning.serviceConnectionString },
})

const cardOf = async (out: string, id: string) => {
  const read = (name: string) => readFile(join(out, id, name), 'utf8')
  return { read, config: JSON.parse(await read('du-config.json')) }
}
const recordOf = async (out: string) => JSON.parse(await readFile(join(out, 'report.json'), 'utf8'))

test('a CSV of Windows becomes individual enrolments, and folders that make devices', async t => {
  const { hub, dir, out, enrol } = await anOffice(t)
  const csv = join(dir, 'batch.csv')
  await writeFile(csv, '\uFEFFregistrationId;deviceId\r\nPi-0001;"Gate North"\r\n')
  const bad = await enrol('--csv', csv)
  assert.equal(bad.exitCode, 64)
  assert.match(bad.stderr, /batch\.csv, line 2: "Gate North" is not a device id/)
  await assert.rejects(stat(out), 'nothing was written')

  await writeFile(csv, '\uFEFFregistrationId;deviceId\r\nPi-0001;"Gate-North"\r\n\r\npi-0002;\r\n')
  const { exitCode, stdout, stderr } = await enrol('--csv', csv, '--tag', 'ADUGroup=pilot')
  assert.deepEqual([exitCode, stderr], [0, ''])
  assert.match(stdout, /2 of 2 enrolled/)
  assert.deepEqual((await readdir(out)).sort(), ['pi-0001', 'pi-0002', 'report.json'])
  assert.equal((await stat(join(out, 'pi-0001'))).mode & 0o777, 0o700)
  for (const name of ['dps.key', 'du-config.json']) {
    assert.equal((await stat(join(out, 'pi-0001', name))).mode & 0o777, 0o600)
  }
  const { read, config } = await cardOf(out, 'pi-0001')
  assert.deepEqual(config.piAdu.provisioning, {
    caFile: '/data/adu/hub-ca.pem',
    idScope: hub.provisioning.idScope,
    registrationId: 'pi-0001',
    symmetricKeyFile: '/data/adu/dps.key',
  })
  assert.equal('connectionSource' in config.agents[0], false)
  assert.equal(config.piAdu.hub.caFile, '/data/adu/hub-ca.pem')

  const key = (await read('dps.key')).trim()
  assert.equal((await registerBySdk(hub, 'pi-0001', key)).deviceId, 'Gate-North')
  assert.deepEqual(hub.getTwin('Gate-North').tags, { ADUGroup: 'pilot' })
  const record = JSON.stringify(await recordOf(out))
  assert.equal(record.includes(key), false)
  assert.equal(stdout.includes(key), false)
})

test('a group: created once, keys derived, devices register', async t => {
  const { hub, out, enrol } = await anOffice(t)
  assert.equal((await enrol('--device', 'pi-1', '--group', 'fleet')).exitCode, 0)
  assert.equal((await enrol('--device', 'pi-2', '--group', 'fleet')).exitCode, 0)
  for (const id of ['pi-1', 'pi-2']) {
    const key = (await (await cardOf(out, id)).read('dps.key')).trim()
    assert.equal(key, hub.provisioning.deviceKey('fleet', id))
    assert.equal((await registerBySdk(hub, id, key)).deviceId, id)
  }
  assert.equal(hub.provisioning.store.individuals.size, 0)
})

test('certificates: individual and in a group; a request keeps the key on the device', async t => {
  const { hub, dir, out, enrol } = await anOffice(t)
  const ca = join(dir, 'ca')
  assert.equal((await operator(['ca', 'create', ca, '--name', 'Contoso devices'])).exitCode, 0)
  const csr = join(dir, 'pi-2.csr')
  const line = `req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${dir}/k -out ${csr} -subj /CN=pi-2`
  await execa('openssl', line.split(' '))
  const csv = join(dir, 'batch.csv')
  await writeFile(csv, `registrationId,csr\npi-1,\npi-2,${csr}\n`)
  const { exitCode } = await enrol('--csv', csv, '--x509', '--ca', ca, '--days', '90')
  assert.equal(exitCode, 0)
  const first = await cardOf(out, 'pi-1')
  const { caFile, certFile, keyFile } = first.config.piAdu.provisioning
  assert.deepEqual(
    [caFile, certFile, keyFile],
    ['/data/adu/hub-ca.pem', '/data/adu/device.pem', '/data/adu/device.key'],
  )
  const tls = { key: await first.read('device.key'), cert: await first.read('device.pem') }
  assert.equal((await registerBySdk(hub, 'pi-1', tls)).deviceId, 'pi-1')
  assert.deepEqual((await readdir(join(out, 'pi-2'))).sort(), ['device.pem', 'du-config.json'])
  const own = {
    key: await readFile(join(dir, 'k'), 'utf8'),
    cert: await (await cardOf(out, 'pi-2')).read('device.pem'),
  }
  assert.equal((await registerBySdk(hub, 'pi-2', own)).deviceId, 'pi-2')
  const [row] = (await recordOf(out)).devices
  const leaf = new X509Certificate(tls.cert)
  assert.equal(row.thumbprint, leaf.fingerprint256.replaceAll(':', ''))
  assert.equal(Date.parse(row.expires), Date.parse(leaf.validTo))

  await rm(out, { recursive: true })
  assert.equal((await enrol('--device', 'pi-3', '--group', 'certified', '--x509', '--ca', ca)).exitCode, 0)
  const third = await cardOf(out, 'pi-3')
  const chain = { key: await third.read('device.key'), cert: await third.read('device.pem') }
  assert.equal((await registerBySdk(hub, 'pi-3', chain)).deviceId, 'pi-3')
})

test('a hundred devices through a throttled service, killed twice, end enrolled with one key each', async t => {
  const { hub, dir, out, args, enrol } = await anOffice(t)
  const ids = Array.from({ length: 100 }, (_, i) => `pi-${String(i).padStart(4, '0')}`)
  const csv = join(dir, 'batch.csv')
  await writeFile(csv, ['registrationId', ...ids].join('\n'))
  hub.provisioning.setServiceLimit(8)
  for (const least of [20, 60]) {
    const child = execa('node', [OPERATOR, 'enrol', ...args, '--csv', csv], at(hub))
    atEnd(t, async () => void child.kill('SIGKILL'))
    while (hub.provisioning.store.individuals.size < least) await new Promise(resolve => setTimeout(resolve, 20))
    child.kill('SIGKILL')
    await child
  }
  const before = new Map(hub.provisioning.store.individuals)
  assert.ok(before.size < 100, 'the test must interrupt it')
  const { exitCode, stdout } = await enrol('--csv', csv)
  assert.equal(exitCode, 0, stdout)
  assert.match(stdout, /100 of 100 enrolled/)
  for (const id of ids) {
    const { attestation, etag } = hub.provisioning.store.individuals.get(id)!
    assert.equal(attestation.type, 'symmetricKey')
    const key = attestation.type === 'symmetricKey' ? attestation.symmetricKey?.primaryKey : undefined
    assert.equal((await readFile(join(out, id, 'dps.key'), 'utf8')).trim(), key, id)
    if (before.has(id)) assert.equal(etag, before.get(id)?.etag, 'enrolled once')
  }
  const again = await enrol('--csv', csv, '--json')
  assert.equal(JSON.parse(again.stdout.slice(again.stdout.indexOf('{\n'))).enrolled, 100)
})

test('an enrolment of somebody else stays, and no card is left that would only look right', async t => {
  const { hub, out, enrol } = await anOffice(t)
  const theirs = hub.provisioning.enroll({ registrationId: 'pi-1', attestation: { type: 'symmetricKey' } })
  const { exitCode, stdout } = await enrol('--device', 'pi-1', 'pi-2')
  assert.equal(exitCode, 1)
  assert.match(stdout, /✘ pi-1 {2}it is enrolled already, with another credential/)
  assert.equal(hub.provisioning.store.individuals.get('pi-1')?.etag, theirs.etag)
  assert.deepEqual((await readdir(out)).sort(), ['pi-2', 'report.json'])
})

test('a folder with only a credential is completed with it', async t => {
  const { hub, dir, out, enrol } = await anOffice(t)
  hub.provisioning.enrollGroup({ enrollmentGroupId: 'fleet', attestation: { type: 'symmetricKey' } })
  const groupKey = join(dir, 'group.key')
  const attestation = hub.provisioning.store.groups.get('fleet')?.attestation
  assert.ok(attestation?.type === 'symmetricKey')
  // Both keys of a group are good.
  await writeFile(groupKey, attestation.symmetricKey?.secondaryKey ?? '')
  assert.equal((await operator(['derive-key', '--group-key-file', groupKey, '--out', out, 'pi-1'])).exitCode, 0)
  const read = () => readFile(join(out, 'pi-1', 'dps.key'), 'utf8')
  const key = await read()
  assert.equal((await enrol('--device', 'pi-1', '--group', 'fleet')).exitCode, 0)
  assert.equal(await read(), key)
  const { config } = await cardOf(out, 'pi-1')
  assert.equal(config.piAdu.provisioning.registrationId, 'pi-1')
  assert.deepEqual((await readdir(join(out, 'pi-1'))).sort(), ['dps.key', 'du-config.json'])
  assert.equal((await stat(join(out, 'pi-1', 'du-config.json'))).mode & 0o777, 0o600)
})

test('a key that is not of the group, and a group of another authority: one line that says so', async t => {
  const { hub, dir, out, enrol } = await anOffice(t)
  assert.equal((await enrol('--device', 'pi-1')).exitCode, 0)
  await rm(join(out, 'report.json'))
  const other = await enrol('--device', 'pi-1', '--group', 'fleet')
  assert.equal(other.exitCode, 64)
  assert.match(other.stderr, /batch\/pi-1 has a key that is not of the group fleet; move it away$/m)

  for (const ca of ['ours', 'theirs']) {
    assert.equal((await operator(['ca', 'create', join(dir, ca), '--name', ca])).exitCode, 0)
  }
  const certified = (id: string, ca: string) =>
    enrol('--device', id, '--group', 'certified', '--x509', '--ca', join(dir, ca))
  assert.equal((await certified('pi-2', 'ours')).exitCode, 0)
  const { exitCode, stderr } = await certified('pi-3', 'theirs')
  assert.equal(exitCode, 64)
  assert.match(stderr, /the group certified has another signing certificate than .*theirs/)
  await assert.rejects(stat(join(out, 'pi-3')))

  // The root in the group is as good as the intermediate.
  const certificate = await readFile(join(dir, 'ours', 'root.pem'), 'utf8')
  hub.provisioning.enrollGroup({
    enrollmentGroupId: 'certified',
    attestation: { type: 'x509', x509: { signingCertificates: { primary: { certificate } } } },
  })
  assert.equal((await certified('pi-4', 'ours')).exitCode, 0)
})

test('a card stays when the service may have taken the device, and is used again', async t => {
  const { hub, out, enrol } = await anOffice(t)
  const { individuals } = hub.provisioning.store
  const set = individuals.set.bind(individuals)
  individuals.set = (id, enrollment) => {
    set(id, enrollment)
    individuals.set = set
    throw new Error('after it was stored')
  }
  const { exitCode, stdout } = await enrol('--device', 'pi-1')
  assert.equal(exitCode, 1)
  assert.match(stdout, /✘ pi-1 .*\(500001\)/)
  const { read } = await cardOf(out, 'pi-1')
  const key = await read('dps.key')
  assert.equal((await enrol('--device', 'pi-1')).exitCode, 0)
  assert.equal(await read('dps.key'), key)
})

test('a device may be called like the working folder of another; the group may be written in any case', async t => {
  const { out, enrol } = await anOffice(t)
  assert.equal((await enrol('--device', 'pi.new', '--group', 'Fleet')).exitCode, 0)
  const { exitCode, stderr } = await enrol('--device', 'pi', 'pi.new', '--group', 'fleet')
  assert.deepEqual([exitCode, stderr], [0, ''])
  assert.deepEqual((await readdir(out)).sort(), ['pi', 'pi.new', 'report.json'])
  assert.equal((await cardOf(out, 'pi.new')).config.piAdu.provisioning.registrationId, 'pi.new')
})

test('the service loses an answer: the next attempt finds its own work', async t => {
  const { hub, enrol } = await anOffice(t)
  hub.faults.inject({ kind: 'failRest', path: '/enrollments', how: 'lose' })
  const { exitCode, stderr } = await enrol('--device', 'pi-1', '--patience', '30')
  assert.equal(exitCode, 0)
  assert.match(stderr, /the provisioning service: .*; the next attempt in 1 s/)
})

test('mistakes are one line, before anything is written', async t => {
  const { hub, dir, out, enrol } = await anOffice(t)
  const csv = async (text: string) => {
    const file = join(dir, `${Math.random()}.csv`)
    await writeFile(file, text)
    return ['--csv', file]
  }
  const cases: [args: string[], why: RegExp][] = [
    [[], /one of --csv and --device is needed/],
    [['--device', 'a b'], /"a b" is not a registration id/],
    [['--device', 'a', '--x509'], /--x509 and --ca belong together/],
    [['--device', 'a', '--tag', 'x'], /It is not like ADUGroup=pilot/],
    [await csv('id\npi-1\n'), /its first line must name the columns/],
    [await csv('registrationId\npi-1\nPI-1\n'), /line 3: pi-1 is in line 2 already/],
    [await csv('\uFEFFregistrationId\r\n\r\npi-1\r\n\r\n PI-1 \r\n'), /line 5: pi-1 is in line 3 already$/],
    [await csv('registrationId\rpi-1\rpi-1\r'), /line 3: pi-1 is in line 2 already$/],
    [await csv('registrationId\r\npi-1\r\npi 2\r\n'), /line 3: "pi 2" is not a registration id/],
    [
      await csv('registrationId,deviceId\r\npi-1,Gate\r\npi-2,Gate\r\n'),
      /line 3: line 2 has the device id Gate already$/,
    ],
    [await csv('registrationId,deviceId\r\npi-1,\r\npi-2,pi-1\r\n'), /line 3: line 2 has the device id pi-1 already$/],
    [await csv('registrationId,deviceId\npi-1\n'), /line 2: it must have 2 fields/],
    [await csv('registrationId\n"pi-1\n'), /line 2: it must have 1 fields/],
    [await csv('registrationId\n'), /has no device/],
    [await csv('registrationId,csr\npi-1,x.csr\n'), /line 2: a csr needs --x509/],
    [[...(await csv('registrationId,deviceId\npi-1,gate\n')), '--group', 'g'], /the CSV may have no deviceId/],
    [['--device', 'x'.repeat(65), '--x509', '--ca', dir], /is not a registration id: it has more than 64/],
  ]
  for (const [args, why] of cases) {
    const { exitCode, stderr } = await enrol(...args)
    assert.equal(exitCode, 64, stderr)
    assert.match(stderr, why)
    assert.equal(stderr.split('\n').length, 1)
  }
  await assert.rejects(stat(out))
  const wrong = hub.provisioning.serviceConnectionString.replace(/Key=[^=]+=$/, 'Key=d3Jvbmc=')
  const denied = await enrol('--device', 'pi-1', '--login', wrong)
  assert.equal(denied.exitCode, 4)
  assert.doesNotMatch(denied.stderr, /d3Jvbmc/)
  const device = await enrol('--device', 'pi-1', '--login', 'HostName=h;DeviceId=d;SharedAccessKey=k')
  assert.match(device.stderr, /--login is the connection string of a device/)
})

test('disable closes both doors, for a device of its own and for one of a group', async t => {
  const { hub, out, enrol } = await anOffice(t)
  hub.setAssignedHost(hub.hostName)
  assert.equal((await enrol('--device', 'pi-1')).exitCode, 0)
  const key1 = (await (await cardOf(out, 'pi-1')).read('dps.key')).trim()
  hub.provisioning.enrollGroup({ enrollmentGroupId: 'fleet', attestation: { type: 'symmetricKey' } })
  const key2 = hub.provisioning.deviceKey('fleet', 'pi-2')
  const key3 = hub.provisioning.deviceKey('fleet', 'pi-3')
  for (const [id, key] of [
    ['pi-1', key1],
    ['pi-2', key2],
    ['pi-3', key3],
  ] as const)
    await registerBySdk(hub, id, key)
  const { client } = await aDevice(t, hub, 'pi-2')
  const gone = new Promise(resolve => client.on('disconnect', resolve))

  const env = { ...at(hub).env, IOTHUB_CONNECTION_STRING: hub.serviceConnectionString }
  const disable = (...ids: string[]) =>
    operator(['disable', ...ids, '--reason', 'stolen'], undefined, { ...at(hub), env })
  const { exitCode, stdout, stderr } = await disable('Pi-1', 'pi-2', 'never-seen')
  assert.deepEqual([exitCode, stderr], [0, ''])
  assert.deepEqual(stdout.split('\n'), [
    'pi-1  enrollment disabled, device pi-1 disabled at the hub',
    'pi-2  enrollment blocked in its group, device pi-2 disabled at the hub',
    'never-seen  enrollment blocked in its group, device never-seen not there at the hub',
  ])
  await gone
  await assert.rejects(aDevice(t, hub, 'pi-2'), /Not authorized/)
  await assert.rejects(registerBySdk(hub, 'pi-1', key1), { name: 'SyntaxError' }) // of the SDK, at status "disabled"
  await assert.rejects(registerBySdk(hub, 'pi-2', key2), /Not authorized/)
  assert.equal((await registerBySdk(hub, 'pi-3', key3)).deviceId, 'pi-3', 'the rest of the group stays')
  assert.equal((await disable('pi-1', 'pi-2')).exitCode, 0, 'again')
})

test('disable: another hub than the device’s stays untouched, and what was done before an error is said', async t => {
  const { hub } = await anOffice(t)
  hub.provisioning.enrollGroup({ enrollmentGroupId: 'fleet', attestation: { type: 'symmetricKey' } })
  hub.setAssignedHost('elsewhere.azure-devices.net')
  await registerBySdk(hub, 'pi-1', hub.provisioning.deviceKey('fleet', 'pi-1'))
  hub.createDevice('pi-2')
  const env = { ...at(hub).env, IOTHUB_CONNECTION_STRING: hub.serviceConnectionString }
  const disable = (more: Record<string, string>, ...ids: string[]) =>
    operator(['disable', ...ids], undefined, { ...at(hub), env: { ...env, ...more } })
  const { exitCode, stdout, stderr } = await disable({}, 'pi-1', 'pi-2')
  assert.equal(exitCode, 1)
  assert.deepEqual(stdout.split('\n'), [
    'pi-1  enrollment blocked in its group, device pi-1 assigned to another hub',
    'pi-2  enrollment blocked in its group, device pi-2 disabled at the hub',
  ])
  assert.match(stderr, /pi-1 is assigned to elsewhere\.azure-devices\.net; call this again with its connection string/)
  await aDevice(t, hub, 'pi-1') // not disabled

  const wrong = hub.serviceConnectionString.replace(/SharedAccessKey=.*/, 'SharedAccessKey=d3Jvbmc=')
  const failed = await disable({ IOTHUB_CONNECTION_STRING: wrong }, 'pi-1', 'pi-2', '--json')
  assert.equal(failed.exitCode, 4)
  assert.deepEqual(
    JSON.parse(failed.stdout).map(({ registrationId, enrollment, hub }: Record<string, string>) => [
      ...[registrationId, enrollment, hub],
    ]),
    [
      ['pi-1', 'disabled', 'assigned elsewhere'],
      ['pi-2', 'disabled', 'not confirmed'],
    ],
  )
})

const jsonAfterProgress = (stdout: string) => JSON.parse(stdout.slice(stdout.indexOf('{\n')))

test('reprovision: an order for each device in its twin; the same order shows how far it is', async t => {
  const { hub } = await anOffice(t)
  const dir = await tempDir(t)
  hub.setAssignedHost(hub.hostName)
  hub.provisioning.enrollGroup({ enrollmentGroupId: 'fleet', attestation: { type: 'symmetricKey' } })
  const register = (id: string) => registerBySdk(hub, id, hub.provisioning.deviceKey('fleet', id))
  for (const id of ['pi-1', 'pi-2', 'pi-4']) await register(id)
  hub.deleteDevice('pi-4')
  const csv = join(dir, 'batch.csv')
  await writeFile(csv, 'registrationId\r\npi-1\r\npi-2\r\npi-4\r\nnever-seen\r\n')
  const env = { ...at(hub).env, IOTHUB_CONNECTION_STRING: hub.serviceConnectionString }
  const reprovision = (...args: string[]) => operator(['reprovision', ...args], undefined, { ...at(hub), env })
  const flags = ['--csv', csv, '--per-minute', '6000', '--json']
  const first = await reprovision(...flags)
  assert.equal(first.exitCode, 1, first.stderr)
  const { order, devices } = jsonAfterProgress(first.stdout)
  assert.ok(Math.abs(Date.parse(order) - Date.now()) < 600_000)
  const states = (list: { registrationId: string; state: string }[]) => list.map(each => each.state)
  assert.deepEqual(states(devices), ['ordered', 'ordered', 'not there', 'not registered'])
  for (const id of ['pi-1', 'pi-2']) {
    assert.deepEqual(hub.getTwin(id).properties.desired.piAdu, { reprovision: order })
  }
  await register('pi-1')
  const second = jsonAfterProgress((await reprovision(...flags, '--order', order)).stdout)
  assert.equal(second.order, order)
  assert.deepEqual(states(second.devices).slice(0, 2), ['registered', 'waiting'])

  const { exitCode, stdout } = await reprovision('PI-2', 'pi-2', '--order', 'spring')
  assert.deepEqual(
    [exitCode, stdout.split('\n').slice(-2)],
    [0, [`pi-2  registers again when it has seen the order (${hub.hostName})`, 'order spring']],
  )
  // Names that JavaScript takes for a day in the past.
  for (const name of ['move-2', '2026', '1:00', '2001-01-01']) {
    for (const state of ['ordered', 'waiting']) {
      const { devices } = jsonAfterProgress((await reprovision('pi-2', '--order', name, '--json')).stdout)
      assert.deepEqual(states(devices), [state], name)
    }
    assert.deepEqual(hub.getTwin('pi-2').properties.desired.piAdu, { reprovision: name })
  }
  hub.setAssignedHost('elsewhere.azure-devices.net')
  const elsewhere = await reprovision('pi-1', '--order', 'summer')
  assert.equal(elsewhere.exitCode, 1)
  assert.match(elsewhere.stdout, /^pi-1 {2}belongs to another hub: .*\(elsewhere\.azure-devices\.net\)/m)
  assert.deepEqual(hub.getTwin('pi-1').properties.desired.piAdu, { reprovision: order })
  for (const [args, says] of [
    [[], /one of --csv and registration ids is needed/],
    [['pi-1', '--csv', csv], /one of --csv and registration ids is needed/],
    [['pi-1', '--order', 'a b'], /--order.*It has characters beside/],
    [['pi 1'], /"pi 1"/],
  ] as const) {
    const refused = await reprovision(...args)
    assert.deepEqual([refused.exitCode, says.test(refused.stderr)], [64, true], refused.stderr)
  }
})

test('reprovision: Ctrl-C ends the pause, and what was ordered stands in the result with the name of the order', async t => {
  const { hub } = await anOffice(t)
  hub.setAssignedHost(hub.hostName)
  hub.provisioning.enrollGroup({ enrollmentGroupId: 'fleet', attestation: { type: 'symmetricKey' } })
  for (const id of ['pi-1', 'pi-2']) await registerBySdk(hub, id, hub.provisioning.deviceKey('fleet', id))
  const env = { ...at(hub).env, IOTHUB_CONNECTION_STRING: hub.serviceConnectionString }
  const args = ['reprovision', 'pi-1', 'pi-2', '--order', 'spring', '--per-minute', '1', '--json']
  const running = execa('node', [OPERATOR, ...args], { ...at(hub), env, reject: false })
  // Then comes a pause of a minute.
  while (!hub.getTwin('pi-1').properties.desired.piAdu) await sleep(5)
  running.kill('SIGINT')
  const { exitCode, ...said } = await running
  const [stdout, stderr] = [String(said.stdout), String(said.stderr)]
  assert.equal(exitCode, 5, stderr)
  assert.match(stderr, /^order spring\n.*stopped after 1 of 2 devices; --order spring continues it$/)
  const { order, devices } = jsonAfterProgress(stdout)
  assert.deepEqual([order, devices.length, devices[0].state], ['spring', 1, 'ordered'])
  assert.deepEqual(hub.getTwin('pi-1').properties.desired.piAdu, { reprovision: 'spring' })
  assert.equal(hub.getTwin('pi-2').properties.desired.piAdu, undefined)
})

test('identities expiring: individual and as devices report it, page by page, with the later of two certificates', async t => {
  const { hub } = await anOffice(t)
  const dir = await tempDir(t)
  const day = 86_400_000
  const life = (days: number) => ({
    from: new Date(Date.now() - 30 * day),
    until: new Date(Date.now() + days * day + 3_600_000),
  })
  const enrolled = async (registrationId: string, ...days: number[]) => {
    const [primary, secondary] = await Promise.all(days.map(each => selfSignedDevice(registrationId, life(each))))
    const place = (credential?: { cert: string }) => credential && { certificate: credential.cert }
    const clientCertificates = { primary: place(primary), secondary: place(secondary) }
    hub.provisioning.enroll({ registrationId, attestation: { type: 'x509', x509: { clientCertificates } } })
  }
  await enrolled('pi-soon', 7)
  await enrolled('pi-ended', -3)
  await enrolled('pi-later', 90)
  await enrolled('pi-rolled', 5, 400)
  for (let i = 0; i < 120; i++)
    hub.provisioning.enroll({ registrationId: `key-${i}`, attestation: { type: 'symmetricKey' } })
  const root = await Issuer.open(join(dir, 'root'), 'Root')
  const signingCertificates = { primary: { certificate: root.certificate } }
  hub.provisioning.enrollGroup({
    enrollmentGroupId: 'fleet',
    attestation: { type: 'x509', x509: { signingCertificates } },
  })
  hub.setAssignedHost(hub.hostName)
  const grouped = await root.issue('pi-grouped')
  await registerBySdk(hub, 'pi-grouped', grouped)
  await registerBySdk(hub, 'pi-silent', await root.issue('pi-silent'))
  for (let i = 0; i < 120; i++) hub.createDevice(`keyed-${i}`)

  const env = { ...at(hub).env, IOTHUB_CONNECTION_STRING: hub.serviceConnectionString }
  const run = (...more: string[]) => operator(['identities', 'expiring', ...more], undefined, { ...at(hub), env })
  const unknown = await run('--within', '3d')
  assert.match(unknown.stdout, /pi-ended .*has ended\n1 of 4 certificates$/)
  assert.match(unknown.stderr, /2 devices do not say when their certificate ends: pi-grouped, pi-silent$/)

  const client = aClient(t, hub, 'pi-grouped', `HostName=localhost:${hub.mqttPort};DeviceId=pi-grouped;x509=true`)
  await client.setOptions({ ca: hub.ca, ...grouped })
  await client.open()
  const certificate = certificateIn({
    auth: { kind: 'x509', chain: grouped.cert, key: grouped.key, passphrase: undefined },
  })
  await report(await client.getTwin(), { piAdu: { certificate } })

  const { exitCode, stdout, stderr } = await run('--json')
  assert.equal(exitCode, 1)
  assert.match(stderr, /1 device does not say when its certificate ends: pi-silent$/)
  const said: { expiring: Record<string, string | number>[]; certificates: number; unknown: string[] } =
    JSON.parse(stdout)
  assert.deepEqual(
    said.expiring.map(({ registrationId, deviceId, daysLeft }) => [registrationId ?? deviceId, daysLeft]),
    [
      ['pi-ended', -3],
      ['pi-grouped', 0],
      ['pi-soon', 7],
    ],
  )
  assert.equal(said.expiring[1]?.thumbprint, certificate?.sha256)
  assert.deepEqual([said.certificates, said.unknown], [5, ['pi-silent']])
  hub.provisioning.store.individuals.delete('pi-ended')
  hub.deleteDevice('pi-grouped')
  assert.deepEqual([(await run('--within', '1h')).exitCode, (await run('--within', 'soon')).exitCode], [0, 64])
  const noHub = await operator(['identities', 'expiring'], undefined, at(hub))
  assert.match(noHub.stderr, /set IOTHUB_CONNECTION_STRING, or use --hub-login-file$/)
})
