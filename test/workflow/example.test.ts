import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeDevice } from './fake-device.ts'

test('a power cut at the first effect is survived', async () => {
  const device = new FakeDevice([{ at: 0, how: 'cutBefore' }])
  device.order({ id: 'W1', system: { version: '2.0.0' } })
  await device.runUntil(() => device.status.lastInstallResult?.resultCode === 700)
  assert.equal(device.system.version, '2.0.0')
})
