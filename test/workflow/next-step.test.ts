import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import type { Attempt, Order, SystemUpdate, Verified } from '../../src/domain/deployment.ts'
import { AgentError } from '../../src/domain/errors.ts'
import type { BootState } from '../../src/domain/slot.ts'
import { MAX_INSTALLS, MAX_REBOOTS, nextStep, type Observed } from '../../src/workflow/next-step.ts'

const update = {
  updateId: { provider: 'contoso', name: 'toaster', version: '2.0.0' },
  installedCriteria: '2.0.0',
  bundle: { fileId: 'f1', fileName: 'a.swu', sizeInBytes: 9, sha256: Buffer.alloc(32) },
  url: 'https://content.test/a.swu',
} as SystemUpdate as Verified<SystemUpdate>
const workflow = { action: 3, id: 'W1' }
const goal: Order = { kind: 'deploy', workflow, fingerprint: 'F1', update }
const retried: Order = { ...goal, workflow: { ...workflow, retryTimestamp: '2026-01-01T00:00:00Z' } }
const cancel: Order = { kind: 'cancel', workflow: { action: 255, id: 'nodeployment' }, fingerprint: 'C' }
const refused: Order = { kind: 'refuse', workflow, fingerprint: 'F1', error: new AgentError('MANIFEST_BAD', 'bad') }

const attempt: Attempt = {
  workflow,
  fingerprint: 'F1',
  installedCriteria: '2.0.0',
  installs: 0,
  reboots: 0,
  milestones: [],
  reported: false,
}
const result = { resultCode: 700, extendedResultCodes: [0], resultDetails: '' }
const cause = { extendedResultCode: 0x3210000d, details: 'unit x failed' }

const onA: BootState = { booted: 'a', primary: 'a', trial: 'none', tries: 0 }
const pending: BootState = { ...onA, primary: 'b', trial: 'pending', tries: 3 }
const inTrial: BootState = { ...pending, booted: 'b', tries: 2 }
const onB: BootState = { ...onA, booted: 'b', primary: 'b' }
const backOnA: BootState = { ...onA, trial: 'failed' }
const stillOnB: BootState = { ...backOnA, booted: 'b' }
const installed: Attempt = { ...attempt, installs: 1, installedTo: 'b' }

type Row = readonly [string, Partial<Observed>, string | RegExp]

