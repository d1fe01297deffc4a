import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { type Attempt, JOURNAL_FORMAT } from '../../src/domain/attempt.ts'
import type { Deployment, FileEntity, OnceDeployment, UpdateManifest, Verified } from '../../src/domain/deployment.ts'
import { AgentError } from '../../src/domain/errors.ts'
import type { BootState } from '../../src/domain/slot.ts'
import { ALL_OPEN } from '../../src/gates/gates.ts'
import type { Action, Observed } from '../../src/workflow/action.ts'
import { MAX_INSTALLS, MAX_REBOOTS } from '../../src/workflow/image.ts'
import { inTheWay, nextAction } from '../../src/workflow/next-action.ts'

const bundle: FileEntity = { fileId: 'f1', fileName: 'a.swu', sizeInBytes: 9, sha256: Buffer.alloc(32) }
const manifest: UpdateManifest = {
  manifestVersion: '5',
  updateId: { provider: 'contoso', name: 'toaster', version: '2.0.0' },
  compatibility: [],
  steps: [],
}
const step = {
  path: [0],
  handler: 'microsoft/swupdate:2',
  plan: { kind: 'image', installedCriteria: '2.0.0', bundle: bundle as Verified<FileEntity> },
  urls: { f1: 'https://content.test/a.swu' },
} as const
const deploy = {
  kind: 'deploy',
  manifest: manifest as Verified<UpdateManifest>,
  signed: { manifest: '', signature: '', detached: [] },
  plans: [step],
} as const
const workflow = { action: 3, id: 'W1' }
const deployment: Deployment = { ...deploy, workflow, fingerprint: 'F1' }
const retried: Deployment = { ...deployment, workflow: { ...workflow, retryTimestamp: '2026-01-01T00:00:00Z' } }
const cancel: Deployment = { kind: 'cancel', workflow: { action: 255, id: 'nodeployment' }, fingerprint: 'C' }
const refused: Deployment = {
  kind: 'refuse',
  workflow,
  fingerprint: 'F1',
  error: new AgentError('MANIFEST_BAD', 'bad'),
}

