import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFile, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { get } from 'node:https'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { execa } from 'execa'
import { describeDevice } from '../bench/background/describe.ts'
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

/** A script by the contract of the reference agent. */
const HELLO = `#!/bin/sh
for word; do case $word in --action-*) action=$word ;; */*_result.json) file=$word ;; hello) said=yes ;; esac; done
case $action in
  --action-is-installed) code=901 ;;
  --action-download) code=500 ;;
  --action-install) code=600 ;;
  --action-apply) [ "$said" ] && code=700 || code=0 ;;
esac
echo "{\\"resultCode\\":$code,\\"extendedResultCode\\":0,\\"resultDetails\\":\\"\\"}" > "$file"
`

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
  const again = await bench(state, 'retry')
  assert.equal(again.exitCode, 0)
  assert.match(again.stdout, /^sent once more to pi1, workflow [\da-f-]{36}$/)
  const cancelled = await bench(state, 'cancel')
  assert.equal(cancelled.exitCode, 0)
  assert.match(cancelled.stdout, /^cancelled on pi1, workflow [\da-f-]{36}$/)
  assert.match((await bench(state, 'cancel')).stderr, /^bench: nothing is deployed to pi1/)
  assert.match((await bench(state, 'deploy', '--device', 'nobody')).stderr, /^bench: no device nobody is registered/)

  const script = join(state, 'hello.sh')
  await writeFile(script, HELLO)
  const list = await bench(
    state,
    'deploy',
    '--step',
    `script:${script}`,
    '--arguments',
    'hello',
    '--version',
    '6.0',
    '--wait',
  )
  assert.match(list.stdout, /^deployed 6\.0 to pi1.*\nstate 0, result 700, extended 00000000$/)
  assert.equal(list.exitCode, 0, list.stderr)
  const nothing = await bench(state, 'deploy', '--step', 'script:none.sh', '--version', '6.1')
  assert.match(nothing.stderr, /^bench: cannot read .*none\.sh: ENOENT/)
  assert.match((await bench(state, 'deploy', '--step', 'none')).stderr, /^bench: --step none: "none" is not a step/)

  await bench(state, 'down')
  const { stdout } = await bench(state, 'up', '--json')
  const facts: BenchFacts = JSON.parse(stdout)
  assert.equal(facts.devices[0]?.version, '2.0.0')
  assert.equal(facts.bundle.version, '3.0.0', 'the ready bundle is newer than the device')
  assert.equal(facts.contentUrl, contentUrl, 'addresses in a twin stay good')
})

test('a folder for a device without a network: signed, complete, and installed by the device', async t => {
  const { state, devices } = await up(t)
  const folder = join(state, 'stick')
  const written = await bench(state, 'offline', '--out', folder)
  assert.equal(written.exitCode, 0, written.stderr)
  assert.match(written.stdout, /stick: system-2\.0\.0\.swu and deployment\.json, 2\.0\.0 for pi1\n.*pi-adu install /)
  assert.deepEqual((await readdir(folder)).sort(), ['deployment.json', 'system-2.0.0.swu'])
  const config = join(devices[0]?.dir ?? '', 'du-config.json')
  const installed = await execa('node', ['dist/src/main.js', 'install', folder, '--config', config], { cwd: root })
  assert.match(installed.stdout, /the machine reboots into the new system/)
  assert.match((await bench(state, 'offline')).stderr, /^bench: required option '--out <folder>' not specified/)
  const nowhere = await bench(state, 'offline', '--out', join(folder, 'deployment.json'))
  assert.match(nowhere.stderr, /^bench: cannot make .*deployment\.json/)
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
  assert.match((await bench(state, 'status')).stdout, /^device in-qemu +in QEMU, not connected\n +\S+cards\/in-qemu$/m)
  const facts: BenchFacts = JSON.parse((await bench(state, 'status', '--json')).stdout)
  assert.deepEqual(
    facts.devices.map(({ id, place }) => [id, place]),
    [
      ['pi1', 'workbench'],
      ['in-qemu', 'qemu'],
    ],
  )
  assert.match((await bench(state, 'deploy', '--device', 'nobody')).stderr, /there are pi1, in-qemu, my-device/)
})

