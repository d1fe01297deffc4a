import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { TransportConfig } from 'azure-iot-common'
import common from 'azure-iot-common'
import device, { type Client, type DeviceMethodRequest, type DeviceMethodResponse } from 'azure-iot-device'
import deviceMqtt from 'azure-iot-device-mqtt'
import { execa } from 'execa'
import { type Credential, Issuer, selfSignedDevice } from '../bench/dps/authority.ts'
import type { BenchHub } from '../bench/hub/hub.ts'
import { connectPacket, RawClient, rawDevice } from './raw-mqtt.ts'
import { aClient, aHub, atEnd, desiredPatch, listenToDesired, report, tempDir, within } from './support.ts'

// Devices with certificates of an authority, and modules: as IoT Hub knows them, with Microsoft's own client.

const outcome = async (hub: BenchHub, id: string, tls: Partial<Credential>): Promise<number | undefined> => {
  const client = await RawClient.open(hub, tls)
  client.send(connectPacket(hub, id))
  const { returnCode } = await client.got('connack')
  client.socket.destroy()
  return returnCode
}

/** The SDK's client with a certificate, and with every field that a connection string would drop. */
function byCertificate(t: TestContext, hub: BenchHub, config: Partial<TransportConfig>, tls: Credential): Client {
  const provider = new device.X509AuthenticationProvider({
    host: hub.hostName,
    gatewayHostName: `localhost:${hub.mqttPort}`,
    deviceId: 'pump',
    x509: tls,
    ...config,
  })
  const client = device.Client.fromAuthenticationProvider(provider, deviceMqtt.Mqtt)
  client.setRetryPolicy(new common.NoRetry())
  atEnd(t, () => within(1000, client.close()).catch(() => {}))
  return client
}

async function authorities(t: TestContext) {
  const dir = await tempDir(t)
  const root = await Issuer.open(join(dir, 'root'), 'Fleet root')
  const intermediate = await Issuer.open(join(dir, 'intermediate'), 'Factory', { parent: root })
  const foreign = await Issuer.open(join(dir, 'foreign'), 'Somebody else')
  return { root, intermediate, foreign }
}

test('a device with a certificate of a known authority: chain, name and dates are checked', async t => {
  const hub = await aHub(t)
  const { root, intermediate, foreign } = await authorities(t)
  hub.createDevice('pump', { caSigned: true })
  const good = await intermediate.issue('pump')
  assert.equal(await outcome(hub, 'pump', good), 5, 'the hub does not know the authority yet')
  hub.addAuthority(root.certificate)

  const leafOnly = { ...good, cert: good.cert.slice(0, good.cert.indexOf('-----END') + 26) }
  assert.equal(new X509Certificate(leafOnly.cert).subject, 'CN=pump')
  const day = 86_400_000
  const cases: [what: string, tls: Partial<Credential>, code: number][] = [
    ['leaf and intermediate', good, 0],
    ['root appended as well', { ...good, cert: good.cert + root.certificate }, 0],
    ['signed by the root itself', await root.issue('pump'), 0],
    ['the intermediate is missing', leafOnly, 5],
    ['name of another device', await intermediate.issue('other'), 5],
    ['name in other case', await intermediate.issue('Pump'), 5],
    ['another authority', await foreign.issue('pump'), 5],
    ['self-signed', await selfSignedDevice('pump'), 5],
    ['no certificate', {}, 5],
    [
      'expired',
      await root.issue('pump', { from: new Date(Date.now() - 2 * day), until: new Date(Date.now() - day) }),
      5,
    ],
    ['not yet valid', await root.issue('pump', { from: new Date(Date.now() + day / 2) }), 5],
  ]
  for (const [what, tls, code] of cases) assert.equal(await outcome(hub, 'pump', tls), code, what)

  const client = byCertificate(t, hub, {}, good)
  await client.setOptions({ ca: hub.ca })
  await client.open()
  await within(5000, client.getTwin())
})

test('a token is refused for a device that has to show a certificate', async t => {
  const hub = await aHub(t)
  hub.createDevice('pump', { caSigned: true })
  await assert.rejects(
    rawDevice(hub, 'pump', { password: Buffer.from('SharedAccessSignature sr=x&sig=y&se=1') }),
    /CONNACK 5/,
  )
})

test('a certificate that is refused at TLS ends the connection without CONNACK', async t => {
  const hub = await aHub(t)
  const { root } = await authorities(t)
  hub.addAuthority(root.certificate)
  hub.createDevice('pump', { caSigned: true })
  hub.createDevice('sas')
  const tls = await root.issue('pump')
  hub.faults.inject({ kind: 'refuseConnections', how: 'certificate' })
  await rawDevice(hub, 'sas') // shows none, so it is not refused
  const client = byCertificate(t, hub, {}, tls)
  await client.setOptions({ ca: hub.ca })
  await assert.rejects(within(5000, client.open()), /Unable to establish a connection|socket disconnected/)
  assert.equal(await outcome(hub, 'pump', tls), 0, 'the fault is used up')
})

test('authorities and credentials outlive a restart of the hub', async t => {
  const stateDir = await tempDir(t)
  const { root } = await authorities(t)
  const first = await aHub(t, { stateDir })
  first.addAuthority(root.certificate)
  first.createDevice('pump', { caSigned: true })
  first.createModule('pump', 'du', { caSigned: true })
  await first.stop()
  const second = await aHub(t, { stateDir })
  assert.equal(await outcome(second, 'pump', await root.issue('pump')), 0)
  assert.equal(await outcome(second, 'pump/du', await root.issue('pump/du')), 0)
})