const times = { begun: '2026-01-01T00:00:00.000Z' }
const attempt: Attempt = {
  format: JOURNAL_FORMAT,
  workflow,
  fingerprint: 'F1',
  installedCriteria: '2.0.0',
  installs: 0,
  reboots: 0,
  milestones: [],
  steps: [],
  reported: false,
  origin: 'deviceUpdate',
  times,
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

const reboot = { kind: 'reboot', origin: 'firmwareUpdate' } as const
const update3 = { url: 'https://content.test/b.swu' }
const request: OnceDeployment = {
  kind: 'once',
  origin: 'firmwareUpdate',
  workflow: { action: 3, id: 'M1' },
  fingerprint: 'M',
  update: update3,
}
const asked: Attempt = {
  ...{ format: JOURNAL_FORMAT, steps: [] },
  ...{ workflow: request.workflow, fingerprint: 'M', installs: 0, reboots: 0, milestones: [], reported: false },
  ...{ origin: 'firmwareUpdate', times, own: update3 },
}
const onItsWay: Attempt = { ...asked, installs: 1, installedTo: 'b' }
const answered = { workflow, fingerprint: 'F1' }
const done: Attempt = { ...attempt, result, reported: true }
const versioned = {
  installedCriteria: '3.0.0',
  own: { ...update3, version: '3.0.0' },
}

type Row = readonly [string, Partial<Observed>, string | RegExp]

/** What is seen → what is done. What a row leaves out: slot a, committed, version 1.0.0, health unknown, nothing else. */
const TABLE: Readonly<Record<string, readonly Row[]>> = {
  'nothing asked for': [
    ['no twin read yet', {}, 'wait deployment'],
    ['an attempt done and reported', { attempt: { ...attempt, result, reported: true } }, 'wait deployment'],
    ['a result that the hub has not', { attempt: { ...attempt, result } }, 'report'],
    ['a result, and no hub', { attempt: { ...attempt, result }, connected: false }, 'wait hub'],
    ['no hub, and nothing to report', { connected: false }, 'wait deployment'],
    [
      'an attempt cut off in the install: only its order can go on',
      { attempt: { ...attempt, installs: 1 } },
      'wait deployment',
    ],
  ],
  'a deployment': [
    ['first seen', { deployment }, 'begin W1'],
    ['begun', { deployment, attempt }, 'install b'],
    ['begun on slot b', { deployment, attempt, boot: onB }, 'install a'],
    ['begun, and installed already', { deployment, attempt, version: '2.0.0' }, 'finish 700'],
    [
      'version differs in a dot only: criteria are compared exactly',
      { deployment, attempt, version: '2x0.0' },
      'install b',
    ],
    ['the install was cut off', { deployment, attempt: { ...attempt, installs: 1 } }, 'install b'],
    [
      'the install was cut off too often',
      { deployment, attempt: { ...attempt, installs: MAX_INSTALLS } },
      'finish 3210000A',
    ],
    ['installed', { deployment, attempt: installed }, 'activate b'],
    ['activated', { deployment, attempt: installed, boot: pending }, 'reboot trial'],
    [
      'reboots do not come about',
      { deployment, attempt: { ...installed, reboots: MAX_REBOOTS }, boot: pending },
      'finish 32100012',
    ],
    ['reported', { deployment, attempt: { ...attempt, result, reported: true } }, 'wait news'],
    ['same id, new stamp', { deployment: retried, attempt: { ...attempt, result, reported: true } }, 'begin'],
    [
      'the stamp taken away',
      { deployment, attempt: { ...attempt, workflow: retried.workflow, result, reported: true } },
      'wait news',
    ],
    ['same id, other manifest', { deployment: { ...deployment, fingerprint: 'F2' }, attempt }, 'begin'],
    ['refused, first seen', { deployment: refused }, 'begin'],
    ['begun, and refused since: its key was withdrawn', { deployment: refused, attempt }, 'finish 80300009'],
    ['installed, and refused since', { deployment: refused, attempt: installed, boot: pending }, 'finish 80300009'],
    [
      'installed and committed, and refused since',
      { deployment: refused, attempt: installed, boot: onB, version: '2.0.0' },
      'finish 700',
    ],
    ['older than allowed', { deployment, attempt, lowest: '2.0.0.1' }, 'finish 32100015'],
    ['as old as allowed', { deployment, attempt, lowest: '2.0' }, 'install b'],
    [
      'older than allowed, but installed already',
      { deployment, attempt, lowest: '3.0', version: '2.0.0' },
      'finish 32100015',
    ],
    ['older than allowed, but on its way', { deployment, attempt: installed, lowest: '3.0' }, 'activate b'],
    ['refused and reported', { deployment: refused, attempt: { ...attempt, result, reported: true } }, 'wait news'],
  ],
  'a trial boot': [
    ['health not known yet', { deployment, attempt: installed, boot: inTrial, version: '2.0.0' }, 'wait health'],
    [
      'a milestone is recorded before the host is asked',
      { deployment, attempt: installed, boot: inTrial, version: '2.0.0', milestones: ['agent started'] },
      'record agent started',
    ],
    [
      'a milestone is recorded even if the system is not what was ordered',
      { attempt: installed, boot: inTrial, version: '9', milestones: ['agent started'] },
      'record agent started',
    ],
    [
      'bad: there is no time for more milestones',
      { attempt: installed, boot: inTrial, version: '2.0.0', health: { state: 'bad', why: 'x' }, milestones: ['x'] },
      'fallBack 3210000D',
    ],
    ['milestones matter in a trial only', { attempt: installed, boot: backOnA, milestones: ['x'] }, 'finish 3210000C'],
    ['good', { deployment, attempt: installed, boot: inTrial, version: '2.0.0', health: { state: 'good' } }, 'commit'],
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
      { deployment, attempt: { ...installed, cause, result }, boot: recovered, health: { state: 'good' } },
      'commit',
    ],
    [
      'boot state lost on the way back from a trial',
      { deployment, attempt: { ...installed, cause }, boot: recovered, health: { state: 'good' } },
      'commit',
    ],
    ['boot state lost, health not known yet', { deployment, boot: recovered }, 'wait health'],
    [
      'boot state lost, and the system is bad',
      { boot: recovered, health: { state: 'bad', why: 'x' } },
      'fallBack 3210000D',
    ],
    [
      'a cancel waits until it is settled',
      { deployment: cancel, attempt: installed, boot: inTrial, version: '2.0.0' },
      'wait health',
    ],
    ['committed', { attempt: installed, boot: onB, version: '2.0.0' }, 'finish 700'],
    ['fell back by itself', { attempt: installed, boot: backOnA }, 'finish 3210000C'],
    ['fell back with a cause', { attempt: { ...installed, cause }, boot: backOnA }, 'finish 3210000D'],
    [
      'fall-back ordered, machine still up',
      { attempt: { ...installed, cause, reboots: 2 }, boot: stillOnB },
      'reboot fallBack',
    ],
    [
      'fall-back ordered, machine never reboots',
      { attempt: { ...installed, cause, reboots: MAX_REBOOTS }, boot: stillOnB },
      'finish 32100012',
    ],
    ['an old failure says nothing of a new attempt', { deployment, attempt, boot: backOnA }, 'install b'],
  ],
  'a cancel': [
    ['of nothing', { deployment: cancel }, 'begin'],
    ['during the install', { deployment: cancel, attempt: { ...attempt, installs: 1 } }, 'abandon'],
    ['before the reboot', { deployment: cancel, attempt: installed, boot: pending }, 'abandon'],
    [
      'already obeyed',
      { deployment: cancel, attempt: { ...attempt, cancelledBy: 'C', result, reported: true } },
      'wait news',
    ],
    ['after the end', { deployment: cancel, attempt: { ...attempt, result, reported: true } }, 'begin'],
    [
      'answered',
      {
        deployment: cancel,
        attempt: { ...attempt, workflow: cancel.workflow, fingerprint: 'C', result, reported: true },
      },
      'wait news',
    ],
  ],
}

