import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import type { Attempt, FirmwareOrder, Order, SystemUpdate, Verified } from '../../src/domain/deployment.ts'
import { AgentError } from '../../src/domain/errors.ts'
import type { BootState } from '../../src/domain/slot.ts'
import { inTheWay, MAX_INSTALLS, MAX_REBOOTS, nextStep, type Observed } from '../../src/workflow/next-step.ts'

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
const recovered: BootState = { ...onA, trial: 'pending', tries: 3 }
const inTrial: BootState = { ...pending, booted: 'b', tries: 2 }
const onB: BootState = { ...onA, booted: 'b', primary: 'b' }
const backOnA: BootState = { ...onA, trial: 'failed' }
const stillOnB: BootState = { ...backOnA, booted: 'b' }
const installed: Attempt = { ...attempt, installs: 1, installedTo: 'b' }

const restart = { kind: 'restart' } as const
const update3 = { url: 'https://content.test/b.swu' }
const request: FirmwareOrder = {
  kind: 'firmware',
  workflow: { action: 3, id: 'M1' },
  fingerprint: 'M',
  update: update3,
}
const asked: Attempt = {
  ...{ workflow: request.workflow, fingerprint: 'M', installs: 0, reboots: 0, milestones: [], reported: false },
  firmware: { update: update3, startedWaitingTime: '2026-01-01T00:00:00.000Z' },
}
const onItsWay: Attempt = { ...asked, installs: 1, installedTo: 'b' }
const answered = { workflow, fingerprint: 'F1' }
const done: Attempt = { ...attempt, result, reported: true }
const versioned = {
  installedCriteria: '3.0.0',
  firmware: { update: { ...update3, version: '3.0.0' }, startedWaitingTime: '2026-01-01T00:00:00.000Z' },
}

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
    ['first seen', { goal }, 'begin W1'],
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
    ['begun, and refused since: its key was withdrawn', { goal: refused, attempt }, 'finish 80300009'],
    ['installed, and refused since', { goal: refused, attempt: installed, boot: pending }, 'finish 80300009'],
    [
      'installed and committed, and refused since',
      { goal: refused, attempt: installed, boot: onB, version: '2.0.0' },
      'finish 700',
    ],
    ['older than allowed', { goal, attempt, lowest: '2.0.0.1' }, 'finish 32100015'],
    ['as old as allowed', { goal, attempt, lowest: '2.0' }, 'install b'],
    ['older than allowed, but installed already', { goal, attempt, lowest: '3.0', version: '2.0.0' }, 'finish 700'],
    ['older than allowed, but on its way', { goal, attempt: installed, lowest: '3.0' }, 'activate b'],
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
      'boot state lost after a failed update',
      { goal, attempt: { ...installed, cause, result }, boot: recovered, health: { state: 'good' } },
      'commit',
    ],
    [
      'boot state lost on the way back from a trial',
      { goal, attempt: { ...installed, cause }, boot: recovered, health: { state: 'good' } },
      'commit',
    ],
    ['boot state lost, health not known yet', { goal, boot: recovered }, 'wait health'],
    [
      'boot state lost, and the system is bad',
      { boot: recovered, health: { state: 'bad', why: 'x' } },
      'fallBack 3210000D',
    ],
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

