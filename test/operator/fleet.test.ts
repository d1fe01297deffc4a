import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { execa } from 'execa'
import { ControlPlane } from '../bench/control-plane/control-plane.ts'
import type { BenchHub } from '../bench/hub/hub.ts'
import { aHub, atEnd, tempDir } from '../hub/support.ts'
import { OPERATOR, operator, operatorOptions } from './support.ts'

const METHODS = '$iothub/methods/POST/#'

/** Agents that are whole but for their machines; ids `pi01`, `pi02`, … */
async function aFleet(t: TestContext, count: number): Promise<{ hub: BenchHub; devices: ControlPlane[] }> {
  const hub = await aHub(t)
  const devices = Array.from({ length: count }, (_, index) => {
    const id = `pi${String(index + 1).padStart(2, '0')}`
    hub.createDevice(id)
    hub.updateTags(id, { site: 'berlin' })
    const device = new ControlPlane({ connectionString: hub.deviceConnectionString(id), hubCa: hub.ca, rootKeys: [] })
    device.start()
    atEnd(t, () => device.stop())
    return device
  })
  for (let index = 1; index <= count; index++) {
    const id = `pi${String(index).padStart(2, '0')}`
    await hub.waitFor(() => hub.isSubscribed(id, METHODS), { timeoutMs: 30_000 })
  }
  return { hub, devices }
}

const URI = 'https://files.example.com/2.0.0.swu'
const QUERY = ['--query', "SELECT * FROM devices WHERE tags.site = 'berlin'"]
const usual = [...QUERY, '--uri', URI, '--interval', '100']

test('a fleet is updated batch after batch, and the report says so', async t => {
  const { hub, devices } = await aFleet(t, 7)
  const report = join(await tempDir(t), 'report.json')
  const args = ['fleet', ...usual, '--batch-size', '3', '--job', 'july', '--report', report]
  const { exitCode, stdout, stderr } = await operator(args, hub)
  assert.deepEqual([exitCode, stderr], [0, ''])
  assert.deepEqual(new Set(devices.map(({ version }) => version)), new Set(['2.0.0']))
  for (const batch of [1, 2, 3]) assert.match(stdout, new RegExp(`july, batch ${batch}: `))
  assert.match(stdout, /july: 7 succeeded$/)
  const { counts, devices: rows, notStarted } = JSON.parse(await readFile(report, 'utf8'))
  assert.equal(counts.succeeded, 7)
  assert.deepEqual(notStarted, [])
  assert.deepEqual(rows[6].batch, 3)
  assert.match(rows[0].times.lastFirmwareUpdate, /^20/)

  const again = await operator(['fleet', '--resume', 'july', '--interval', '100', '--json'], hub)
  assert.equal(again.exitCode, 0)
  assert.equal(JSON.parse(again.stdout.split('\n').at(-1) ?? '').report.counts.succeeded, 7)
})

test('with more failures than allowed, the rest is not started', async t => {
  const { hub, devices } = await aFleet(t, 6)
  for (const id of ['pi00', 'pi000']) {
    hub.createDevice(id)
    hub.updateTags(id, { site: 'berlin' })
  }
  const args = ['fleet', ...usual, '--batch-size', '3', '--max-failures', '1', '--job', 'stop', '--json']
  const { exitCode, stdout } = await operator(args, hub)
  assert.equal(exitCode, 1)
  const { report } = JSON.parse(stdout.split('\n').at(-1) ?? '')
  assert.deepEqual([report.counts.unreached, report.counts.succeeded], [2, 1])
  assert.deepEqual(report.notStarted, ['pi02', 'pi03', 'pi04', 'pi05', 'pi06'])
  assert.deepEqual(
    devices.map(({ version }) => version),
    ['2.0.0', ...Array(5).fill('1.0.0')],
  )
})

test('what an earlier run of a device shows is not taken for this one', async t => {
  const { hub, devices } = await aFleet(t, 2)
  await operator(['fleet', ...usual, '--job', 'one'], hub)
  const next = ['fleet', ...QUERY, '--uri', 'https://files.example.com/3.0.0.swu', '--interval', '100', '--json']
  const { exitCode, stdout } = await operator([...next, '--job', 'two'], hub)
  assert.equal(exitCode, 0)
  assert.deepEqual(new Set(devices.map(({ version }) => version)), new Set(['3.0.0']))
  assert.equal(JSON.parse(stdout.split('\n').at(-1) ?? '').report.counts.succeeded, 2)
})

test('the name of another rollout is refused, and nothing is started', async t => {
  const { hub, devices } = await aFleet(t, 2)
  await operator(['fleet', ...usual, '--job', 'july'], hub)
  const other = ['fleet', ...QUERY, '--uri', 'https://files.example.com/3.0.0.swu', '--interval', '100']
  for (const args of [other, ['fleet', ...usual]]) {
    const { exitCode, stdout, stderr } = await operator([...args, '--job', 'july'], hub)
    assert.match(stderr, /the hub has a job july-1 already, so it was not started; .*--resume july/)
    assert.equal(exitCode, 64)
    assert.doesNotMatch(stdout, /succeeded/)
  }
  assert.deepEqual(new Set(devices.map(({ version }) => version)), new Set(['2.0.0']))
})

test('a start whose answer got lost is not taken for another rollout', async t => {
  const { hub, devices } = await aFleet(t, 2)
  hub.faults.inject({ kind: 'failRest', path: '/jobs/v2/lost-1', how: 'lose' })
  const { exitCode, stdout } = await operator(['fleet', ...usual, '--job', 'lost'], hub)
  assert.match(stdout, /lost: 2 succeeded$/)
  assert.equal(exitCode, 0)
  assert.deepEqual(new Set(devices.map(({ version }) => version)), new Set(['2.0.0']))
})

