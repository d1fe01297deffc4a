import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import iothub from 'azure-iothub'
import { type BenchHub, startHub } from '../bench/hub/hub.ts'
import { preloadFile } from '../bench/hub/preload.ts'
import { rest } from './rest-call.ts'
import { aDevice, desiredPatch, listenToDesired } from './support.ts'

// The unmodified service SDK in this process, led to the hub by the preload; and bare REST for what the SDK hides.

let hub: BenchHub
let dir: string
let registry: InstanceType<typeof iothub.Registry>
let service: InstanceType<typeof iothub.Client>
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bench-hub-'))
  hub = await startHub({ stateDir: dir })
  process.env.PI_ADU_BENCH = hub.benchFile
  createRequire(import.meta.url)(preloadFile())
  registry = iothub.Registry.fromConnectionString(hub.serviceConnectionString)
  service = iothub.Client.fromConnectionString(hub.serviceConnectionString)
})
after(async () => {
  await hub.stop()
  await rm(dir, { recursive: true })
})

// biome-ignore lint/suspicious/noExplicitAny: the SDK's errors carry what its types do not say
const failure = async (work: Promise<unknown>): Promise<any> => {
  try {
    await work
  } catch (error) {
    return error
  }
  throw new assert.AssertionError({ message: 'expected a failure' })
}

test('registry: create, get, list, update, delete', async () => {
  const made = (await registry.create({ deviceId: 'fan' })).responseBody
  assert.equal(made.authentication!.symmetricKey!.primaryKey!.length, 44)
  assert.equal((await registry.get('fan')).responseBody.connectionState, 'Disconnected')
  assert.equal((await failure(registry.create({ deviceId: 'fan' }))).name, 'DeviceAlreadyExistsError')
  assert.deepEqual(
    (await registry.list()).responseBody.map(({ deviceId }) => deviceId),
    ['fan'],
  )
  const updated = (await registry.update({ deviceId: 'fan', status: 'disabled' })).responseBody
  assert.equal(updated.status, 'disabled')
  assert.equal(updated.authentication!.symmetricKey!.primaryKey, made.authentication!.symmetricKey!.primaryKey)
  await registry.delete('fan')
  assert.equal((await failure(registry.get('fan'))).name, 'DeviceNotFoundError')
  assert.equal((await failure(registry.create({ deviceId: 'no spaces' }))).name, 'ArgumentError')
})

test('twin: read, change by etag, and a stale etag is refused', async () => {
  hub.createDevice('pump')
  const twin = (await registry.getTwin('pump')).responseBody
  assert.equal(twin.properties.desired.$metadata.$lastUpdatedVersion, 1)
  const patch = { tags: { room: 'cellar' }, properties: { desired: { a: { b: 1 } } } }
  const changed = (await registry.updateTwin('pump', patch, twin.etag)).responseBody
  assert.deepEqual(changed.tags, { room: 'cellar' })
  assert.deepEqual(changed.properties.desired.a, { b: 1 })
  assert.notEqual(changed.etag, twin.etag)
  assert.equal((await failure(registry.updateTwin('pump', patch, twin.etag))).name, 'InvalidEtagError')
  const any = (await registry.updateTwin('pump', { properties: { desired: { a: null } } }, '*')).responseBody
  assert.equal('a' in any.properties.desired, false)
  assert.equal((await failure(registry.updateTwin('pump', { tags: { 'a.b': 1 } }, '*'))).name, 'ArgumentError')
  assert.equal((await failure(registry.getTwin('nobody'))).name, 'DeviceNotFoundError')
})

test('twin: a change by the service reaches the device, and PUT replaces', async t => {
  const { twin } = await aDevice(t, hub, 'valve')
  await listenToDesired(twin, hub, 'valve')
  const patched = desiredPatch(twin, 2)
  await registry.updateTwin('valve', { properties: { desired: { x: 1, y: 1 } } }, '*')
  assert.deepEqual(await patched, { x: 1, y: 1, $version: 2 })
  const replaced = desiredPatch(twin, 3)
  await rest(hub, 'PUT', '/twins/valve', { body: { properties: { desired: { y: 2 } } } })
  assert.deepEqual(await replaced, { x: null, y: 2, $version: 3 })
  assert.equal((await rest(hub, 'GET', '/twins/valve')).body.connectionState, 'Connected')
})

test('method: an answer of the device is passed on', async t => {
  const { client } = await aDevice(t, hub, 'lamp')
  client.onDeviceMethod('on', (request, response) => response.send(202, { was: request.payload }, () => {}))
  await hub.waitFor(() => hub.isSubscribed('lamp', '$iothub/methods/POST/#'))
  const { result } = await service.invokeDeviceMethod('lamp', { methodName: 'on', payload: 'off' })
  assert.deepEqual(result, { status: 202, payload: { was: 'off' } })
})

test('method: a device that is offline is 404103, one that is unknown 404001', async () => {
  const call = { methodName: 'on', payload: null, responseTimeoutInSeconds: 5 }
  const offline = await failure(service.invokeDeviceMethod('pump', call))
  assert.equal(String(offline), 'Error: Not found')
  assert.equal(JSON.parse(JSON.parse(offline.responseBody).Message).errorCode, 404103)
  assert.equal((await failure(service.invokeDeviceMethod('nobody', call))).name, 'DeviceNotFoundError')
})

