import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import type { Attempt } from '../../src/domain/attempt.ts'
import type { LocalFacts } from '../../src/domain/gate.ts'
import { CALM } from '../gates/calm.ts'
import { FakeDevice } from './fake-device.ts'
import type { StepSpec } from './fake-steps.ts'

const LOCKED: LocalFacts = { ...CALM, locks: [{ name: 'till', gates: ['download'], until: undefined, why: undefined }] }

const isOver = (device: FakeDevice, id: string) => (): boolean =>
  device.status.workflow?.id === id &&
  device.status.state !== 6 &&
  device.journalReported &&
  (device.journal as Attempt).workflow.id === id
const detailsOf = (device: FakeDevice): string => device.status.lastInstallResult?.resultDetails ?? ''
const stepOf = (device: FakeDevice) => (device.journal as Attempt).steps[0]

/** The download gate closes whenever a step downloads, and opens when that has ended. */
function locked(...list: readonly StepSpec[]): FakeDevice {
  const device = new FakeDevice()
  Object.defineProperty(device, 'facts', { get: () => (device.service.isHanging ? LOCKED : CALM) })
  device.order({ id: 'W1', list })
  return device
}

describe('the download of a step', () => {
  test('that power cuts always interrupt ends the list, with a report', async () => {
    const device = new FakeDevice()
    device.disturbEach('workFolder.write', 'cutBefore')
    device.order({ id: 'W1', list: [{}] })
    await device.runUntil(isOver(device, 'W1'))
    assert.equal(device.status.lastInstallResult?.extendedResultCodes, '3210000A')
    assert.match(detailsOf(device), /begun 20 times/)
    assert.equal(device.boots, 21)
  })

  test('a closed gate ends it at the step service too, and it starts over when the gate opens', async () => {
    const device = locked({ hangs: 1 })
    await device.runUntil(isOver(device, 'W1'))
    assert.deepEqual(device.service.cancelled, ['0'])
    assert.equal(device.status.lastInstallResult?.resultCode, 700)
    assert.equal(stepOf(device)?.pauses, 1)
    assert.deepEqual(device.workFolder.written, ['0.bin'])
  })

  test('that gates always pause ends the list, with a report', async () => {
    const device = locked({ hangs: 1000 })
    await device.runUntil(isOver(device, 'W1'))
    assert.equal(device.status.lastInstallResult?.extendedResultCodes, '3210000A')
    assert.match(detailsOf(device), /paused 100 times/)
  })

  for (const [what, next, ends, code] of [
    ['a cancel', { id: 'nodeployment', cancel: true }, 'W1', -1],
    ['a newer deployment', { id: 'W2', list: [{}] }, 'W2', 700],
  ] as const) {
    test(`${what} ends it at the step service too`, async () => {
      const device = new FakeDevice()
      device.order({ id: 'W1', list: [{ hangs: 1 }] })
      let came = false
      await device.runUntil(() => {
        if (device.service.isHanging && !came) {
          came = true
          device.order(next)
        }
        return came && isOver(device, ends)()
      })
      assert.deepEqual(device.service.cancelled, ['0'])
      assert.equal(device.status.lastInstallResult?.resultCode, code)
    })
  }

  test('goes on when the agent ends', async () => {
    const device = new FakeDevice()
    device.order({ id: 'W1', list: [{ hangs: 1 }] })
    await device.runUntil(() => device.service.isHanging)
    assert.deepEqual(device.service.cancelled, [])
    assert.ok(device.service.isHanging)
  })

  test('leaves no files behind when an image with the same workflow id replaces the list', async () => {
    const device = new FakeDevice()
    device.order({ id: 'W1', list: [{}, { hangs: 1 }] })
    let came = false
    await device.runUntil(() => {
      if (device.service.isHanging && !came) {
        came = true
        assert.ok(device.workFolder.files.size > 0)
        device.order({ id: 'W1', system: { version: '2.0.0' } })
      }
      return device.system.version === '2.0.0' && device.boot.trial === 'none' && isOver(device, 'W1')()
    })
    assert.deepEqual([...device.workFolder.files.keys()], [])
  })
})