/** What is seen → what is done. What a row leaves out: slot a, committed, version 1.0.0, health unknown, nothing else. */
const TABLE: Readonly<Record<string, readonly Row[]>> = {
  'nothing asked for': [
    ['no twin read yet', {}, 'wait goal'],
    ['an attempt done and reported', { attempt: { ...attempt, result, reported: true } }, 'wait goal'],
    ['a result that the hub has not', { attempt: { ...attempt, result } }, 'report'],
    [
      'an attempt cut off in the install: only its order can go on',
      { attempt: { ...attempt, installs: 1 } },
      'wait goal',
    ],
  ],
  'a deployment': [
    ['first seen', { goal }, 'begin'],
    ['begun', { goal, attempt }, 'install b'],
    ['begun on slot b', { goal, attempt, boot: onB }, 'install a'],
    ['begun, and installed already', { goal, attempt, version: '2.0.0' }, 'finish 700'],
    ['version differs in a dot only: criteria are compared exactly', { goal, attempt, version: '2x0.0' }, 'install b'],
    ['the install was cut off', { goal, attempt: { ...attempt, installs: 1 } }, 'install b'],
    ['the install was cut off too often', { goal, attempt: { ...attempt, installs: MAX_INSTALLS } }, 'finish 3210000A'],
    ['installed', { goal, attempt: installed }, 'activate b'],
    ['activated', { goal, attempt: installed, boot: pending }, 'reboot'],
    [
      'reboots do not come about',
      { goal, attempt: { ...installed, reboots: MAX_REBOOTS }, boot: pending },
      'finish 32100012',
    ],
    ['reported', { goal, attempt: { ...attempt, result, reported: true } }, 'wait news'],
    ['same id, new stamp', { goal: retried, attempt: { ...attempt, result, reported: true } }, 'begin'],
    [
      'the stamp taken away',
      { goal, attempt: { ...attempt, workflow: retried.workflow, result, reported: true } },
      'wait news',
    ],
    ['same id, other manifest', { goal: { ...goal, fingerprint: 'F2' }, attempt }, 'begin'],
    ['refused, first seen', { goal: refused }, 'begin'],
    ['refused and reported', { goal: refused, attempt: { ...attempt, result, reported: true } }, 'wait news'],
  ],
  'a trial boot': [
    ['health not known yet', { goal, attempt: installed, boot: inTrial, version: '2.0.0' }, 'wait health'],
    ['good', { goal, attempt: installed, boot: inTrial, version: '2.0.0', health: { state: 'good' } }, 'commit'],
    [
      'bad',
      { attempt: installed, boot: inTrial, version: '2.0.0', health: { state: 'bad', why: 'x' } },
      'fallBack 3210000D',
    ],
    [
      'good, but not what was ordered',
      { attempt: installed, boot: inTrial, version: '9', health: { state: 'good' } },
      'fallBack 32100004',
    ],
    [
      'cut off between cause and fall-back',
      { attempt: { ...installed, cause }, boot: inTrial, version: '2.0.0' },
      'fallBack 3210000D',
    ],
    ['of a slot that no attempt knows', { boot: inTrial, health: { state: 'good' } }, 'commit'],
    [
      'a cancel waits until it is settled',
      { goal: cancel, attempt: installed, boot: inTrial, version: '2.0.0' },
      'wait health',
    ],
    ['committed', { attempt: installed, boot: onB, version: '2.0.0' }, 'finish 700'],
    ['fell back by itself', { attempt: installed, boot: backOnA }, 'finish 3210000C'],
    ['fell back with a cause', { attempt: { ...installed, cause }, boot: backOnA }, 'finish 3210000D'],
    ['fall-back ordered, machine still up', { attempt: { ...installed, cause, reboots: 2 }, boot: stillOnB }, 'reboot'],
    [
      'fall-back ordered, machine never reboots',
      { attempt: { ...installed, cause, reboots: MAX_REBOOTS }, boot: stillOnB },
      'finish 32100012',
    ],
    ['an old failure says nothing of a new attempt', { goal, attempt, boot: backOnA }, 'install b'],
  ],
  'a cancel': [
    ['of nothing', { goal: cancel }, 'begin'],
    ['during the install', { goal: cancel, attempt: { ...attempt, installs: 1 } }, 'abandon'],
    ['before the reboot', { goal: cancel, attempt: installed, boot: pending }, 'abandon'],
    [
      'already obeyed',
      { goal: cancel, attempt: { ...attempt, cancelledBy: 'C', result, reported: true } },
      'wait news',
    ],
    ['after the end', { goal: cancel, attempt: { ...attempt, result, reported: true } }, 'begin'],
    [
      'answered',
      { goal: cancel, attempt: { ...attempt, workflow: cancel.workflow, fingerprint: 'C', result, reported: true } },
      'wait news',
    ],
  ],
}

function inShort(step: ReturnType<typeof nextStep>): string {
  const hex = (code: number | undefined) => (code ?? 0).toString(16).toUpperCase().padStart(8, '0')
  switch (step.do) {
    case 'wait':
      return `wait ${step.for}`
    case 'install':
      return `install ${step.into}`
    case 'activate':
      return `activate ${step.slot}`
    case 'fallBack':
      return `fallBack ${hex(step.cause.extendedResultCode)}`
    case 'finish':
      return `finish ${step.result.resultCode || hex(step.result.extendedResultCodes[0])}`
    default:
      return step.do
  }
}

for (const [subject, rows] of Object.entries(TABLE)) {
  describe(subject, () => {
    for (const [name, seen, expected] of rows) {
      test(`${name}: ${expected}`, () => {
        const usual: Observed = {
          boot: onA,
          attempt: undefined,
          version: '1.0.0',
          goal: undefined,
          health: { state: 'unknown' },
        }
        assert.equal(inShort(nextStep({ ...usual, ...seen })), expected)
      })
    }
  })
}
