import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFile, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { get } from 'node:https'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { execa } from 'execa'
import type { BenchFacts } from '../bench/background/facts.ts'
import { newDir, processesOf, root, script, tempDir } from './support.ts'

// What somebody's own programs look like: no word about the bench.
const DEVICE = `
  const { Client } = require('azure-iot-device')
  const { Mqtt } = require('azure-iot-device-mqtt')
  async function main() {
    const client = Client.fromConnectionString(process.env.CONNECTION, Mqtt)
    await client.open()
    const twin = await client.getTwin()
    const { x } = twin.properties.desired
    await new Promise((resolve, reject) => twin.properties.reported.update({ x }, e => (e ? reject(e) : resolve())))
    if (!process.env.SERVE) process.exit(0)
    client.onDeviceMethod('hi', (request, response) => response.send(200, { got: request.payload }, () => {}))
    console.log('ready')
  }
  main().catch(error => { console.error(error); process.exit(1) })
`
const SERVICE = `
  const { Registry, Client } = require('azure-iothub')
  const registry = Registry.fromConnectionString(process.env.CONNECTION)
  const client = Client.fromConnectionString(process.env.CONNECTION)
  async function main() {
    const { responseBody: twin } = await registry.getTwin(process.env.DEVICE)
    await registry.updateTwin(process.env.DEVICE, { properties: { desired: { x: 7 } } }, twin.etag)
    if (process.env.CALL) {
      const { result } = await client.invokeDeviceMethod(process.env.DEVICE, { methodName: 'hi', payload: [1], connectTimeoutInSeconds: 20 })
      console.log(JSON.stringify({ x: twin.properties.reported.x, result }))
    }
  }
  main().catch(error => { console.error(error); process.exit(1) })
`

const bench = (state: string, ...args: string[]) => script('bench', [...args, '--state', state])

/** Also after a failure nothing may stay. */
async function stateDir(t: TestContext): Promise<string> {
  const dir = await newDir()
  const state = join(dir, 'state')
  t.after(async () => {
    await bench(state, 'down')
    await rm(dir, { recursive: true, force: true })
  })
  return state
}

async function up(t: TestContext): Promise<BenchFacts & { state: string }> {
  const state = await stateDir(t)
  const { stdout, stderr, exitCode } = await bench(state, 'up', '--json')
  assert.equal(exitCode, 0, stderr)
  return { ...(JSON.parse(stdout) as BenchFacts), state }
}

test('up, status, down: one bench, found by unmodified programs, and nothing left behind', async t => {
  const { state, ...facts } = await up(t)
  const again = JSON.parse((await bench(state, 'up', '--json')).stdout)
  assert.equal(again.pid, facts.pid, 'up again is the same bench')
  assert.deepEqual(JSON.parse((await bench(state, 'status', '--json')).stdout), again)
  assert.match((await bench(state, 'status')).stdout, /device pi1 +on, connected: system 1\.0\.0 in slot a/)

  // The preload, and nothing else.
  const env = { NODE_OPTIONS: `--require ${facts.preload}`, DEVICE: facts.deviceId }
  const run = (program: string, more: Record<string, string>) =>
    execa('node', ['-e', program], { cwd: root, env: { ...env, ...more }, timeout: 30_000 })
  await run(SERVICE, { CONNECTION: facts.serviceConnectionString })
  await run(DEVICE, { CONNECTION: facts.deviceConnectionString })
  const serving = run(DEVICE, {
    CONNECTION: facts.deviceConnectionString.replace(/;GatewayHostName=.*/, ''),
    SERVE: '1',
  })
  await once(serving.stdout, 'data')
  const called = await run(SERVICE, { CONNECTION: facts.serviceConnectionString, CALL: '1' })
  assert.deepEqual(JSON.parse(called.stdout), { x: 7, result: { status: 200, payload: { got: [1] } } })
  serving.kill()
  await serving.catch(() => {})

  const ca = await readFile(facts.caFile)
  const served = await new Promise<Buffer>((resolve, reject) => {
    get(facts.bundle.url, { ca }, response => resolve(buffer(response))).on('error', reject)
  })
  assert.deepEqual(served, await readFile(facts.bundle.file))
  assert.ok(facts.bundle.file.startsWith(`${facts.contentDir}/`))

  assert.equal((await bench(state, 'down')).exitCode, 0)
  assert.deepEqual(processesOf(state), [])
  assert.deepEqual(JSON.parse((await bench(state, 'status', '--json')).stdout), { running: false })
  assert.equal((await bench(state, 'down')).stdout, 'nothing ran')
})