test('method: connectTimeout waits for the device to connect and to subscribe', async t => {
  hub.createDevice('sleeper')
  const call = { methodName: 'on', payload: null, responseTimeoutInSeconds: 5, connectTimeoutInSeconds: 5 }
  const answer = service.invokeDeviceMethod('sleeper', call)
  const { client } = await aDevice(t, hub, 'sleeper')
  await new Promise(resolve => setTimeout(resolve, 100)) // connected, but without methods yet
  client.onDeviceMethod('on', (_, response) => response.send(200, 'awake', () => {}))
  assert.deepEqual((await answer).result, { status: 200, payload: 'awake' })

  hub.createDevice('dead')
  const gone = await failure(service.invokeDeviceMethod('dead', { ...call, connectTimeoutInSeconds: 1 }))
  assert.equal(JSON.parse(JSON.parse(gone.responseBody).Message).errorCode, 404103)
})

test('method: a device that does not answer is 504101', async t => {
  const { client } = await aDevice(t, hub, 'mute')
  client.onDeviceMethod('other', () => {})
  await hub.waitFor(() => hub.isSubscribed('mute', '$iothub/methods/POST/#'))
  const call = { methodName: 'on', payload: null, responseTimeoutInSeconds: 5 }
  const error = await failure(service.invokeDeviceMethod('mute', call))
  assert.equal(error.name, 'GatewayTimeoutError')
  assert.equal(JSON.parse(JSON.parse(error.responseBody).Message).errorCode, 504101)
})

test('method: limits of the cloud on timeouts, name and payload', async () => {
  const invoke = async (body: object) => (await rest(hub, 'POST', '/twins/pump/methods', { body })).status
  assert.equal(await invoke({ methodName: 'on', responseTimeoutInSeconds: 4 }), 400)
  assert.equal(await invoke({ methodName: 'on', responseTimeoutInSeconds: 301 }), 400)
  assert.equal(await invoke({ methodName: 'on', connectTimeoutInSeconds: -1 }), 400)
  assert.equal(await invoke({ methodName: 'a/b' }), 400)
  assert.equal(await invoke({}), 400)
  assert.equal(await invoke({ methodName: 'on', payload: 'x'.repeat(130 * 1024) }), 400)
})

test('policies: each call needs its permission', async () => {
  const statusAs = async (policy: 'service' | 'registryRead', method: string, path: string) => {
    const headers = { authorization: hub.authorization(policy), 'if-match': '*' }
    return (await rest(hub, method, path, { headers, body: method === 'GET' ? undefined : {} })).status
  }
  assert.equal(await statusAs('service', 'GET', '/twins/pump'), 200)
  assert.equal(await statusAs('service', 'GET', '/devices/pump'), 401)
  assert.equal(await statusAs('service', 'PUT', '/devices/pump'), 401)
  assert.equal(await statusAs('service', 'POST', '/bench/faults'), 401)
  assert.equal(await statusAs('registryRead', 'GET', '/devices/pump'), 200)
  assert.equal(await statusAs('registryRead', 'GET', '/twins/pump'), 401)
  assert.equal(await statusAs('registryRead', 'PATCH', '/twins/pump'), 401)
  assert.equal(await statusAs('registryRead', 'DELETE', '/devices/pump'), 401)

  const readOnly = iothub.Registry.fromConnectionString(hub.policyConnectionString('registryRead'))
  assert.equal((await failure(readOnly.getTwin('pump'))).name, 'UnauthorizedError')
})

test('a bad authorization is 401 whatever is asked', async () => {
  const good = hub.authorization()
  for (const authorization of [
    '',
    'Bearer x',
    good.replace(/sig=[^&]*/, 'sig=AAAA'),
    good.replace('iothubowner', 'service'),
    good.replace('iothubowner', 'constructor'),
    good.replace(/se=\d+/, 'se=1'),
    good.replace('sr=bench', 'sr=other'),
  ]) {
    for (const path of ['/twins/pump', '/no/such/thing']) {
      const { status, body } = await rest(hub, 'GET', path, { headers: { authorization } })
      assert.equal(status, 401)
      assert.match(body.Message, /^ErrorCode:IotHubUnauthorizedAccess;/)
    }
  }
})

test('bad requests are answered, not fatal', async () => {
  const status = async (method: string, path: string, body?: unknown) =>
    (await rest(hub, method, path, { body })).status
  assert.equal(await status('PATCH', '/twins/pump', '{"tags":'), 400)
  assert.equal(await status('PATCH', '/twins/pump', '[1]'), 400)
  assert.equal(await status('PATCH', '/twins/pump', { tags: 'x' }), 400)
  assert.equal(await status('PATCH', '/twins/pump', '['.repeat(200_000)), 400)
  assert.equal(await status('PATCH', '/twins/pump', { tags: { a: 'x'.repeat(2 ** 20) } }).catch(() => 413), 413)
  assert.equal(await status('GET', '/twins/%zz'), 404)
  assert.equal(await status('GET', '/nothing'), 404)
  assert.equal(await status('PUT', '/devices/new', { authentication: { symmetricKey: { primaryKey: '!' } } }), 400)
  assert.equal(await status('GET', '/twins/pump'), 200)
})

test('the folder of the hub is private', async () => {
  const { statSync } = await import('node:fs')
  const mode = (file: string) => (statSync(join(dirname(hub.benchFile), file)).mode & 0o777).toString(8)
  assert.equal(mode('hub.json'), '600')
  assert.equal(mode('certs/server.key'), '600')
  assert.equal(mode('certs/ca.key'), '600')
})
