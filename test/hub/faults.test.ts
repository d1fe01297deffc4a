import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import type { IPublishPacket } from 'mqtt-packet'
import { type BenchHub, type Fault, startHub } from '../bench/hub/hub.ts'
import { type RawClient, rawDevice } from './raw-mqtt.ts'
import { rest } from './rest-call.ts'
import { aClient, aDevice, atEnd, desiredPatch, listenToDesired, report, within } from './support.ts'

let hub: BenchHub
let dir: string
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bench-hub-'))
  hub = await startHub({ stateDir: dir })
  hub.createDevice('pump')
  hub.createDevice('other')
})
afterEach(() => hub.faults.clear())
after(async () => {
  await hub.stop()
  await rm(dir, { recursive: true })
})

const pings = async (client: RawClient) => {
  client.send({ cmd: 'pingreq' })
  await client.got('pingresp')
}

/** A device without SDK, with all subscriptions. */
async function subscribed(id: string): Promise<RawClient> {
  const client = await rawDevice(hub, id)
  const filters = ['$iothub/twin/res/#', '$iothub/twin/PATCH/properties/desired/#', '$iothub/methods/POST/#']
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: filters.map(topic => ({ topic, qos: 0 })) })
  await client.got('suback')
  return client
}

/** What the hub publishes as answer to a twin request; empty when it stays silent. */
async function twinAnswers(client: RawClient, request: 'get' | 'patch'): Promise<IPublishPacket[]> {
  client.packets.length = 0
  const topic = { get: '$iothub/twin/GET/?$rid=1', patch: '$iothub/twin/PATCH/properties/reported/?$rid=1' }[request]
  client.send({ cmd: 'publish', topic, payload: '{"a":1}', qos: 0, dup: false, retain: false })
  await pings(client)
  return client.packets.filter(packet => packet.cmd === 'publish')
}

test('dropSockets: all, or one', async () => {
  const [pump, other] = [await rawDevice(hub, 'pump'), await rawDevice(hub, 'other')]
  hub.faults.inject({ kind: 'dropSockets', deviceId: 'pump' })
  await within(2000, pump.closed)
  await pings(other)
  hub.faults.inject({ kind: 'dropSockets' })
  await within(2000, other.closed)
  const again = await rawDevice(hub, 'pump')
  again.socket.destroy()
})

test('dropSockets: the SDK comes back, without having been told what changed meanwhile', async t => {
  hub.createDevice('valve')
  const client = aClient(t, hub, 'valve', undefined, { retries: true })
  await client.setOptions({ ca: hub.ca })
  await client.open()
  const twin = await client.getTwin()
  const seen = await listenToDesired(twin, hub, 'valve')
  hub.faults.inject({ kind: 'dropSockets' })
  assert.equal(hub.isConnected('valve'), false)
  hub.updateDesired('valve', { missed: 1 })
  await hub.waitForConnected('valve')
  const next = desiredPatch(twin, 3)
  hub.updateDesired('valve', { seen: 1 })
  await next
  assert.equal(
    seen.some(patch => 'missed' in patch),
    false,
  )
})

test('refuseConnections: reset, not authorized, unavailable, then good again', async t => {
  const open = async () => {
    const client = aClient(t, hub, 'pump')
    await client.setOptions({ ca: hub.ca })
    await within(5000, client.open())
    await client.close()
  }
  hub.faults.inject({ kind: 'refuseConnections', times: 2 })
  await assert.rejects(open(), { name: 'UnauthorizedError' })
  await assert.rejects(open(), { name: 'UnauthorizedError' })
  hub.faults.inject({ kind: 'refuseConnections', how: 'notAuthorized', deviceId: 'pump' })
  await assert.rejects(open(), /Connection refused: Not authorized/)
  hub.faults.inject({ kind: 'refuseConnections', how: 'unavailable' })
  await assert.rejects(open(), /Connection refused: Server unavailable/)
  hub.faults.inject({ kind: 'refuseConnections', how: 'reset', deviceId: 'pump' })
  await assert.rejects(open())
  hub.faults.inject({ kind: 'refuseConnections', deviceId: 'other', times: 'always' })
  await open()
  await assert.rejects(rawDevice(hub, 'other'), /closed/)
})