test('versions and sizes that no device could take are refused before anything is done', async t => {
  const state = join(await tempDir(t), 'state')
  for (const [args, says] of [
    [['--version', 'no spaces; rm'], /2 to 4 numbers with dots/],
    [['--version', '2'], /2 to 4 numbers with dots/],
    [['--version', '2.0', '--mib', '80'], /whole number from 1 to 64/],
    [['--version', '2.0', '--mib', '0'], /whole number from 1 to 64/],
    [['--version', '2.0', '--mib', '1e1'], /whole number from 1 to 64/],
  ] as const) {
    const { exitCode, stderr } = await bench(state, 'bundle', join(state, 'x.swu'), ...args)
    assert.equal(exitCode, 64, stderr)
    assert.match(stderr, says)
  }
  await assert.rejects(stat(state), { code: 'ENOENT' })
})

test('a trial that failed is said of the slot that was left', () => {
  const facts = {
    ...({ id: 'pi1', place: 'workbench', dir: '/d', power: 'on', connected: true, reported: null } as const),
    ...{ booted: 'a', version: '1.0.0' },
  }
  const line = (trial: 'none' | 'pending' | 'failed', primary: 'a' | 'b') =>
    describeDevice({ ...facts, boot: { primary, trial, tries: 0 } })[0]
  assert.match(line('failed', 'a') ?? '', /: system 1\.0\.0 in slot a, the trial of slot b failed$/)
  assert.match(line('pending', 'b') ?? '', /: system 1\.0\.0 in slot a, slot b on trial$/)
  assert.match(line('none', 'a') ?? '', /: system 1\.0\.0 in slot a$/)
})

test('pulled plugs: of the device, and of the bench itself', async t => {
  const { state, pid } = await up(t)
  assert.equal((await bench(state, 'power', 'cut')).stdout, 'pi1 has no power')
  assert.equal((await bench(state, 'power', 'off')).stdout, 'pi1 was off already')
  assert.match((await bench(state, 'status')).stdout, /device pi1 +off/)
  assert.equal((await bench(state, 'power', 'on')).stdout, 'pi1 is on and connected')
  assert.equal((await bench(state, 'power', 'on')).stdout, 'pi1 was on already')
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

test('out of the box, an unchanged tutorial script updates the device with nothing but a URL', async t => {
  const { state, ...facts } = await up(t)
  const dir = await tempDir(t)
  const source = await readFile(join(root, 'test/firmware-update/tutorial/service.cjs'), 'utf8')
  const tutorial = join(dir, 'service.cjs')
  await writeFile(tutorial, source.replace('{iothub connectionstring}', facts.serviceConnectionString))
  await symlink(join(root, 'node_modules'), join(dir, 'node_modules'))
  assert.ok((await bench(state, 'status')).stdout.includes(`{"fwPackageUri": "${facts.bundle.url}"}`))

  const app = execa('node', [tutorial, 'pi1', facts.bundle.url], { env: facts.env, reject: false, timeout: 120_000 })
  const seen: string[] = []
  for await (const line of app.iterable()) {
    if (line.startsWith('answer: ')) assert.equal(JSON.parse(line.slice(8)).status, 200)
    else seen.push(JSON.parse(line).status)
    if (/applyComplete|Failed|rolledBack/.test(seen.at(-1) ?? '')) break
  }
  app.kill()
  assert.equal(seen.at(-1), 'applyComplete')
  assert.ok(seen.includes('downloading') && seen.includes('applying'), seen.join())
  assert.match((await bench(state, 'status')).stdout, /device pi1 +on, connected: system 2\.0\.0 in slot b/)
})

test('a device on the contract of 2021 is given its orders one by one', async t => {
  const { state, devices } = await up(t)
  const config = join(devices[0]!.dir, 'du-config.json')
  const { piAdu, ...rest } = JSON.parse(await readFile(config, 'utf8'))
  await bench(state, 'power', 'off')
  await writeFile(config, JSON.stringify({ ...rest, piAdu: { ...piAdu, contract: '2021' } }))
  await bench(state, 'power', 'on')
  const nothing = await bench(state, 'cancel')
  assert.match(nothing.stderr, /^bench: nothing is deployed to pi1/)
  const { stdout, stderr, exitCode } = await bench(state, 'deploy', '--wait')
  assert.equal(exitCode, 0, stderr)
  assert.match(stdout, /^state 0, result 700, extended 00000000: applied$/m)
  const steps = await bench(state, 'deploy', '--step', 'image:3.0.0')
  assert.match(steps.stderr, /pi1 is on the contract of 2021, whose updates have one step/)
  assert.match((await bench(state, 'retry')).stderr, /has no retry: cancel, then deploy again/)
})
