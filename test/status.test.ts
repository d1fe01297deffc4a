import assert from 'node:assert/strict'
import test from 'node:test'
import type { Attempt } from '../src/domain/deployment.ts'
import { describeStatus } from '../src/status.ts'

const attempt: Attempt = {
  workflow: { action: 3, id: 'W1' },
  fingerprint: 'F',
  updateId: { provider: 'contoso', name: 'toaster', version: '2.0' },
  installedCriteria: '2.0',
  installs: 1,
  reboots: 1,
  installedTo: 'b',
  milestones: ['agent started'],
  reported: false,
}

test('a new device', () => {
  const boot = { booted: 'a', primary: 'a', trial: 'none', tries: 0 } as const
  assert.equal(
    describeStatus({ version: '1.0', boot, attempt: undefined }),
    'system      1.0\nslot a      booted, primary\nslot b      other\ndeployment  none so far\n',
  )
})

test('a trial', () => {
  const boot = { booted: 'b', primary: 'b', trial: 'pending', tries: 1 } as const
  const text = describeStatus({ version: '2.0', boot, attempt })
  assert.match(text, /slot b {6}booted, primary, on trial, 1 more start\n/)
  assert.match(text, /progress {4}installed to slot b\n/)
  assert.match(text, /trial boots agent started\n/)
})

test('a fall-back', () => {
  const boot = { booted: 'a', primary: 'a', trial: 'failed', tries: 0 } as const
  const result = { resultCode: 0, extendedResultCodes: [0x3210000d], resultDetails: 'unit web.service failed' }
  const text = describeStatus({ version: '1.0', boot, attempt: { ...attempt, result, reported: true } })
  assert.match(text, /slot b {6}other, its trial failed\n/)
  assert.match(text, /result {6}0, 3210000D, reported\ndetails {5}unit web\.service failed\n/)
})