test('blackHole: the connection stays and says nothing any more', async t => {
  const { client } = await aDevice(t, hub, 'pump')
  hub.faults.inject({ kind: 'blackHole', deviceId: 'pump' })
  await assert.rejects(within(300, client.getTwin()), /not settled/)
  assert.equal(hub.isConnected('pump'), true)

  hub.faults.inject({ kind: 'blackHole', deviceId: 'other', times: 1 })
  await assert.rejects(within(300, rawDevice(hub, 'other')), /not settled/)
  const second = await rawDevice(hub, 'other')
  await pings(second)
  second.socket.destroy()
})

test('expireTokens: live connections, and new ones after a while', async () => {
  const live = await rawDevice(hub, 'pump')
  hub.faults.inject({ kind: 'expireTokens', deviceId: 'pump', afterMs: 100, times: 1 })
  await within(2000, live.closed)
  const next = await rawDevice(hub, 'pump')
  await within(2000, next.closed)
  const third = await rawDevice(hub, 'pump')
  await new Promise(resolve => setTimeout(resolve, 200))
  await pings(third)
  third.socket.destroy()
})

test('forgetSessions: after a reconnect the SDK waits in vain for twin answers', async t => {
  hub.createDevice('tank')
  const client = aClient(t, hub, 'tank', undefined, { retries: true })
  await client.setOptions({ ca: hub.ca })
  await client.open()
  const twin = await client.getTwin()
  await listenToDesired(twin, hub, 'tank')
  await report(twin, { n: 1 })
  hub.faults.inject({ kind: 'forgetSessions' })
  hub.faults.inject({ kind: 'dropSockets' })
  await hub.waitForConnected('tank')
  await assert.rejects(within(500, client.getTwin()), /not settled/)
  assert.equal(hub.isSubscribed('tank', '$iothub/twin/res/#'), false)
})