const M = 'a firmware update of the method'
Object.assign(TABLE, {
  [M]: [
    ['asked for', { request }, 'begin'],
    ['asked for, the twin has nothing new', { request, goal, attempt: done }, 'begin'],
    ['asked for, but the last result is still unreported', { request, attempt: { ...attempt, result } }, 'report'],
    ['asked for, and a deployment came in', { request, goal }, 'begin W1'],
    ['begun', { attempt: asked }, 'install b'],
    ['begun, and installed already', { attempt: { ...asked, ...versioned }, version: '3.0.0' }, 'finish 700'],
    ['begun, the twin shows what was done before', { goal, attempt: { ...asked, answered } }, 'install b'],
    ['begun, and a deployment comes', { goal, attempt: asked }, 'finish 32100014'],
    ['begun, and the deployment is tried again', { goal: retried, attempt: { ...asked, answered } }, 'finish 32100014'],
    ['begun, and a cancel comes', { goal: cancel, attempt: asked }, 'install b'],
    ['begun, and a refused order comes', { goal: refused, attempt: asked }, 'install b'],
    ['the install was cut off too often', { attempt: { ...asked, installs: MAX_INSTALLS } }, 'finish 3210000A'],
    ['installed', { attempt: onItsWay }, 'activate b'],
    ['installed, and a deployment comes too late', { goal, attempt: onItsWay }, 'activate b'],
    ['activated', { attempt: onItsWay, boot: pending }, 'reboot'],
    ['on trial', { attempt: onItsWay, boot: inTrial, version: '9' }, 'wait health'],
    ['on trial and well', { attempt: onItsWay, boot: inTrial, version: '9', health: { state: 'good' } }, 'commit'],
    ['on trial, not the version named', { attempt: { ...onItsWay, ...versioned }, boot: inTrial }, 'fallBack 32100004'],
    ['committed, of whatever version', { attempt: onItsWay, boot: onB, version: '9' }, 'finish 700'],
    [
      'committed, of the version named',
      { attempt: { ...onItsWay, ...versioned }, boot: onB, version: '3.0.0' },
      'finish 700',
    ],
    ['fell back', { attempt: onItsWay, boot: backOnA }, 'finish 3210000C'],
    ['ended, not reported', { goal, attempt: { ...asked, result } }, 'report'],
    [
      'reported: the old deployment stays done',
      { goal, attempt: { ...asked, answered, result, reported: true } },
      'wait news',
    ],
    ['reported: a deployment that waited', { goal, attempt: { ...asked, result, reported: true } }, 'begin W1'],
    [
      'reported: a cancel that waited',
      { goal: cancel, attempt: { ...asked, answered, result, reported: true } },
      'begin',
    ],
  ],
  'a reboot by the method': [
    ['with nothing else to do', { request: restart }, 'restart'],
    ['after a deployment', { request: restart, goal, attempt: done }, 'restart'],
    ['and a new deployment', { request: restart, goal }, 'begin W1'],
    ['and a result to report', { request: restart, attempt: { ...attempt, result } }, 'report'],
  ],
} satisfies typeof TABLE)

function inShort(step: ReturnType<typeof nextStep>): string {
  const hex = (code: number | undefined) => (code ?? 0).toString(16).toUpperCase().padStart(8, '0')
  switch (step.do) {
    case 'wait':
      return `wait ${step.for}`
    case 'begin':
      return step.goal === goal ? 'begin W1' : 'begin'
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
          request: undefined,
          health: { state: 'unknown' },
        }
        assert.equal(inShort(nextStep({ ...usual, ...seen })), expected)
      })
    }
  })
}

describe('a method call', () => {
  const rows: readonly (readonly [string, Partial<Observed>, RegExp | undefined])[] = [
    ['with nothing else', {}, undefined],
    ['after a deployment was reported', { goal, attempt: done }, undefined],
    ['while its report is under way', { goal, attempt: { ...attempt, result } }, undefined],
    ['when the order of an attempt is gone from the twin', { attempt }, undefined],
    ['during a firmware update', { attempt: asked }, /another firmware update is running/],
    ['during a deployment', { goal, attempt }, /deployment W1 is running/],
    ['before a deployment', { goal, attempt: { ...asked, result, reported: true } }, /W1 is about to start/],
    ['before a trial', { attempt: { ...installed, result }, boot: pending }, /on trial/],
    ['in a trial', { boot: inTrial }, /on trial/],
    ['after a fall-back', { goal, attempt: done, boot: backOnA }, undefined],
  ]
  for (const [name, seen, expected] of rows) {
    test(`${name}: ${expected ?? 'is taken'}`, () => {
      const health = { state: 'unknown' } as const
      const why = inTheWay({ boot: onA, attempt: undefined, version: '1.0.0', goal: undefined, health, ...seen })
      if (expected) assert.match(why ?? '', expected)
      else assert.equal(why, undefined)
    })
  }
})
