import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import device from 'azure-iot-device'
import deviceMqtt from 'azure-iot-device-mqtt'
import { execa } from 'execa'
import { Issuer, selfSignedDevice } from '../bench/dps/authority.ts'
import { derivedKey } from '../bench/dps/enrollments.ts'
import { aClient, aHub, atEnd, tempDir, within } from '../hub/support.ts'
import { registerBySdk } from './support.ts'

// Microsoft's provisioning client, unmodified, against the bench; then its device client at the assigned hub.

const symmetricKey = { attestation: { type: 'symmetricKey' } }
const certificates = (kind: string, primary: string) => ({
  attestation: { type: 'x509', x509: { [kind]: { primary: { certificate: primary } } } },
})

test('the key of a device is derived as published', () => {
  const group = Buffer.from(Array.from({ length: 64 }, (_, byte) => byte)).toString('base64')
  assert.equal(derivedKey(group, 'pi-adu-0001'), 'pLWgI2k6+Dsdry2k5mlPCMHLbxvNYWLTWkhaCuSO+ME=')
})

test('a device with a derived key is assigned, and the key is its key at the hub', async t => {
  const hub = await aHub(t)
  const initialTwin = { tags: { ADUGroup: 'pilot' }, properties: { desired: { a: 1 } } }
  hub.provisioning.enrollGroup({ enrollmentGroupId: 'Fleet', ...symmetricKey, initialTwin })
  const key = hub.provisioning.deviceKey('fleet', 'pi-0001')
  const assigned = await registerBySdk(hub, 'pi-0001', key)
  assert.equal(assigned.deviceId, 'pi-0001')
  assert.equal(assigned.assignedHub, `localhost:${hub.mqttPort}`)
  assert.equal(assigned.substatus, 'initialAssignment')
  assert.deepEqual(hub.getTwin('pi-0001').tags, { ADUGroup: 'pilot' })
  assert.equal(hub.getTwin('pi-0001').properties.desired.a, 1)

  const text = `HostName=${assigned.assignedHub};DeviceId=pi-0001;SharedAccessKey=${key}`
  const client = aClient(t, hub, 'pi-0001', text)
  await client.setOptions({ ca: hub.ca })
  await client.open()
  await within(5000, client.getTwin())
  // The same registration again leaves the connection alone.
  await registerBySdk(hub, 'pi-0001', key)
  assert.equal(hub.isConnected('pi-0001'), true)
  assert.equal(hub.provisioning.registrationsOf('pi-0001'), 2)
})

test('an individual enrolment names another device id, and its secondary key counts as well', async t => {
  const hub = await aHub(t)
  const { attestation } = hub.provisioning.enroll({ registrationId: 'pi-1', deviceId: 'Gate-North', ...symmetricKey })
  assert.ok(attestation.type === 'symmetricKey')
  const assigned = await registerBySdk(hub, 'pi-1', attestation.symmetricKey?.secondaryKey ?? '')
  assert.equal(assigned.deviceId, 'Gate-North')
  assert.equal(hub.hasDevice('Gate-North'), true)
})

test('a wrong key, an unknown scope, an unknown device, a disabled enrolment', async t => {
  const hub = await aHub(t)
  const key = Buffer.alloc(32, 7).toString('base64')
  await assert.rejects(registerBySdk(hub, 'stranger', key), { name: 'DeviceNotFoundError' })
  hub.provisioning.enroll({ registrationId: 'pi-1', ...symmetricKey })
  await assert.rejects(registerBySdk(hub, 'pi-1', key), /Not authorized/)
  await assert.rejects(registerBySdk(hub, 'pi-1', key, { idScope: '0ne00FFFFFF' }), /Not authorized/)
  const { attestation } = hub.provisioning.enroll({
    registrationId: 'off',
    ...symmetricKey,
    provisioningStatus: 'disabled',
  })
  assert.ok(attestation.type === 'symmetricKey')
  // Its polling knows no such status.
  await assert.rejects(registerBySdk(hub, 'off', attestation.symmetricKey?.primaryKey ?? ''), { name: 'SyntaxError' })
  assert.equal(hub.hasDevice('off'), false)
})

