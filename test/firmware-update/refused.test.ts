import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { atEnd } from '../hub/support.ts'
import { aMethodDevice, isStatus, sha256Of } from './support.ts'

const FAILED = isStatus('applyComplete', 'applyFailed', 'downloadFailed', 'rolledBack')

describe('on the workbench', () => {
  test('bad calls are answered with 400 and one sentence, whatever their form, and leave no trace', async t => {
    const { bench, call, publish, device } = await aMethodDevice(t, { requireSha256: true })
    const uri = await publish(await bench.buildBundle({ tree: { version: '2.0.0' } }))
    const calls: readonly (readonly [unknown, RegExp])[] = [
      [null, /The payload is null/],
      [7, /The payload is a number/],
      [[], /The payload is a list/],
      ['x'.repeat(128 * 1024 - 2), /longer than 8192/],
      [{ fwPackageUri: 'x'.repeat(120 * 1024) }, /at most 2048/],
      [{ fwPackageUri: 'file:///etc/passwd' }, /only https/],
      [{ fwPackageUri: uri.replace('https', 'http') }, /only https/],
      [{ fwPackageUri: 'https://evil.example/x' }, /not allowed/],
      [{ fwPackageUri: uri }, /sha256 is missing/],
      [`{ fwPackageUri : '${uri}' }`, /^sha256 is missing/],
    ]
    for (const [payload, why] of calls) {
      const { status, payload: answer } = await call(payload)
      assert.equal(status, 400, String(answer))
      assert.match(String(answer), why)
      assert.match(String(answer), /^[^\n]*\.$/)
    }
    await assert.rejects(call('x'.repeat(129 * 1024)), /128 KB/)
    assert.equal(bench.hub.getTwin('pi1').properties.reported.iothubDM, undefined)
    assert.equal(await device.bootCount(), 1)
  })

  test('switched off, both methods say so', async t => {
    const { call } = await aMethodDevice(t, { enabled: false })
    const { status, payload } = await call({ fwPackageUri: 'https://localhost/x' })
    assert.equal(status, 403)
    assert.match(String(payload), /switched off .*piAdu\.firmwareUpdate\.enabled/)
  })

  test('a method that does not exist is answered at once, with those that do', async t => {
    const { bench } = await aMethodDevice(t, { enabled: false })
    const begun = performance.now()
    for (const name of ['firmwareupdate', 'FirmwareUpdate', 'getVersion', '__proto__']) {
      const { status, payload } = await bench.hub.invokeMethod('pi1', name, null, { connectMs: 20_000 })
      assert.equal(status, 404)
      assert.equal(payload, `"${name}" is not a method of this device, which has: firmwareUpdate, reboot.`)
    }
    assert.ok(performance.now() - begun < 20_000)
  })

  test('each bad bundle ends in its own word, on the old system, and a good one follows', async t => {
    const { bench, call, publish, until, device } = await aMethodDevice(t)
    const tree = { version: '2.0.0' }
    const stranger = await openBundleSigner(join(bench.contentDir, '..'), 'stranger')
    const text = join(bench.contentDir, 'text.swu')
    await writeFile(text, 'this is no bundle\n'.repeat(10_000))
    const good = await publish(await bench.buildBundle({ tree }), 'good.swu')
    const rows: readonly (readonly [string, string, object, string, RegExp])[] = [
      ['nothing there', bench.content.url('none.swu'), {}, 'downloadFailed', /404/],
      [
        'not a bundle',
        bench.content.url('text.swu'),
        {},
        'applyFailed',
        /there is no cpio header at byte 0 \(32100020\)/,
      ],
      [
        'of a stranger',
        await publish(await bench.buildBundle({ tree }, 's.swu', stranger), 's.swu'),
        {},
        'applyFailed',
        /swupdate failed/,
      ],
      [
        'for another board',
        await publish(await bench.buildBundle({ tree, hardware: 'x:9.9' }), 'b.swu'),
        {},
        'applyFailed',
        /swupdate failed/,
      ],
      ['of another hash', good, { sha256: 'ab'.repeat(32) }, 'downloadFailed', /SHA-256/],
      ['of another size', good, { sizeInBytes: 99 }, 'downloadFailed', /not the expected 99/],
    ]
    for (const [name, fwPackageUri, more, status, why] of rows) {
      const { startedWaitingTime: before } = await until(() => true)
      assert.equal((await call({ fwPackageUri, ...more })).status, 200, name)
      const end = await until(shown => shown.startedWaitingTime !== before && FAILED(shown))
      assert.equal(end.status, status, `${name}: ${JSON.stringify(end.error)}`)
      assert.match((end.error as { message: string }).message, why, name)
      assert.equal(await device.bootCount(), 1, name)
    }
    const sha256 = await sha256Of(join(bench.contentDir, 'good.swu'))
    await call({ fwPackageUri: good, sha256 })
    const end = await until(shown => shown.fwPackageUri === good && shown.status === 'applyComplete')
    assert.equal(end.error, undefined)
    assert.equal((await device.status()).versions.b, '2.0.0')
  })

  test('a new system that is never healthy is rolled back, and the twin says why', async t => {
    const { bench, call, publish, until, device, stages } = await aMethodDevice(t)
    const fwPackageUri = await publish(await bench.buildBundle({ tree: { version: '2.0.0', init: 'panics' } }))
    await call({ fwPackageUri })
    const end = await until(FAILED)
    assert.equal(end.status, 'rolledBack')
    assert.match((end.error as { message: string }).message, /fell back to the old system/)
    assert.deepEqual(stages.slice(-2), ['rebooting', 'rolledBack'])
    assert.equal((await device.status()).booted, 'a')
  })

  test('a second call, a call during a deployment, and a reboot meanwhile: 409', async t => {
    const { bench, call, publish, until } = await aMethodDevice(t, { stageSeconds: 1 })
    const fwPackageUri = await publish(await bench.buildBundle({ tree: { version: '2.0.0' } }))
    assert.equal((await call({ fwPackageUri })).status, 200)
    for (const [name, payload] of [
      ['firmwareUpdate', { fwPackageUri }],
      ['reboot', null],
    ] as const) {
      const { status, payload: answer } = await call(payload, name)
      assert.equal(status, 409)
      assert.match(String(answer), /another firmware update is running|another update is running/i)
    }
    await until(isStatus('applyComplete'))

    const update = await bench.importBundle(await bench.buildBundle({ tree: { version: '3.0.0' } }), '3.0.0')
    const path = Object.keys(bench.content.stats)[0] ?? ''
    assert.ok(path)
    bench.content.faults['*'] = { bytesPerSecond: 200_000 }
    bench.deploy('pi1', update, { workflowId: 'W9' })
    const busy = (r: Record<string, unknown>) =>
      (r.deviceUpdate as { agent?: { state?: number } } | undefined)?.agent?.state === 6
    await bench.hub.waitForReported('pi1', busy, { timeoutMs: 30_000 })
    const { status, payload } = await call({ fwPackageUri })
    assert.deepEqual([status, payload], [409, 'Deployment W9 is running.'])
    delete bench.content.faults['*']
    await bench.hub.waitForReported(
      'pi1',
      r =>
        (r.deviceUpdate as { agent?: { lastInstallResult?: { resultCode?: number } } })?.agent?.lastInstallResult
          ?.resultCode === 700,
      { timeoutMs: 60_000 },
    )
  })

  test('a power cut in the download costs time only', async t => {
    const { bench, call, publish, until, device, dir } = await aMethodDevice(t)
    const { startDevice } = await import('../bench/workbench/control.ts')
    const fwPackageUri = await publish(await bench.buildBundle({ tree: { version: '2.0.0' } }))
    bench.content.faults['*'] = { bytesPerSecond: 300_000, times: 1 }
    await call({ fwPackageUri })
    await until(isStatus('downloading'))
    await device.powerCut()
    const again = await startDevice(dir)
    atEnd(t, () => again.powerOff())
    assert.equal((await until(FAILED)).status, 'applyComplete')
  })

  test('the method reboot restarts the device', async t => {
    const { bench, call, device } = await aMethodDevice(t)
    assert.deepEqual(await call(null, 'reboot'), { status: 200, payload: 'Reboot started' })
    await device.waitForBoot(2, 30_000)
    const { reboot } = bench.hub.getTwin('pi1').properties.reported.iothubDM as { reboot: { lastReboot: string } }
    assert.match(reboot.lastReboot, /^\d{4}-.*Z$/)
  })
})