const M = 'a firmware update of the method'
Object.assign(TABLE, {
  [M]: [
    ['asked for', { request }, 'begin'],
    ['asked for, the twin has nothing new', { request, deployment, attempt: done }, 'begin'],
    ['asked for, but the last result is still unreported', { request, attempt: { ...attempt, result } }, 'report'],
    ['asked for, and a deployment came in, which begins next', { request, deployment }, 'answer refused'],
    ['asked for again while it runs', { request, attempt: asked }, 'answer refused'],
    ['asked for in a trial', { request, boot: inTrial, milestones: ['agent started'] }, 'answer refused'],
    ['begun', { attempt: asked }, 'install b'],
    ['begun, and installed already', { attempt: { ...asked, ...versioned }, version: '3.0.0' }, 'finish 700'],
    ['begun, the twin shows what was done before', { deployment, attempt: { ...asked, answered } }, 'install b'],
    ['begun, and a deployment comes', { deployment, attempt: asked }, 'finish 32100014'],
    [
      'begun, and the deployment is tried again',
      { deployment: retried, attempt: { ...asked, answered } },
      'finish 32100014',
    ],
    ['begun, and a cancel comes', { deployment: cancel, attempt: asked }, 'install b'],
    ['begun, and a refused order comes', { deployment: refused, attempt: asked }, 'install b'],
    ['the install was cut off too often', { attempt: { ...asked, installs: MAX_INSTALLS } }, 'finish 3210000A'],
    ['installed', { attempt: onItsWay }, 'activate b'],
    ['installed, and a deployment comes too late', { deployment, attempt: onItsWay }, 'activate b'],
    ['activated', { attempt: onItsWay, boot: pending }, 'reboot trial'],
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
    ['ended, not reported', { deployment, attempt: { ...asked, result } }, 'report'],
    [
      'reported: the old deployment stays done',
      { deployment, attempt: { ...asked, answered, result, reported: true } },
      'wait news',
    ],
    ['reported: a deployment that waited', { deployment, attempt: { ...asked, result, reported: true } }, 'begin W1'],
    [
      'reported: a cancel that waited',
      { deployment: cancel, attempt: { ...asked, answered, result, reported: true } },
      'begin',
    ],
  ],
  'a reboot by the method': [
    ['with nothing else to do', { request: reboot }, 'reboot asked'],
    ['after a deployment', { request: reboot, deployment, attempt: done }, 'reboot asked'],
    ['and a new deployment, which begins next', { request: reboot, deployment }, 'answer refused'],
    ['and a result to report', { request: reboot, attempt: { ...attempt, result } }, 'report'],
  ],
} satisfies typeof TABLE)

function inShort(action: Action): string {
  const hex = (code: number | undefined) => (code ?? 0).toString(16).toUpperCase().padStart(8, '0')
  switch (action.do) {
    case 'wait':
      return `wait ${action.for}`
    case 'reboot':
      return `reboot ${action.why}`
    case 'record':
      return `record ${action.milestones.join()}`
    case 'answer':
      return `answer ${action.outcome.is}`
    case 'begin':
      return action.deployment === deployment ? 'begin W1' : 'begin'
    case 'install':
      return `install ${action.into}`
    case 'activate':
      return `activate ${action.slot}`
    case 'fallBack':
      return `fallBack ${hex(action.cause.extendedResultCode)}`
    case 'finish':
      return `finish ${action.result.resultCode || hex(action.result.extendedResultCodes[0])}`
    default:
      return action.do
  }
}

/** What a row leaves out. */
const usual: Observed = {
  boot: onA,
  attempt: undefined,
  lost: undefined,
  version: '1.0.0',
  deployment: undefined,
  request: undefined,
  ...{ health: { state: 'unknown' }, milestones: [], connected: true, gates: ALL_OPEN, consented: false },
}

for (const [subject, rows] of Object.entries(TABLE)) {
  describe(subject, () => {
    for (const [name, seen, expected] of rows) {
      test(`${name}: ${expected}`, () => {
        assert.equal(inShort(nextAction({ ...usual, ...seen })), expected)
      })
    }
  })
}

