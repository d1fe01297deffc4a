import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { execa } from 'execa'
import type { IConnectPacket, Packet } from 'mqtt-packet'
import { type BenchHub, startHub } from '../bench/hub/hub.ts'
import { createSas } from '../bench/hub/sas.ts'
import { connectPacket, RawClient, rawDevice } from './raw-mqtt.ts'
import { aClient, aDevice, aHub, listenToDesired, report, tempDir, within } from './support.ts'

// Who may connect, for how long, and what a misbehaving client can do: only lose its own connection.

let hub: BenchHub
let dir: string
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bench-hub-'))
  hub = await startHub({ stateDir: dir })
  hub.createDevice('pump')
  hub.createDevice('other')
})
after(async () => {
  await hub.stop()
  await rm(dir, { recursive: true })
})

async function returnCode(changes: Partial<IConnectPacket>): Promise<number | undefined> {
  const client = await RawClient.open(hub)
  client.send(connectPacket(hub, 'pump', changes))
  const connack = await client.got('connack')
  if (connack.returnCode !== 0) await within(5000, client.closed)
  client.socket.destroy()
  return connack.returnCode
}

const username = (text: string) => ({ username: text })
const token = (sr: string, key = keyOf('pump'), expires = Date.now() / 1000 + 60) => ({
  password: Buffer.from(createSas(sr, key, expires)),
})
const keyOf = (id: string) => /SharedAccessKey=([^;]*)/.exec(hub.deviceConnectionString(id))![1]!
const SR = 'bench.azure-devices.net%2Fdevices%2Fpump'

const connects: [what: string, changes: () => Partial<IConnectPacket>, code: number][] = [
  ['good', () => ({}), 0],
  ['host in other case, with port', () => username('Localhost:1234/pump/?api-version=2021-04-12'), 0],
  ['token with a port and lower-case escapes', () => token('localhost%3a8883%2fdevices%2fpump'), 0],
  ['key of another device', () => token(SR, keyOf('other')), 5],
  ['token of another device', () => token('bench.azure-devices.net%2Fdevices%2Fother', keyOf('other')), 5],
  ['token of another hub', () => token('evil.azure-devices.net%2Fdevices%2Fpump'), 5],
  ['expired token', () => token(SR, keyOf('pump'), Date.now() / 1000 - 1), 5],
  ['no password', () => ({ password: undefined as unknown as Buffer }), 5],
  ['password that is no token', () => ({ password: Buffer.from('secret') }), 5],
  ['unknown device', () => ({ clientId: 'nobody', ...username('bench.azure-devices.net/nobody/?api-version=1') }), 5],
  ['username of another device', () => username('bench.azure-devices.net/other/?api-version=2021-04-12'), 5],
  ['username of another hub', () => username('evil.azure-devices.net/pump/?api-version=2021-04-12'), 5],
  ['username without api-version', () => username('bench.azure-devices.net/pump/?x=1'), 5],
  ['a module', () => ({ clientId: 'pump/m', ...username('bench.azure-devices.net/pump/m/?api-version=1') }), 5],
  ['MQTT 3.1', () => ({ protocolId: 'MQIsdp', protocolVersion: 3 }), 1],
]
for (const [what, changes, code] of connects) {
  test(`CONNECT: ${what} → ${code}`, async () => assert.equal(await returnCode(changes()), code))
}

test('the SDK names a wrong key as not authorized', async t => {
  const wrong = hub.deviceConnectionString('pump').replace(keyOf('pump'), keyOf('other'))
  const client = aClient(t, hub, 'pump', wrong)
  await client.setOptions({ ca: hub.ca })
  await assert.rejects(client.open(), { name: 'UnauthorizedError', message: /Connection refused: Not authorized/ })
})

