import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aMethodDevice, assertIsTime, isStatus, sha256Of } from './support.ts'

test('a call of the method takes the device to the new system, through every stage', async t => {
  const { bench, device, publish, call, until, stages } = await aMethodDevice(t)
  const bundle = await bench.buildBundle({ tree: { version: '2.0.0' } })
  const fwPackageUri = await publish(bundle)
  const answer = await call({ fwPackageUri, sha256: await sha256Of(bundle), version: '2.0.0' })
  assert.deepEqual(answer, { status: 200, payload: 'FirmwareUpdate started' })

  const { status, startedWaitingTime, downloadCompleteTime, startedApplyingImage, lastFirmwareUpdate, ...rest } =
    await until(isStatus('applyComplete', 'applyFailed', 'downloadFailed', 'rolledBack'))
  assert.equal(status, 'applyComplete', JSON.stringify(rest))
  assert.deepEqual(rest, { fwPackageUri })
  for (const time of [startedWaitingTime, downloadCompleteTime, startedApplyingImage, lastFirmwareUpdate]) {
    assertIsTime(time)
  }
  assert.deepEqual(stages, ['waiting', 'downloading', 'downloadComplete', 'applying', 'rebooting', 'applyComplete'])
  const { versions, booted, boot } = await device.status()
  assert.deepEqual([versions.b, booted, boot?.primary, boot?.trial], ['2.0.0', 'b', 'b', 'none'])
})
