import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DeviceMethodRequest, DeviceMethodResponse } from 'azure-iot-device'
import { aClient, aDevice, aHub, desiredPatch, listenToDesired, report } from './support.ts'

test('a device connects, reads its twin, reports, and is told of desired changes', async t => {
  const hub = await aHub(t)
  hub.createDevice('pump')
  hub.updateDesired('pump', { speed: 3, gone: true })
  const { twin } = await aDevice(t, hub, 'pump')
  assert.deepEqual(twin.properties.desired.speed, 3)
  assert.equal(twin.properties.desired.$version, 2)
  assert.equal('$metadata' in twin.properties.desired, false)

  await report(twin, { state: { led: 'green' }, list: [1, 2] })
  assert.deepEqual(hub.getTwin('pump').properties.reported.state, { led: 'green' })
  assert.equal(hub.getTwin('pump').properties.reported.$version, 2)
  await report(twin, { state: { led: null, fan: 1 } })
  assert.deepEqual(hub.getTwin('pump').properties.reported.state, { fan: 1 })

  await listenToDesired(twin, hub, 'pump')
  const patch = desiredPatch(twin, 3)
  hub.updateDesired('pump', { speed: 4, gone: null })
  assert.deepEqual(await patch, { speed: 4, gone: null, $version: 3 })
})

test('a method call reaches the device and its answer comes back', async t => {
  const hub = await aHub(t)
  const { client } = await aDevice(t, hub, 'pump')
  client.onDeviceMethod('blink', (request: DeviceMethodRequest, response: DeviceMethodResponse) => {
    response.send(201, { echo: request.payload }, () => {})
  })
  await hub.waitFor(() => hub.isSubscribed('pump', '$iothub/methods/POST/#'))
  const answer = await hub.invokeMethod('pump', 'blink', { times: 3 })
  assert.deepEqual(answer, { status: 201, payload: { echo: { times: 3 } } })
})

test('two devices see nothing of each other', async t => {
  const hub = await aHub(t)
  const [a, b] = await Promise.all([aDevice(t, hub, 'a'), aDevice(t, hub, 'b')])
  const [seenByA, seenByB] = [await listenToDesired(a.twin, hub, 'a'), await listenToDesired(b.twin, hub, 'b')]
  const before = hub.stats().get('b')!.messagesOut

  await report(a.twin, { secret: 1 })
  await a.client.getTwin()
  const patch = desiredPatch(a.twin, 2)
  hub.updateDesired('a', { x: 1 })
  await patch
  assert.equal(hub.stats().get('b')!.messagesOut, before)
  assert.deepEqual(
    seenByB.filter(seen => 'x' in seen),
    [],
  )
  assert.equal(
    seenByA.some(seen => 'x' in seen),
    true,
  )
  assert.equal('secret' in hub.getTwin('b').properties.reported, false)
})

test('every form of the connection string works', async t => {
  const hub = await aHub(t)
  hub.createDevice('pump')
  for (const text of [hub.deviceConnectionString('pump'), hub.deviceConnectionString('pump', { direct: true })]) {
    const client = aClient(t, hub, 'pump', text)
    await client.setOptions({ ca: hub.ca })
    await client.open()
    await client.getTwin()
    await client.close()
  }
})