test('a device with a certificate: its own is accepted, another or a token is not', async t => {
  const folder = await tempDir(t)
  const make = async (name: string) => {
    const line = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=${name} -keyout ${name}.key -out ${name}.pem`
    await execa('openssl', line.split(' '), { cwd: folder })
    const read = (end: string) => readFile(join(folder, `${name}.${end}`), 'utf8')
    return { key: await read('key'), cert: await read('pem') }
  }
  const [own, foreign] = [await make('own'), await make('foreign')]
  hub.createDevice('x509', { thumbprint: new X509Certificate(own.cert).fingerprint.replaceAll(':', '').toLowerCase() })

  const outcome = async (tls: { key?: string; cert?: string }, changes: Partial<IConnectPacket>) => {
    const client = await RawClient.open(hub, tls)
    client.send(connectPacket(hub, 'x509', changes))
    return (await client.got('connack')).returnCode
  }
  const noPassword = { password: undefined as unknown as Buffer }
  assert.equal(await outcome(foreign, noPassword), 5)
  assert.equal(await outcome({}, {}), 5)
  assert.equal(await outcome(own, noPassword), 0)

  const client = aClient(t, hub, 'x509', `HostName=localhost:${hub.mqttPort};DeviceId=x509;x509=true`)
  await client.setOptions({ ca: hub.ca, ...own })
  await client.open()
  await within(5000, client.getTwin())
})

test('one connection per device: the earlier one is closed', async () => {
  const first = await rawDevice(hub, 'pump')
  const second = await rawDevice(hub, 'pump')
  await within(5000, first.closed)
  assert.equal(hub.isConnected('pump'), true)
  second.socket.destroy()
  await hub.waitForDisconnected('pump')
})

test('silence beyond one and a half keepalives closes; pings keep open', async () => {
  const silent = await rawDevice(hub, 'pump', { keepalive: 1 })
  const started = performance.now()
  await within(5000, silent.closed)
  const lasted = performance.now() - started
  assert.ok(lasted > 1300 && lasted < 2500, `${lasted} ms`)

  const alive = await rawDevice(hub, 'pump', { keepalive: 1 })
  for (let round = 0; round < 4; round++) {
    await new Promise(resolve => setTimeout(resolve, 500))
    alive.send({ cmd: 'pingreq' })
  }
  await alive.got('pingresp')
  assert.equal(alive.socket.destroyed, false)
  alive.socket.destroy()
})

test('the connection ends with its token', async () => {
  const expires = Math.ceil(Date.now() / 1000) + 1
  const client = await rawDevice(hub, 'pump', token(SR, keyOf('pump'), expires))
  await within(5000, client.closed)
  const late = Date.now() - expires * 1000
  assert.ok(late >= -20 && late < 1000, `${late} ms late`)
})

test('a device that is disabled, deleted or given a new key loses its connection', async () => {
  const disabled = await rawDevice(hub, 'a')
  hub.setStatus('a', 'disabled')
  await within(5000, disabled.closed)
  await assert.rejects(rawDevice(hub, 'a'), /CONNACK 5/)

  const deleted = await rawDevice(hub, 'b')
  hub.deleteDevice('b')
  await within(5000, deleted.closed)
  assert.equal(hub.hasDevice('b'), false)
})

const publish = (changes: object): Packet => ({
  cmd: 'publish',
  topic: 'devices/pump/messages/events/',
  payload: 'x',
  qos: 0,
  dup: false,
  retain: false,
  ...changes,
})

const misdeeds: [what: string, sends: Packet | Buffer][] = [
  ['QoS 2', publish({ qos: 2, messageId: 1 })],
  ['telemetry of another device', publish({ topic: 'devices/other/messages/events/' })],
  ['a topic of nobody', publish({ topic: 'hello' })],
  ['a twin request without request id', publish({ topic: '$iothub/twin/GET/?x=1' })],
  ['a second CONNECT', { cmd: 'connect', clientId: 'pump', keepalive: 1, protocolId: 'MQTT', protocolVersion: 4 }],
  ['a packet only servers send', { cmd: 'suback', messageId: 1, granted: [0] }],
  ['an unknown packet type', Buffer.from([0x00, 0x00])],
  ['a truncated SUBSCRIBE', Buffer.from([0x82, 0x01, 0x00])],
  [
    'a length beyond all measure',
    Buffer.concat([Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]), Buffer.alloc(300 * 1024)]),
  ],
  ['a PUBLISH whose topic is longer than it', Buffer.from([0x30, 0x03, 0xff, 0xff, 0x41])],
]
for (const [what, bytes] of misdeeds) {
  test(`${what} closes that connection and no other`, async () => {
    const bystander = await rawDevice(hub, 'other')
    const client = await rawDevice(hub, 'pump')
    client.send(bytes)
    await within(5000, client.closed)
    bystander.send({ cmd: 'pingreq' })
    await bystander.got('pingresp')
    bystander.socket.destroy()
  })
}

test('random bytes, before and after CONNECT, do no harm', async () => {
  for (let seed = 0; seed < 40; seed++) {
    const noise = Buffer.from(Array.from({ length: 64 }, (_, i) => (seed * 7919 + i * i * 104_729) % 251))
    const client = seed % 2 ? await rawDevice(hub, 'pump') : await RawClient.open(hub)
    client.send(noise)
    client.socket.end()
    client.socket.destroySoon()
  }
  const client = await rawDevice(hub, 'pump')
  client.socket.destroy()
})

test('patches that are not JSON objects are answered with 400 and a code', async () => {
  const client = await rawDevice(hub, 'pump')
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '$iothub/twin/res/#', qos: 0 }] })
  for (const payload of ['{"a":', 'null', '[1]', '"x"', '['.repeat(100_000), '{"a b":1}']) {
    client.packets.length = 0
    client.send(publish({ topic: '$iothub/twin/PATCH/properties/reported/?$rid=a%20b', payload }))
    const answer = await client.got('publish')
    assert.equal(answer.topic, '$iothub/twin/res/400/?$rid=a%20b')
    assert.equal(JSON.parse(answer.payload.toString()).errorCode, 400004)
  }
  client.socket.destroy()
})

test('only known topics can be subscribed to, and telemetry is acknowledged', async () => {
  const client = await rawDevice(hub, 'pump')
  const filters = [
    '#',
    'devices/other/messages/devicebound/#',
    'devices/pump/messages/devicebound/#',
    '$iothub/methods/POST/#',
  ]
  client.send({ cmd: 'subscribe', messageId: 7, subscriptions: filters.map(topic => ({ topic, qos: 1 })) })
  assert.deepEqual((await client.got('suback')).granted, [0x80, 0x80, 1, 1])
  client.send({ cmd: 'unsubscribe', messageId: 8, unsubscriptions: ['$iothub/methods/POST/#'] })
  await client.got('unsuback')
  assert.equal(hub.isSubscribed('pump', '$iothub/methods/POST/#'), false)

  const seen: string[] = []
  const off = hub.onEvent(event => {
    if (event.type === 'telemetry') seen.push(`${event.properties} ${event.body}`)
  })
  client.send(publish({ topic: 'devices/pump/messages/events/%24.mid=1', qos: 1, messageId: 9, payload: '21.5' }))
  assert.equal((await client.got('puback')).messageId, 9)
  off()
  assert.deepEqual(seen, ['%24.mid=1 21.5'])
  client.socket.destroy()
})

test('a method is answered by the device that was asked, with JSON, and once', async () => {
  const [asked, meddler] = [await rawDevice(hub, 'pump'), await rawDevice(hub, 'other')]
  asked.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '$iothub/methods/POST/#', qos: 0 }] })
  await asked.got('suback')
  const call = async (answers: (rid: string) => void) => {
    asked.packets.length = 0
    const outcome = hub.invokeMethod('pump', 'on', { x: 1 }, { responseMs: 300 })
    const { topic, payload } = await asked.got('publish')
    assert.match(topic, /^\$iothub\/methods\/POST\/on\/\?\$rid=\w+$/)
    assert.equal(payload.toString(), '{"x":1}')
    answers(topic.split('$rid=')[1]!)
    return await outcome
  }
  const answer = (client: RawClient, rid: string, payload: string) =>
    client.send(publish({ topic: `$iothub/methods/res/200/?$rid=${rid}`, payload }))

  await assert.rejects(
    call(rid => answer(meddler, rid, '1')),
    { errorCode: 504101 },
  )
  await assert.rejects(
    call(rid => answer(asked, rid, '{"a":')),
    { status: 502 },
  )
  const good = await call(rid => {
    answer(asked, rid, '2')
    answer(asked, rid, '3')
  })
  assert.deepEqual(good, { status: 200, payload: 2 })
  asked.socket.destroy()
  meddler.socket.destroy()
})

test('without a subscription no twin answer is delivered', async () => {
  const client = await rawDevice(hub, 'quiet')
  client.send(publish({ topic: '$iothub/twin/GET/?$rid=1', payload: ' ' }))
  client.send({ cmd: 'pingreq' })
  await client.got('pingresp')
  assert.equal(
    client.packets.some(packet => packet.cmd === 'publish'),
    false,
  )
  client.socket.destroy()
})

test('subscriptions are remembered over connections and over a restart of the hub', async t => {
  const stateDir = await tempDir(t)
  const first = await aHub(t, { stateDir })
  const { client, twin } = await aDevice(t, first, 'valve')
  await listenToDesired(twin, first, 'valve')
  await report(twin, { a: 1 })
  first.updateDesired('valve', { b: 2 })
  await client.close()
  const before = first.getTwin('valve')
  const restored = (hub: BenchHub) => hub.isSubscribed('valve', '$iothub/twin/PATCH/properties/desired/#')

  const again = await rawDevice(first, 'valve')
  assert.equal((await again.got('connack')).sessionPresent, true)
  assert.equal(restored(first), true)
  await first.stop()

  const second = await aHub(t, { stateDir })
  assert.deepEqual({ ...second.getTwin('valve'), lastActivityTime: 0 }, { ...before, lastActivityTime: 0 })
  const third = await rawDevice(second, 'valve')
  assert.equal((await third.got('connack')).sessionPresent, true)
  assert.equal(restored(second), true)

  const clean = await rawDevice(second, 'valve', { clean: true })
  assert.equal((await clean.got('connack')).sessionPresent, false)
  assert.equal(restored(second), false)
  const last = await rawDevice(second, 'valve')
  assert.equal((await last.got('connack')).sessionPresent, false)
  last.socket.destroy()
})