test('a job of that name that somebody else started meanwhile is not taken for ours', async t => {
  const { hub, devices } = await aFleet(t, 2)
  await operator(
    ['fleet', ...QUERY, '--uri', 'https://files.example.com/3.0.0.swu', '--job', 'race', '--interval', '100'],
    hub,
  )
  hub.faults.inject({ kind: 'failRest', path: '/jobs/v2/race-1', how: 'reset' })
  const { exitCode, stderr } = await operator(['fleet', ...usual, '--job', 'race'], hub)
  assert.match(stderr, /the hub has a job race-1 already/)
  assert.equal(exitCode, 64)
  assert.deepEqual(new Set(devices.map(({ version }) => version)), new Set(['3.0.0']))
})

test('Ctrl-C ends the watching; the same jobs are found again', async t => {
  const { hub } = await aFleet(t, 3)
  const args = ['fleet', ...usual, '--job', 'halt', '--interval', '1000']
  const running = execa('node', [OPERATOR, ...args], operatorOptions(hub))
  await new Promise<void>(resolve => running.stdout?.on('data', chunk => String(chunk).includes('halt') && resolve()))
  running.kill('SIGINT')
  const { exitCode, stderr } = await running
  assert.equal(exitCode, 5)
  assert.match(String(stderr), /the update goes on: pi-adu-operator fleet --resume halt/)
  const again = await operator(['fleet', '--resume', 'halt', '--interval', '100'], hub)
  assert.deepEqual([again.exitCode, again.stderr], [0, ''])
  assert.match(again.stdout, /halt: 3 succeeded$/)
})

test('a mistake in any flag is told before any device is called', async t => {
  const { hub, devices } = await aFleet(t, 1)
  const uri = ['--uri', 'https://files.example.com/2.0.0.swu']
  const rows: readonly (readonly string[])[] = [
    ['trigger', '--device', 'pi01', ...uri, '--interval', 'x'],
    ['trigger', '--device', 'pi01', ...uri, '--interval', '1', '--no-watch'],
    ['trigger', '--device', 'pi01', ...uri, '--timeout', '0'],
    ['trigger', '--device', 'pi01', ...uri, '--patience', 'soon'],
    ['trigger', '--device', 'pi01', ...uri, '--connect-timeout', '-1'],
    ['trigger', '--device', 'pi01', ...uri, '--size', '1.5'],
    ['trigger', '--device', 'pi01', ...uri, '--wrong'],
    ['fleet', '--query', 'SELECT * FROM devices', ...uri, '--interval', 'x'],
    ['fleet', '--query', 'SELECT * FROM devices', ...uri, '--report', '/no/such/folder/report.json'],
    ['fleet', '--query', 'SELECT * FROM devices', ...uri, '--batch-size', '2.5'],
    ['fleet', '--resume', 'july', ...uri],
    ['watch', '--device', 'pi01', '--interval', ''],
  ]
  for (const args of rows) {
    const { exitCode, stdout, stderr } = await operator(args, hub)
    assert.equal(exitCode, 64, args.join(' '))
    assert.equal(stdout, '')
    assert.match(stderr, /^pi-adu-operator: .*$/, args.join(' '))
  }
  assert.deepEqual(
    devices.map(({ version }) => version),
    ['1.0.0'],
  )
})

test('mistakes are told in one line before anything is started', async t => {
  const hub = await aHub(t)
  hub.createDevice('pi01')
  const rows: readonly (readonly [readonly string[], number, RegExp])[] = [
    [['--uri', URI], 64, /--query is missing/],
    [['--query', 'SELECT * FROM devices'], 64, /--uri is missing/],
    [['--query', 'SELEKT', '--uri', URI], 64, /the hub does not take this: /],
    [['--query', "SELECT * FROM devices WHERE deviceId = 'x'", '--uri', URI], 64, /fits no device/],
    [['--query', 'SELECT COUNT() AS n FROM devices', '--uri', URI], 64, /gives no deviceId/],
    [['--query', 'SELECT * FROM devices', '--uri', URI, '--batch-size', '0'], 64, /--batch-size/],
    [['--query', 'SELECT * FROM devices', '--uri', URI, '--max-failures', 'x'], 64, /--max-failures/],
    [['--resume', 'never'], 64, /has no job never-1/],
    [['--resume', "x' OR 1"], 64, /name of a job/],
    [
      ['--query', 'SELECT * FROM devices', '--uri', URI, '--login', hub.policyConnectionString('registryRead')],
      4,
      /lacks ServiceConnect|refuses/,
    ],
  ]
  for (const [args, code, line] of rows) {
    const { exitCode, stderr } = await operator(['fleet', ...args], hub)
    assert.match(stderr, line)
    assert.equal(exitCode, code, args.join(' '))
  }
  const dry = await operator(['fleet', '--query', 'SELECT * FROM devices', '--uri', URI, '--dry-run'], hub)
  assert.deepEqual([dry.exitCode, dry.stdout], [0, 'pi01\n1 devices'])
  // More than a page of the hub's answer.
  for (let i = 0; i < 250; i++) hub.createDevice(`other-${i}`)
  const all = await operator(['fleet', '--query', 'SELECT * FROM devices', '--uri', URI, '--dry-run'], hub)
  assert.match(all.stdout, /\n251 devices$/)
})