test('X.509: a leaf of its own, a group with its chain, and a missing intermediate', async t => {
  const hub = await aHub(t)
  const dir = await tempDir(t)
  const own = await selfSignedDevice('pi-1')
  hub.provisioning.enroll({ registrationId: 'pi-1', ...certificates('clientCertificates', own.cert) })
  const assigned = await registerBySdk(hub, 'pi-1', own)
  assert.equal(assigned.deviceId, 'pi-1')
  await assert.rejects(registerBySdk(hub, 'pi-1', await selfSignedDevice('pi-1')), /Not authorized/)

  const provider = new device.X509AuthenticationProvider({ host: assigned.assignedHub, deviceId: 'pi-1', x509: own })
  const client = device.Client.fromAuthenticationProvider(provider, deviceMqtt.Mqtt)
  atEnd(t, () => client.close().catch(() => {}))
  await client.setOptions({ ca: hub.ca })
  await client.open()
  await within(5000, client.getTwin())

  const root = await Issuer.open(join(dir, 'root'), 'Fleet root')
  const factory = await Issuer.open(join(dir, 'factory'), 'Factory', { parent: root })
  hub.provisioning.enrollGroup({ enrollmentGroupId: 'fleet', ...certificates('signingCertificates', root.certificate) })
  const leaf = await factory.issue('pi-2')
  assert.equal((await registerBySdk(hub, 'pi-2', leaf)).deviceId, 'pi-2')
  const bare = { ...leaf, cert: new X509Certificate(leaf.cert).toString() }
  await assert.rejects(registerBySdk(hub, 'pi-2', bare), /Not authorized/)
  await assert.rejects(registerBySdk(hub, 'pi-3', leaf), /Not authorized/)

  // The group nearest to the device wins, also when it is disabled.
  const near = certificates('signingCertificates', factory.certificate)
  hub.provisioning.enrollGroup({ enrollmentGroupId: 'factory', ...near, provisioningStatus: 'disabled' })
  await assert.rejects(registerBySdk(hub, 'pi-2', leaf), { name: 'SyntaxError' })
  assert.equal((await registerBySdk(hub, 'pi-4', await root.issue('pi-4'))).deviceId, 'pi-4')
})

test('a custom allocation reads the payload of the device, answers one, and may fail', async t => {
  const hub = await aHub(t)
  hub.provisioning.enrollGroup({ enrollmentGroupId: 'fleet', ...symmetricKey, allocationPolicy: 'custom' })
  const register = (id: string) =>
    registerBySdk(hub, id, hub.provisioning.deviceKey('fleet', id), { payload: { site: 'berlin' } })
  await assert.rejects(register('pi-1'), { name: 'ProvisioningRegistrationFailedError' })
  hub.provisioning.settings.customAllocation = ({ payload, hubs }) => ({
    iotHubHostName: hubs[0]!,
    initialTwin: { tags: { site: payload?.site } },
    payload: { welcome: true },
  })
  assert.deepEqual((await register('pi-1')).payload, { welcome: true })
  assert.deepEqual(hub.getTwin('pi-1').tags, { site: 'berlin' })
})

test('an unmodified program reaches it under its name in the cloud, by MQTT over TLS and over WebSockets', async t => {
  const hub = await aHub(t)
  hub.provisioning.enrollGroup({ enrollmentGroupId: 'fleet', ...symmetricKey })
  const program = `
    const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device')
    const transports = require('azure-iot-provisioning-device-mqtt')
    const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key')
    const { ID, KEY, SCOPE, TRANSPORT, HOST } = process.env
    const security = new SymmetricKeySecurityClient(ID, KEY)
    ProvisioningDeviceClient.create(HOST, SCOPE, new transports[TRANSPORT](), security)
      .register().then(result => console.log(result.deviceId), error => { console.error(error); process.exit(1) })
  `
  for (const TRANSPORT of ['Mqtt', 'MqttWs']) {
    const ID = `pi-${TRANSPORT.toLowerCase()}`
    const KEY = hub.provisioning.deviceKey('fleet', ID)
    const { idScope: SCOPE, globalHost: HOST } = hub.provisioning
    const env = { ...hub.childEnvironment(), ID, KEY, SCOPE, TRANSPORT, HOST }
    const { stdout } = await execa('node', ['-e', program], { env, cwd: import.meta.dirname, timeout: 60_000 })
    assert.equal(stdout, ID)
  }
})
