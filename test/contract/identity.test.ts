import assert from 'node:assert/strict'
import test from 'node:test'
import { ConnectionStringIdentity } from '../../src/adapters/identity/connection-string.ts'

const signal = new AbortController().signal
const KEY = 'c2VjcmV0IQ=='
const get = (text: string) => new ConnectionStringIdentity(() => text).get(signal)

test('a connection string: every field comes to its place, in whatever order', async () => {
  const text = `DeviceId=pi;SharedAccessKey=${KEY};HostName=h.azure-devices.net;GatewayHostName=edge:8883;ModuleId=m`
  assert.deepEqual(await get(`${text};SharedAccessKeyName=device`), {
    hub: 'h.azure-devices.net',
    gateway: 'edge:8883',
    deviceId: 'pi',
    moduleId: 'm',
    auth: { kind: 'symmetricKey', key: KEY, keyName: 'device' },
  })
})

test('the name of the hub stays as it is given: nothing is parsed or rebuilt', async () => {
  for (const hub of [
    'h.azure-devices.net',
    'h.device.azure-devices.net',
    'H.Device.azure-devices.net:8883',
    '10.1.2.3',
  ])
    assert.equal((await get(`HostName=${hub};DeviceId=pi;SharedAccessKey=${KEY}`)).hub, hub)
})

test('what may be missing is undefined', async () => {
  const { gateway, moduleId, auth } = await get(`HostName=h.net;DeviceId=pi;SharedAccessKey=${KEY}`)
  assert.deepEqual([gateway, moduleId], [undefined, undefined])
  assert.deepEqual(auth, { kind: 'symmetricKey', key: KEY, keyName: undefined })
})

test('it is asked each time', async () => {
  const keys = ['QQ==', 'QkI=']
  const identity = new ConnectionStringIdentity(() => `HostName=h.net;DeviceId=pi;SharedAccessKey=${keys.shift()}`)
  for (const key of ['QQ==', 'QkI='])
    assert.deepEqual((await identity.get(signal)).auth, { kind: 'symmetricKey', key, keyName: undefined })
})

for (const [what, text, why] of [
  ['nothing', '', /has no HostName/],
  ['no key', 'HostName=h.net;DeviceId=pi', /has no SharedAccessKey/],
  ['no device', `HostName=h.net;SharedAccessKey=${KEY}`, /has no DeviceId/],
  ['a field that is not known', `HostName=h.net;DeviceId=pi;SharedAccessKey=${KEY};more`, /has a field/],
] as const) {
  test(`${what} is a HubError that says so, without the key`, async () => {
    await assert.rejects(get(text), error => {
      assert.ok(error instanceof Error && error.name === 'HubError')
      assert.match(error.message, /^no identity: the connection string /)
      assert.match(error.message, why)
      assert.ok(!error.message.includes(KEY))
      return true
    })
  })
}

test('a source that fails is a HubError in its words, without secrets in them', async () => {
  const identity = new ConnectionStringIdentity(() => {
    throw new Error(`cannot read SharedAccessKey=${KEY}`)
  })
  await assert.rejects(identity.get(signal), {
    name: 'HubError',
    message: 'no identity: cannot read SharedAccessKey=…',
  })
})

test('an abort ends it with its reason', async () => {
  const stop = new AbortController()
  const enough = new Error('enough')
  const identity = new ConnectionStringIdentity(async () => {
    stop.abort(enough)
    throw new Error('too late')
  })
  await assert.rejects(identity.get(stop.signal), error => error === enough)
  await assert.rejects(identity.get(stop.signal), error => error === enough)
})
