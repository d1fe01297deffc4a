import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { execa } from 'execa'
import { aMethodDevice, firmwareOf } from '../firmware-update/support.ts'
import { aHub, atEnd, tempDir } from '../hub/support.ts'
import { OPERATOR, operator, operatorOptions } from './support.ts'

test('trigger follows an update to its end, and tells every change', async t => {
  const { bench, device, publish } = await aMethodDevice(t, { stageSeconds: 0.8, requireSha256: true })
  const bundle = await bench.buildBundle({ tree: { version: '2.0.0' } })
  const uri = await publish(bundle)
  const args = ['trigger', '--device', 'pi1', '--uri', uri, '--file', bundle, '--interval', '200']
  const { exitCode, stdout, stderr } = await operator(args, bench.hub)
  assert.deepEqual([exitCode, stderr], [0, ''])
  const lines = stdout.split('\n')
  assert.equal(lines[0], 'pi1 answered 200: FirmwareUpdate started')
  for (const stage of ['waiting', 'downloading', 'downloadComplete', 'applying', 'rebooting']) {
    assert.ok(
      lines.some(line => /^\d\d:\d\d:\d\d {2}▸ pi1 /.test(line) && line.includes(stage)),
      stage,
    )
  }
  assert.match(lines.at(-1) ?? '', /✔ pi1 {2}applyComplete$/)
  assert.equal((await device.status()).booted, 'b')

  const again = await operator(['watch', '--device', 'pi1', '--json'], bench.hub)
  assert.equal(again.exitCode, 0)
  const [update] = JSON.parse(again.stdout).updates
  assert.deepEqual([update.pattern, update.stage, update.phase], ['firmwareUpdate', 'applyComplete', 'succeeded'])
})

test('trigger ends with 1 and the reason when the update fails', async t => {
  const { bench, publish } = await aMethodDevice(t)
  const uri = await publish(await bench.buildBundle({ tree: { version: '2.0.0' }, hardware: 'pi-workbench:9.9' }))
  const { exitCode, stdout } = await operator(['trigger', '--device', 'pi1', '--uri', uri, '--json'], bench.hub)
  assert.equal(exitCode, 1)
  const lines = stdout.split('\n').map(line => JSON.parse(line))
  assert.deepEqual([lines[0].status, lines[0].answer], [200, 'FirmwareUpdate started'])
  const last = lines.at(-1)
  assert.deepEqual([last.stage, last.phase], ['applyFailed', 'failed'])
  assert.match(last.details, /swupdate failed/i)
})

test('trigger survives a hub that is away, and does not take the run before for its own', async t => {
  const { bench, publish, until } = await aMethodDevice(t, { stageSeconds: 1 })
  const bad = await publish(await bench.buildBundle({ tree: { version: '9.0.0' }, hardware: 'x:9' }), 'bad.swu')
  await operator(['trigger', '--device', 'pi1', '--uri', bad, '--no-watch'], bench.hub)
  await until(({ status }) => status === 'applyFailed')

  const uri = await publish(await bench.buildBundle({ tree: { version: '2.0.0' } }))
  const args = ['trigger', '--device', 'pi1', '--uri', uri]
  const running = execa('node', [OPERATOR, ...args], operatorOptions(bench.hub))
  await until(({ status }) => status === 'downloading')
  bench.hub.faults.inject({ kind: 'failRest', how: 503, times: 3 })
  bench.hub.faults.inject({ kind: 'failRest', how: 'reset', times: 3 })
  const { exitCode, stdout, stderr } = await running
  assert.equal(exitCode, 0)
  assert.match(String(stderr), /the hub (cannot be reached|answered 503)/)
  assert.doesNotMatch(String(stdout), /applyFailed/)
  assert.match(String(stdout), /applyComplete$/)
})

test('Ctrl-C ends the watching with 5, and the update goes on', async t => {
  const { bench, publish, until, device } = await aMethodDevice(t, { stageSeconds: 1 })
  const uri = await publish(await bench.buildBundle({ tree: { version: '2.0.0' } }))
  const running = execa('node', [OPERATOR, 'trigger', '--device', 'pi1', '--uri', uri], operatorOptions(bench.hub))
  await until(({ status }) => status === 'waiting')
  await new Promise<void>(resolve => running.stdout?.on('data', chunk => /▸ pi1/.test(String(chunk)) && resolve()))
  running.kill('SIGINT')
  const { exitCode, stderr } = await running
  assert.equal(exitCode, 5)
  assert.match(String(stderr), /^pi-adu-operator: stopped watching; the update goes on: .*watch --device pi1/)

  const watched = await operator(['watch', '--device', 'pi1'], bench.hub)
  assert.equal(watched.exitCode, 0)
  assert.match(watched.stdout, /✔ pi1 {2}applyComplete/)
  assert.equal((await device.status()).versions.b, '2.0.0')
})

