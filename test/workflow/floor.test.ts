import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { type Attempt, JOURNAL_FORMAT } from '../../src/domain/attempt.ts'
import { installedBefore } from '../../src/workflow/downgrade.ts'
import { FakeDevice, type Goal } from './fake-device.ts'

const DOWNGRADE = '32100015'

async function device(): Promise<FakeDevice> {
  const made = new FakeDevice()
  made.downgrade = { allowDowngrade: false }
  return made
}

/** Deploys, and gives result code, first extended code and the version that then runs. */
async function deployed(to: FakeDevice, id: string, version: string, criteria = version): Promise<unknown[]> {
  const goal: Goal = { id, system: { version }, criteria }
  to.order(goal)
  await to.runUntil(
    () => to.status.workflow?.id === id && [0, 255].includes(to.status.state ?? 6) && to.journalReported,
  )
  const { resultCode, extendedResultCodes } = to.status.lastInstallResult ?? {}
  return [resultCode, extendedResultCodes, to.system.version]
}

describe('the lowest version, where downgrades are not allowed', () => {
  test('is not moved down by an order for what is there already, and that one is refused as well', async () => {
    const pi = await device()
    assert.deepEqual(await deployed(pi, 'W1', '0.1', '1.0.0'), [0, DOWNGRADE, '1.0.0'])
    assert.deepEqual(await deployed(pi, 'W2', '0.5'), [0, DOWNGRADE, '1.0.0'])
  })

  test('is not moved up for ever by an order for what is there already', async () => {
    const pi = await device()
    assert.deepEqual(await deployed(pi, 'W1', '2147483647.0', '1.0.0'), [700, '00000000', '1.0.0'])
    assert.deepEqual(await deployed(pi, 'W2', '2.0.0'), [700, '00000000', '2.0.0'])
  })

  test('is moved by what was installed, also past orders that were not', async () => {
    const pi = await device()
    assert.deepEqual(await deployed(pi, 'W1', '2.0.0'), [700, '00000000', '2.0.0'])
    assert.deepEqual(await deployed(pi, 'W2', '3.0', '2.0.0'), [700, '00000000', '2.0.0'])
    assert.deepEqual(await deployed(pi, 'W3', '1.5'), [0, DOWNGRADE, '2.0.0'])
    assert.deepEqual(await deployed(pi, 'W4', '2.1'), [700, '00000000', '2.1'])
  })

  test('is moved by the image of a list that was committed, whatever fails after it', async () => {
    const first = { system: { version: '2.0.0' } }
    const panics = { system: { version: '3.0.0', panics: true } }
    for (const list of [
      [first, { install: 0 }],
      [first, panics, {}],
      [first, {}, panics],
    ]) {
      const pi = await device()
      pi.order({ id: 'W1', list, version: '9.0' })
      await pi.runUntil(() => pi.journalReported && pi.status.state === 255)
      assert.equal(pi.system.version, '2.0.0')
      assert.deepEqual(await deployed(pi, 'W2', '5.0'), [0, DOWNGRADE, '2.0.0'])
      assert.deepEqual(await deployed(pi, 'W3', '9.1'), [700, '00000000', '9.1'])
    }
  })

  test('is not moved by the image of a list that does not run any more', () => {
    const updateId = { provider: 'contoso', name: 'toaster', version: '1.0' }
    const last: Attempt = {
      ...{ format: JOURNAL_FORMAT, steps: [] },
      ...{ workflow: { action: 3, id: 'W' }, fingerprint: '', installs: 1, reboots: 1, milestones: [], reported: true },
      ...{
        origin: 'deviceUpdate',
        times: { begun: '2026-01-01T00:00:00.000Z' },
        before: { updateId, installedCriteria: 'old' },
      },
      ...{ updateId: { ...updateId, version: '9.0' }, installedCriteria: 'new', installedTo: 'b', committed: 'new' },
      result: { resultCode: 0, extendedResultCodes: [0], resultDetails: '' },
    }
    assert.equal(installedBefore(last, 'old')?.updateId.version, '1.0')
    assert.equal(installedBefore(last, 'new')?.updateId.version, '9.0')
  })

  test('a failed installation moves nothing', () => {
    const attempt: Attempt = {
      ...{ format: JOURNAL_FORMAT, steps: [] },
      ...{ workflow: { action: 3, id: 'W' }, fingerprint: '', installs: 1, reboots: 1, milestones: [], reported: true },
      ...{ origin: 'deviceUpdate', times: { begun: '2026-01-01T00:00:00.000Z' } },
      updateId: { provider: 'contoso', name: 'toaster', version: '9.0' },
      installedCriteria: '9.0',
      installedTo: 'b',
    }
    const result = { extendedResultCodes: [0], resultDetails: '' }
    assert.equal(installedBefore({ ...attempt, result: { ...result, resultCode: 0 } }), undefined)
    assert.equal(installedBefore({ ...attempt, result: { ...result, resultCode: 700 } })?.updateId.version, '9.0')
  })
})