test('an operator deploys, retries and cancels; what the device became outlives the bench', async t => {
  const { state, contentUrl } = await up(t)
  const deployed = await bench(state, 'deploy', '--wait')
  assert.equal(deployed.exitCode, 0, deployed.stderr)
  assert.match(deployed.stdout, /^deployed 2\.0\.0 to pi1.*\nstate 0, result 700, extended 00000000$/)

  const own = join(state, 'own.swu')
  assert.equal((await bench(state, 'bundle', own, '--version', '5.1', '--mib', '4')).stdout, own)
  const wrong = await bench(state, 'deploy', '--swu', own, '--version', '5.2', '--wait')
  assert.equal(wrong.exitCode, 1)
  assert.match(wrong.stdout, /state 255, result 0, extended 32100004: .*installedCriteria is "5\.2"/)
  assert.equal((await bench(state, 'retry')).exitCode, 0)
  assert.equal((await bench(state, 'cancel')).exitCode, 0)
  assert.match((await bench(state, 'deploy', '--device', 'nobody')).stderr, /^bench: no device nobody is registered/)

  await bench(state, 'down')
  const { stdout } = await bench(state, 'up', '--json')
  const facts: BenchFacts = JSON.parse(stdout)
  assert.equal(facts.devices[0]?.version, '2.0.0')
  assert.equal(facts.bundle.version, '3.0.0', 'the ready bundle is newer than the device')
  assert.equal(facts.contentUrl, contentUrl, 'addresses in a twin stay good')
})

test('a card for a device in QEMU: what it needs, and only for its owner', async t => {
  const { state } = await up(t)
  const { stdout: folder } = await bench(state, 'card', '--device', 'in-qemu')
  const config = join(folder, 'du-config.json')
  const [agent] = JSON.parse(await readFile(config, 'utf8')).agents
  assert.match(agent.connectionSource.connectionData, /DeviceId=in-qemu;.*GatewayHostName=10\.0\.2\.2:\d+$/)
  assert.match(await readFile(join(folder, 'hub-ca.pem'), 'utf8'), /^-----BEGIN CERTIFICATE/)
  assert.equal((await stat(config)).mode & 0o777, 0o600)
  assert.equal((await bench(state, 'card', '--device', 'in-qemu')).stdout, folder)
  assert.match((await bench(state, 'deploy', '--device', 'in-qemu')).stderr, /tell it with --swu/)
  assert.match((await bench(state, 'card', '--device', 'pi1')).stderr, /pi1 runs on the workbench/)
})

test('pulled plugs: of the device, and of the bench itself', async t => {
  const { state, pid } = await up(t)
  assert.equal((await bench(state, 'power', 'cut')).exitCode, 0)
  assert.match((await bench(state, 'status')).stdout, /device pi1 +off/)
  assert.equal((await bench(state, 'power', 'on')).exitCode, 0)
  assert.match((await bench(state, 'status')).stdout, /device pi1 +on, connected/)

  process.kill(pid, 'SIGKILL')
  await bench(state, 'down')
  assert.deepEqual(processesOf(state), [])
  const facts: BenchFacts = JSON.parse((await bench(state, 'up', '--json')).stdout)
  assert.equal(facts.devices[0]?.connected, true)
})

test('two who start the same bench get the same one', async t => {
  const state = await stateDir(t)
  const [one, two] = await Promise.all([bench(state, 'up', '--json'), bench(state, 'up', '--json')])
  assert.equal(JSON.parse(one.stdout).pid, JSON.parse(two.stdout).pid)
})

test('without PI_ADU_BENCH the preload finds the bench of its own checkout, and without a bench it does nothing', async t => {
  const checkout = await tempDir(t)
  await mkdir(join(checkout, 'test/bench'), { recursive: true })
  const preload = join(checkout, 'test/bench/preload.cjs')
  await copyFile(join(root, 'test/bench/preload.cjs'), preload)
  const program = `require('tls').connect(8883, 'bench.azure-devices.net').on('error', e => console.log(e.address ?? e.code))`
  const tried = () => execa('node', ['--require', preload, '-e', program], { env: { PI_ADU_BENCH: '' } })
  assert.doesNotMatch((await tried()).stdout, /127\.0\.0\.1/)

  await mkdir(join(checkout, '.bench/hub'), { recursive: true })
  const description = { host: 'bench.azure-devices.net', ports: { '8883': 9 }, caFile: preload }
  await writeFile(join(checkout, '.bench/hub/bench.json'), JSON.stringify(description))
  assert.equal((await tried()).stdout, '127.0.0.1', 'nobody listens on port 9, and that is where it went')
})