describe('a method call', () => {
  const order = { verb: 'install', id: '1' } as const
  const begun = { path: [0], handler: 'contoso/work:1', work: true, state: 'running', starts: 1, order } as const
  const stepping: Attempt = { ...attempt, steps: [begun] }
  const unapplied: Attempt = { ...attempt, steps: [{ ...begun, unapplied: true }] }
  const rows: readonly (readonly [string, Partial<Observed>, RegExp | undefined])[] = [
    ['with nothing else', {}, undefined],
    ['after a deployment was reported', { deployment, attempt: done }, undefined],
    ['while its report is under way', { deployment, attempt: { ...attempt, result } }, undefined],
    ['when the order of an attempt is gone from the twin', { attempt }, undefined],
    ['when it is gone, and a step comes to its end', { attempt: stepping }, /deployment W1 is running/],
    ['when it is gone, and a step was not applied', { attempt: unapplied }, undefined],
    ['during a firmware update', { attempt: asked }, /another firmware update is running/],
    ['during a deployment', { deployment, attempt }, /deployment W1 is running/],
    ['before a deployment', { deployment, attempt: { ...asked, result, reported: true } }, /W1 is about to start/],
    ['before a trial', { attempt: { ...installed, result }, boot: pending }, /on trial/],
    ['in a trial', { boot: inTrial }, /on trial/],
    ['while a deployment is being cancelled', { deployment: cancel, attempt }, /deployment W1 is running/],
    ['after a fall-back', { deployment, attempt: done, boot: backOnA }, undefined],
  ]
  for (const [name, seen, expected] of rows) {
    test(`${name}: ${expected ?? 'is taken'}`, () => {
      const why = inTheWay({ boot: onA, attempt: undefined, deployment: undefined, ...seen })
      if (expected) assert.match(why ?? '', expected)
      else assert.equal(why, undefined)
    })
  }
})

test('a method call is answered at once while a step comes to its end, and the twin is empty', () => {
  const steps: Attempt['steps'] = [
    {
      path: [0],
      handler: 'contoso/work:1',
      work: true,
      state: 'running',
      starts: 1,
      order: { verb: 'apply', id: '1' },
    },
  ]
  assert.equal(inShort(nextAction({ ...usual, attempt: { ...attempt, steps }, request: reboot })), 'answer refused')
})

describe('which origin takes precedence', () => {
  const RUNNING: Readonly<Record<string, Partial<Observed>>> = {
    nothing: {},
    'a deployment': { deployment, attempt },
    'a deployment, installed': { deployment, attempt: installed },
    'an update asked for once': { attempt: asked },
    'an update asked for once, installed': { attempt: onItsWay },
  }
  const other: Deployment = { ...deployment, workflow: { action: 3, id: 'W2' }, fingerprint: 'F2' }
  const again: OnceDeployment = { ...request, workflow: { action: 3, id: 'M2' }, fingerprint: 'M2' }
  const COMING: Readonly<Record<string, Partial<Observed>>> = {
    'another deployment': { deployment: other },
    'a cancel': { deployment: cancel },
    'a refused deployment': { deployment: { ...refused, workflow: { action: 3, id: 'W2' }, fingerprint: 'F2' } },
    'a request for an update': { request: again },
    'a request for a reboot': { request: reboot },
  }
  // Running: nothing, a deployment, the same installed, an update asked for once, the same installed.
  const EXPECTED: Readonly<Record<string, readonly string[]>> = {
    'another deployment': ['begin', 'begin', 'begin', 'finish 32100014', 'activate b'],
    'a cancel': ['begin', 'abandon', 'abandon', 'install b', 'activate b'],
    'a refused deployment': ['begin', 'begin', 'begin', 'install b', 'activate b'],
    'a request for an update': ['begin', 'answer refused', 'answer refused', 'answer refused', 'answer refused'],
    'a request for a reboot': ['reboot asked', 'answer refused', 'answer refused', 'answer refused', 'answer refused'],
  }
  for (const [coming, expected] of Object.entries(EXPECTED)) {
    for (const [at, [running, seen]] of Object.entries(RUNNING).entries()) {
      test(`${running} runs, and then ${coming}: ${expected[at]}`, () => {
        assert.equal(inShort(nextAction({ ...usual, ...seen, ...COMING[coming] })), expected[at])
      })
    }
  }
})

test('an installation that gates pause again and again ends with a result', () => {
  const paused = (pauses: number) =>
    nextAction({ ...usual, deployment, attempt: { ...attempt, pauses }, version: '1.0.0' })
  assert.equal(paused(99).do, 'install')
  assert.equal(inShort(paused(100)), 'finish 3210000A')
})