test('twinAnswer: lost, late, and refused in every way', async () => {
  const client = await subscribed('pump')
  const inject = (fault: Omit<Extract<Fault, { kind: 'twinAnswer' }>, 'kind'>) =>
    hub.faults.inject({ kind: 'twinAnswer', ...fault })

  inject({ do: { do: 'lose' }, times: 2 })
  assert.deepEqual(await twinAnswers(client, 'get'), [])
  const { $version } = hub.getTwin('pump').properties.reported
  assert.deepEqual(await twinAnswers(client, 'patch'), [])
  assert.equal(hub.getTwin('pump').properties.reported.$version, Number($version) + 1)
  assert.equal((await twinAnswers(client, 'get')).length, 1)

  inject({ to: 'patch', do: { do: 'fail', status: 429 } })
  assert.match((await twinAnswers(client, 'get'))[0]!.topic, /res\/200\//)
  const [refused] = await twinAnswers(client, 'patch')
  assert.equal(refused!.topic, '$iothub/twin/res/429/?$rid=1')
  assert.equal(JSON.parse(refused!.payload.toString()).errorCode, 429001)
  assert.equal(hub.getTwin('pump').properties.reported.$version, Number($version) + 1)

  inject({ do: { do: 'fail', status: 429, body: 'empty' } })
  assert.equal((await twinAnswers(client, 'get'))[0]!.payload.length, 0)
  inject({ do: { do: 'fail', status: 500, body: 'malformed' } })
  const [malformed] = await twinAnswers(client, 'get')
  assert.throws(() => JSON.parse(malformed!.payload.toString()), SyntaxError)

  inject({ do: { do: 'delay', ms: 150 } })
  const started = performance.now()
  assert.deepEqual(await twinAnswers(client, 'get'), [])
  await client.got('publish')
  assert.ok(performance.now() - started >= 145)
  client.socket.destroy()
})

test('twinAnswer: the SDK hands out a refusal as a plain error, whatever its status', async t => {
  const { twin } = await aDevice(t, hub, 'pump')
  hub.faults.inject({ kind: 'twinAnswer', to: 'patch', do: { do: 'fail', status: 429 } })
  await assert.rejects(report(twin, { a: 1 }), { name: 'Error', message: 'an injected fault' })
})

test('loseDesired: the version shows the gap', async t => {
  const { twin } = await aDevice(t, hub, 'lamp')
  const seen = await listenToDesired(twin, hub, 'lamp')
  hub.faults.inject({ kind: 'loseDesired', deviceId: 'lamp' })
  hub.updateDesired('lamp', { a: 1 })
  const next = desiredPatch(twin, 3)
  hub.updateDesired('lamp', { b: 1 })
  await next
  assert.deepEqual(
    seen.map(patch => patch.$version).filter(version => version === 2),
    [],
  )
})

test('duplicatePublish: the next publish comes twice', async () => {
  const client = await subscribed('pump')
  hub.faults.inject({ kind: 'duplicatePublish' })
  assert.equal((await twinAnswers(client, 'get')).length, 2)
  assert.equal((await twinAnswers(client, 'get')).length, 1)
  client.socket.destroy()
})

test('closeOnMethod: before or after the call was delivered', async () => {
  for (const when of ['beforeDelivery', 'afterDelivery'] as const) {
    const client = await subscribed('pump')
    hub.faults.inject({ kind: 'closeOnMethod', when })
    const call = hub.invokeMethod('pump', 'on', null, { responseMs: 200 })
    const outcome = assert.rejects(call, { errorCode: 504101 })
    await within(2000, client.closed)
    const delivered = client.packets.some(packet => packet.cmd === 'publish')
    assert.equal(delivered, when === 'afterDelivery')
    await outcome
  }
})

test('failRest: status, reset, no answer; other paths are spared', async () => {
  const status = async (path = '/twins/pump') => (await rest(hub, 'GET', path)).status
  hub.faults.inject({ kind: 'failRest', how: 503 })
  assert.equal(await status(), 503)
  hub.faults.inject({ kind: 'failRest', how: 'reset' })
  await assert.rejects(status(), /hang up|ECONNRESET/)
  hub.faults.inject({ kind: 'failRest', how: 'hang' })
  await assert.rejects(within(200, status()), /not settled/)
  hub.faults.inject({ kind: 'failRest', how: 429, path: '/devices', times: 'always' })
  assert.deepEqual([await status(), await status('/devices'), await status('/devices')], [200, 429, 429])
  hub.faults.clear('failRest')
  assert.equal(await status('/devices'), 200)
})

test('faults can be told, listed and cleared over REST, even when all else fails', async t => {
  const bench = (method: string, body?: unknown) => rest(hub, method, '/bench/faults', { body })
  hub.faults.inject({ kind: 'failRest', how: 500, times: 'always' })
  assert.equal((await bench('POST', { kind: 'loseDesired', deviceId: 'pump', times: 2 })).status, 204)
  assert.deepEqual((await bench('GET')).body, [
    { kind: 'failRest', how: 500, times: 'always' },
    { kind: 'loseDesired', deviceId: 'pump', times: 2 },
  ])
  for (const wrong of [
    {},
    { kind: 'earthquake' },
    { kind: 'loseDesired', times: -1 },
    { kind: 'failRest', how: 200 },
    undefined,
  ]) {
    assert.equal((await bench('POST', wrong)).status, 400)
  }
  const client = await rawDevice(hub, 'pump')
  atEnd(t, async () => client.socket.destroy())
  assert.equal((await bench('POST', { kind: 'dropSockets' })).status, 204)
  await within(2000, client.closed)
  assert.equal((await bench('DELETE')).status, 204)
  assert.deepEqual(hub.faults.armed(), [])
})