test('watch follows a deployment too', async t => {
  const { bench } = await aMethodDevice(t)
  const update = await bench.importBundle(await bench.buildBundle({ tree: { version: '2.0.0' } }), '2.0.0')
  bench.deploy('pi1', update, { workflowId: 'W7' })
  const { exitCode, stdout } = await operator(['watch', '--device', 'pi1', '--interval', '100'], bench.hub)
  assert.equal(exitCode, 0)
  assert.match(stdout, /▸ pi1 {2}(ordered|in progress)/)
  assert.match(stdout, /✔ pi1 {2}applied$/)
})

test('each refusal is one clear line and its own exit code', async t => {
  const { bench, publish, call, until } = await aMethodDevice(t, { stageSeconds: 1 })
  const { hub } = bench
  hub.createDevice('away')
  const bundle = await bench.buildBundle({ tree: { version: '2.0.0' } })
  const uri = await publish(bundle)
  const trigger = (id: string, ...more: string[]) => ['trigger', '--device', id, '--uri', uri, ...more]
  const key = (text: string) => /SharedAccessKey=([^;]+)/.exec(text)?.[1] ?? ''
  const poor = hub.policyConnectionString('registryRead')
  const wrong = hub.serviceConnectionString.replace(/SharedAccessKey=.*/, 'SharedAccessKey=d3Jvbmcgc2VjcmV0')
  const file = join(await tempDir(t), 'login')
  await writeFile(file, `${poor}\n`)
  const windows = join(await tempDir(t), 'login')
  await writeFile(windows, Buffer.from(`\ufeff${poor}\r\n`, 'utf16le'))

  const rows: readonly (readonly [string, readonly string[], number, RegExp])[] = [
    [
      'no permission',
      trigger('pi1', '--login', poor),
      4,
      /refuses this connection string \(401\): .*lacks ServiceConnect/,
    ],
    ['no permission, from a file', trigger('pi1', '--login-file', file), 4, /lacks ServiceConnect/],
    ['the same, saved by Windows', trigger('pi1', '--login-file', windows), 4, /lacks ServiceConnect/],
    ['a wrong key', trigger('pi1', '--login', wrong), 4, /refuses this connection string \(401\)/],
    ['a device’s string', trigger('pi1', '--login', hub.deviceConnectionString('pi1')), 64, /of a device/],
    ['half a string', trigger('pi1', '--login', 'HostName=x'), 64, /has no SharedAccessKeyName/],
    ['no such file', trigger('pi1', '--login-file', '/no/such/file'), 64, /cannot read \/no\/such\/file/],
    ['unknown device', trigger('ghost'), 3, /the hub does not know it \(404\)/],
    ['a device that is away', trigger('away'), 3, /the device is not connected/],
    [
      'plain http',
      ['trigger', '--device', 'pi1', '--uri', 'http://localhost/x.swu'],
      2,
      /refused \(400\): .*only https/,
    ],
    ['a file', ['trigger', '--device', 'pi1', '--uri', 'file:///etc/passwd'], 2, /refused \(400\): .*only https/],
    [
      'a foreign host',
      ['trigger', '--device', 'pi1', '--uri', 'https://evil.example/x.swu'],
      2,
      /evil\.example is not allowed/,
    ],
    ['no URL', ['trigger', '--device', 'pi1', '--uri', 'hello'], 64, /not a URL/],
    ['half a hash', trigger('pi1', '--sha256', 'abc'), 64, /--sha256/],
    ['no option', ['trigger'], 64, /required option/],
  ]
  for (const [name, args, code, line] of rows) {
    const { exitCode, stderr, stdout } = await operator(args, hub)
    assert.match(stderr, line, name)
    assert.equal(exitCode, code, name)
    assert.equal(stderr.trim().split('\n').length, 1, name)
    for (const secret of [poor, wrong, hub.serviceConnectionString, hub.deviceConnectionString('pi1')]) {
      assert.ok(!`${stderr}${stdout}`.includes(key(secret)), `${name}: the key is shown`)
    }
  }
  assert.equal((await call({ fwPackageUri: uri })).status, 200)
  const second = await operator(trigger('pi1'), hub)
  assert.equal(second.exitCode, 2)
  assert.match(second.stderr, /pi1 refused \(409\): .*another firmware update is running/i)
  await until(({ status }) => status === 'applyComplete')
  assert.deepEqual(firmwareOf(hub.getTwin('pi1').properties.reported as never).fwPackageUri, uri)
})

test('without a hub: one line, 3', async t => {
  const hub = await aHub(t)
  const options = operatorOptions(hub)
  await hub.stop()
  atEnd(t, async () => {})
  const { exitCode, stderr } = await execa('node', [OPERATOR, 'watch', '--device', 'pi1', '--patience', '1'], options)
  assert.equal(exitCode, 3)
  assert.match(
    String(stderr).trim().split('\n').at(-1) ?? '',
    /^pi-adu-operator: .*the hub cannot be reached: connect ECONNREFUSED/,
  )
})