test('a module has a twin, methods and telemetry of its own', async t => {
  const hub = await aHub(t)
  hub.createDevice('pump')
  hub.createModule('pump', 'du')
  hub.updateDesired('pump', { whose: 'device' })
  hub.updateDesired('pump/du', { whose: 'module' })
  const client = aClient(t, hub, 'pump/du')
  await client.setOptions({ ca: hub.ca })
  await client.open()
  const twin = await within(5000, client.getTwin())
  assert.equal(twin.properties.desired.whose, 'module')
  await report(twin, { state: 1 })
  assert.equal(hub.getTwin('pump/du').properties.reported.state, 1)
  assert.equal(hub.getTwin('pump').properties.reported.state, undefined)

  await listenToDesired(twin, hub, 'pump/du')
  const patch = desiredPatch(twin, 3)
  hub.updateDesired('pump', { speed: 1 })
  hub.updateDesired('pump/du', { speed: 2 })
  assert.deepEqual(await patch, { speed: 2, $version: 3 })

  client.onDeviceMethod('blink', (request: DeviceMethodRequest, response: DeviceMethodResponse) => {
    response.send(200, { echo: request.payload }, () => {})
  })
  await hub.waitFor(() => hub.isSubscribed('pump/du', '$iothub/methods/POST/#'))
  assert.deepEqual(await hub.invokeMethod('pump/du', 'blink', 7), { status: 200, payload: { echo: 7 } })
  await assert.rejects(hub.invokeMethod('pump', 'blink', 7), { errorCode: 404103 })

  const told = new Promise<string>(resolve => {
    hub.onEvent(event => {
      if (event.type === 'telemetry') resolve(`${event.deviceId} ${event.body}`)
    })
  })
  await within(5000, client.sendEvent(new common.Message('21.5')))
  assert.equal(await told, 'pump/du 21.5')
})

test('a module shows a certificate through the gateway name, by the plain client and by ModuleClient', async t => {
  const hub = await aHub(t)
  const tls = await selfSignedDevice('pump/du')
  hub.createDevice('pump')
  hub.createModule('pump', 'du', { thumbprint: new X509Certificate(tls.cert).fingerprint256.replaceAll(':', '') })
  const plain = byCertificate(t, hub, { moduleId: 'du' }, tls)
  await plain.setOptions({ ca: hub.ca })
  await plain.open()
  await within(5000, plain.getTwin())
  await plain.close()

  const provider = new device.X509AuthenticationProvider({
    host: hub.hostName,
    gatewayHostName: `localhost:${hub.mqttPort}`,
    deviceId: 'pump',
    moduleId: 'du',
    x509: tls,
  })
  const client = device.ModuleClient.fromAuthenticationProvider(provider, deviceMqtt.Mqtt)
  atEnd(t, () => within(1000, client.close()).catch(() => {}))
  await client.setOptions({ ca: hub.ca })
  await client.open()
  await within(5000, client.getTwin())
})

test('a module may not act for its device, nor the device for it', async t => {
  const hub = await aHub(t)
  hub.createDevice('pump')
  hub.createModule('pump', 'du')
  const code = async (clientId: string, from: string) => {
    const client = await RawClient.open(hub)
    const { username, password } = connectPacket(hub, from)
    client.send({ ...connectPacket(hub, clientId), ...(username && { username }), ...(password && { password }) })
    const { returnCode } = await client.got('connack')
    client.socket.destroy()
    return returnCode
  }
  assert.equal(await code('pump/du', 'pump/du'), 0)
  assert.equal(await code('pump', 'pump/du'), 5)
  assert.equal(await code('pump/du', 'pump'), 5)

  const module = await rawDevice(hub, 'pump/du')
  const filters = ['devices/pump/messages/devicebound/#', '$iothub/methods/POST/#']
  module.send({ cmd: 'subscribe', messageId: 1, subscriptions: filters.map(topic => ({ topic, qos: 1 })) })
  assert.deepEqual((await module.got('suback')).granted, [0x80, 1])
  hub.setStatus('pump', 'disabled')
  await within(5000, module.closed)
  await assert.rejects(rawDevice(hub, 'pump/du'), /CONNACK 5/)
  hub.deleteDevice('pump')
  assert.equal(hub.hasDevice('pump/du'), false)
})

test('the service SDK makes, lists, queries, calls and removes modules', async t => {
  const hub = await aHub(t)
  hub.createDevice('pump')
  const program = `
    const { Registry, Client } = require('azure-iothub')
    const registry = Registry.fromConnectionString(process.env.CONNECTION)
    async function main() {
      await registry.addModule({ deviceId: 'pump', moduleId: 'du', managedBy: '' })
      const listed = (await registry.getModulesOnDevice('pump')).responseBody.map(each => each.moduleId)
      const { responseBody: module } = await registry.getModule('pump', 'du')
      const { responseBody: twin } = await registry.getModuleTwin('pump', 'du')
      await registry.updateModuleTwin('pump', 'du', { properties: { desired: { a: 1 } } }, twin.etag)
      const query = registry.createQuery("SELECT * FROM devices.modules WHERE properties.desired.a = 1")
      const found = (await query.nextAsTwin()).result.map(each => each.moduleId)
      const devices = (await registry.list()).responseBody.map(each => each.deviceId)
      await registry.removeModule('pump', 'du')
      console.log(JSON.stringify({ listed, key: module.authentication.symmetricKey.primaryKey.length, found, devices }))
    }
    main().catch(error => { console.error(error); process.exit(1) })
  `
  const env = { ...hub.childEnvironment(), CONNECTION: hub.serviceConnectionString }
  const { stdout } = await execa('node', ['-e', program], { env, cwd: import.meta.dirname })
  assert.deepEqual(JSON.parse(stdout), { listed: ['du'], key: 44, found: ['du'], devices: ['pump'] })
  assert.equal(hub.hasDevice('pump/du'), false)
})
