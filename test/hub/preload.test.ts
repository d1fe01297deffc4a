import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { aDevice, aHub, atEnd, tempDir } from './support.ts'

// What an owner's own programs look like: cloud connection strings, no word about the bench.
const SERVICE = `
  const { Registry, Client } = require('azure-iothub')
  const registry = Registry.fromConnectionString(process.env.CONNECTION)
  const client = Client.fromConnectionString(process.env.CONNECTION)
  async function main() {
    const { responseBody: twin } = await registry.getTwin('pump')
    await registry.updateTwin('pump', { tags: { room: 'cellar' } }, twin.etag)
    const { result } = await client.invokeDeviceMethod('pump', { methodName: 'hi', payload: [1], responseTimeoutInSeconds: 5 })
    console.log(JSON.stringify({ state: twin.connectionState, result }))
  }
  main().catch(error => { console.error(error); process.exit(1) })
`
const DEVICE = `
  const { Client } = require('azure-iot-device')
  const transport = require('azure-iot-device-mqtt')[process.env.TRANSPORT]
  async function main() {
    const client = Client.fromConnectionString(process.env.CONNECTION, transport)
    await client.open()
    const twin = await client.getTwin()
    twin.properties.reported.update({ seen: twin.properties.desired.x }, error => process.exit(error ? 1 : 0))
  }
  main().catch(error => { console.error(error); process.exit(1) })
`
// Where node_modules is found from, whichever folder the build went to.
const cwd = fileURLToPath(new URL('.', import.meta.url))

test('an unmodified service program reaches the hub under its cloud name', async t => {
  const hub = await aHub(t)
  const { client } = await aDevice(t, hub, 'pump')
  client.onDeviceMethod('hi', (request, response) => response.send(200, { got: request.payload }, () => {}))
  await hub.waitFor(() => hub.isSubscribed('pump', '$iothub/methods/POST/#'))

  const env = { ...hub.childEnvironment(), CONNECTION: hub.serviceConnectionString }
  const { stdout } = await execa('node', ['-e', SERVICE], { env, cwd })
  assert.deepEqual(JSON.parse(stdout), { state: 'Connected', result: { status: 200, payload: { got: [1] } } })
  assert.deepEqual(hub.getTwin('pump').tags, { room: 'cellar' })
})

for (const TRANSPORT of ['Mqtt', 'MqttWs'])
  test(`an unmodified device program reaches the hub under its cloud name, by ${TRANSPORT}`, async t => {
    const hub = await aHub(t)
    hub.createDevice('pump')
    hub.updateDesired('pump', { x: 7 })
    const CONNECTION = hub.deviceConnectionString('pump', { cloud: true })
    await execa('node', ['-e', DEVICE], { env: { ...hub.childEnvironment(), CONNECTION, TRANSPORT }, cwd })
    assert.equal(hub.getTwin('pump').properties.reported.seen, 7)
  })

test('the preload takes a file, wraps imported tls too, and leaves other hosts and ports alone', async t => {
  const hub = await aHub(t)
  const dir = await tempDir(t)
  const program = join(dir, 'program.mjs')
  await writeFile(
    program,
    `import { connect } from 'node:tls'
     const tried = (...args) => new Promise(resolve => {
       const socket = connect(...args, () => { resolve('connected'); socket.destroy() })
       socket.on('error', error => resolve(error.code))
     })
     console.log(await tried({ host: 'bench.azure-devices.net', port: 8883 }))
     console.log(await tried(8883, 'bench.azure-devices.net', { servername: 'bench.azure-devices.net' }))
     console.log(await tried(443, 'bench.azure-devices.net'))
     console.log(await tried({ host: 'localhost', port: ${hub.restPort} }))`,
  )
  const env = { ...hub.childEnvironment(), PI_ADU_BENCH: hub.benchFile }
  const { stdout } = await execa('node', [program], { env, cwd })
  const lines = stdout.split('\n')
  assert.deepEqual(lines.slice(0, 3), ['connected', 'connected', 'connected'])
  assert.match(lines[3]!, /UNABLE_TO_VERIFY|SELF_SIGNED/)
})

test('a hub keeps its ports over a restart', async t => {
  const stateDir = await tempDir(t)
  const first = await aHub(t, { stateDir })
  const { mqttPort, restPort } = first
  await first.stop()
  const second = await aHub(t, { stateDir })
  atEnd(t, () => second.stop())
  assert.deepEqual([second.mqttPort, second.restPort], [mqttPort, restPort])
})

test('as a program: registers devices, runs a command against itself, and ends with its exit code', async t => {
  const state = await tempDir(t)
  const main = fileURLToPath(new URL('../bench/hub/main.js', import.meta.url))
  const app = `
    const { Registry } = require('azure-iothub')
    const { readFileSync } = require('node:fs')
    const { policies } = JSON.parse(readFileSync(${JSON.stringify(join(state, 'hub.json'))})).settings
    const registry = Registry.fromConnectionString(
      'HostName=bench.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=' + policies.service)
    registry.getTwin('pump').then(({ responseBody }) => { console.log(responseBody.deviceId); process.exit(7) })`
  const args = [main, '--state', state, '--device', 'pump', '--', 'node', '-e', app]
  const { stdout, exitCode } = await execa('node', args, { cwd, reject: false })
  assert.deepEqual([stdout, exitCode], ['pump', 7])

  const hub = execa('node', [main, '--state', state, '--device', 'pump'], { cwd, reject: false, timeout: 10_000 })
  await new Promise<void>(resolve => {
    hub.stdout.on('data', chunk => {
      if (String(chunk).includes('PI_ADU_BENCH')) resolve()
    })
  })
  hub.kill('SIGTERM')
  const { exitCode: ended, stdout: said } = await hub
  assert.equal(ended, 0)
  assert.match(said, /^device: {2}HostName=bench\.azure-devices\.net;DeviceId=pump;.*GatewayHostName=localhost:\d+$/m)
})
