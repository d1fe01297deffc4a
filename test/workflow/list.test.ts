import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { type Attempt, JOURNAL_FORMAT } from '../../src/domain/attempt.ts'
import type { Component, Deploy, FileEntity, Named, PlannedStep, Verified } from '../../src/domain/deployment.ts'
import type { StepRecord } from '../../src/domain/step-record.ts'
import { ALL_OPEN } from '../../src/gates/gates.ts'
import type { Action, Observed } from '../../src/workflow/action.ts'
import { nextAction } from '../../src/workflow/next-action.ts'

const file: FileEntity = { fileId: 'f', fileName: 'a', sizeInBytes: 9, sha256: Buffer.alloc(32) }
const verified = file as Verified<FileEntity>
const urls = { f: 'https://content.test/a' }
const left: Component = { id: 'left', name: 'left', properties: {} }

const work = (at: number): PlannedStep => ({
  ...{ path: [at], handler: 'contoso/work:1', urls },
  plan: {
    kind: 'work',
    probe: [],
    payload: [verified],
    work: { is: 'own', handler: 'contoso/work:1', properties: {} },
  },
})
const image = (at: number, installedCriteria = '2.0.0'): PlannedStep => ({
  ...{ path: [at], handler: 'microsoft/swupdate:2', urls },
  plan: { kind: 'image', installedCriteria, bundle: verified },
})

const manifest = { updateId: { provider: 'contoso', name: 'list', version: '5.0.0' } } as Deploy['manifest']
const signed = { manifest: '', signature: '', detached: [] }
const workflow = { action: 3, id: 'W1' }
const deployment = (...plans: readonly PlannedStep[]): Named & Deploy => ({
  ...{ kind: 'deploy', workflow, fingerprint: 'F', manifest, signed },
  plans: plans as unknown as Deploy['plans'],
})
const cancel = { kind: 'cancel', workflow: { action: 255, id: 'nodeployment' }, fingerprint: 'C' } as const
const other = { ...deployment(work(0)), workflow: { action: 3, id: 'W2' }, fingerprint: 'F2' }

const here = { bootId: 'B1', process: 'P1' }
const result = { resultCode: 700, extendedResultCode: 0, resultDetails: '' }
const of = (plan: PlannedStep, change: Partial<StepRecord> = {}): StepRecord => ({
  ...{ path: plan.path, handler: plan.handler, state: 'pending', starts: 0 },
  ...(plan.plan.kind === 'work' ? { work: true } : {}),
  ...change,
})
const ready = { state: 'ready' } as const
const done = { state: 'done', starts: 1, result } as const
const running = { state: 'running', starts: 1, order: { verb: 'install', id: '1' } } as const
const filled = { state: 'done', starts: 1, wants: 'trial' } as const

const attempt = (steps: readonly StepRecord[], more: Partial<Attempt> = {}): Attempt => ({
  ...{ format: JOURNAL_FORMAT, workflow, fingerprint: 'F', installs: 0, reboots: 0, milestones: [], steps },
  ...{ reported: false, origin: 'deviceUpdate', times: { begun: '2026-01-01T00:00:00.000Z' } },
  ...more,
})

const W = [work(0), work(1), work(2)] as const
const M = [work(0), image(1), work(2)] as const
const boot = { booted: 'a', primary: 'a', trial: 'none', tries: 0 } as const
const closed = { open: false, why: 'the owner says no', until: undefined } as const

type Row = readonly [
  string,
  readonly PlannedStep[],
  readonly StepRecord[],
  Partial<Observed>,
  RegExp,
  Partial<Attempt>?,
]

const ROWS: readonly Row[] = [
  ['the first step is prepared first', W, W.map(each => of(each)), {}, /^prepare 0$/],
  ['then the next', W, [of(W[0], ready), of(W[1]), of(W[2])], {}, /^prepare 1$/],
  ['also one behind an image', M, [of(M[0], ready), of(M[1]), of(M[2])], {}, /^prepare 2$/],
  ['then the first step runs', M, [of(M[0], ready), of(M[1]), of(M[2], ready)], {}, /^runStep 0$/],
  ['then the image is installed', M, [of(M[0], done), of(M[1]), of(M[2], ready)], {}, /^install b$/],
  [
    'its slot is activated',
    M,
    [of(M[0], done), of(M[1], filled), of(M[2], ready)],
    {},
    /^activate b$/,
    { installedTo: 'b' },
  ],
  [
    ...(['its trial was good', M, [of(M[0], done), of(M[1], filled), of(M[2], ready)]] as const),
    { boot: { ...boot, booted: 'b', primary: 'b' }, version: '2.0.0' },
    /^settleStep 1 done 700$/,
    { installedTo: 'b', installedCriteria: '2.0.0' },
  ],
  [
    ...(['its trial failed', M, [of(M[0], done), of(M[1], filled), of(M[2], ready)]] as const),
    { boot: { ...boot, trial: 'failed' } },
    /^finish 0 .*fell back/,
    { installedTo: 'b', installedCriteria: '2.0.0' },
  ],
  [
    ...(['the step after it runs', M, [of(M[0], done), of(M[1], { ...filled, result }), of(M[2], ready)]] as const),
    { boot: { ...boot, booted: 'b', primary: 'b' }, version: '2.0.0' },
    /^runStep 2$/,
    { installedTo: 'b', installedCriteria: '2.0.0' },
  ],
  [
    'an image that runs already is skipped',
    M,
    [of(M[0], done), of(M[1]), of(M[2], ready)],
    { version: '2.0.0' },
    /^settleStep 1 skipped 603$/,
  ],
  [
    ...(['also one that a later image has replaced', [image(0), work(1), image(2, '3.0.0')]] as const),
    [of(image(0)), of(work(1)), of(image(2))],
    { version: '3.0.0' },
    /^settleStep 0 skipped 603$/,
  ],
  [
    'an image that is too old ends the list before anything',
    M,
    M.map(each => of(each)),
    { lowest: '6.0.0' },
    /^finish 0 .*older than 6\.0\.0/,
  ],
  ['a step of another list may have any version', W, W.map(each => of(each)), { lowest: '6.0.0' }, /^prepare 0$/],
  ['all is done', W, W.map(each => of(each, done)), {}, /^finish 700 $/],
  ['all was there', W, W.map(each => of(each, { state: 'skipped', result })), {}, /^finish 700 already installed$/],
  [
    'a reboot is owed at the end',
    W,
    [of(W[0], { ...done, ...here, later: 'reboot' }), of(W[1], done), of(W[2], done)],
    { here },
    /^reboot step 0$/,
  ],
  [
    'and has happened',
    W,
    [of(W[0], { ...done, ...here, later: 'reboot' }), of(W[1], done), of(W[2], done)],
    { here: { ...here, bootId: 'B2' } },
    /^finish 700/,
  ],
  [
    'an agent restart is owed',
    W,
    [of(W[0], { ...done, ...here, later: 'agentRestart' }), of(W[1], done), of(W[2], done)],
    { here },
    /^restartAgent 0$/,
  ],
  [
    'a reboot is wanted in the midst of a step',
    W,
    [of(W[0], { ...running, ...here, wants: 'rebootNow' }), of(W[1], ready), of(W[2], ready)],
    { here },
    /^reboot step 0$/,
  ],
  [
    'after it the step goes on',
    W,
    [of(W[0], { ...running, ...here, wants: 'rebootNow' }), of(W[1], ready), of(W[2], ready)],
    { here: { ...here, bootId: 'B2' } },
    /^runStep 0$/,
  ],
  [
    'a reboot that never happens',
    W,
    [of(W[0], { ...running, ...here, wants: 'rebootNow', restarts: 6 }), of(W[1], ready), of(W[2], ready)],
    { here },
    /^finish 0 step 0, .*still runs after 6 orders/,
  ],
  [
    'a step that was begun goes on, though the deployment was cancelled',
    W,
    [of(W[0], running), of(W[1], ready), of(W[2], ready)],
    { deployment: cancel },
    /^runStep 0$/,
  ],
  ['or another came', W, [of(W[0], running), of(W[1], ready), of(W[2], ready)], { deployment: other }, /^runStep 0$/],
  [
    'without its deployment only to find its end',
    W,
    [of(W[0], running), of(W[1], ready), of(W[2], ready)],
    { deployment: other, current: undefined },
    /^runStep 0 withdrawn$/,
  ],
  [
    'but after a start it waits for the twin',
    W,
    [of(W[0], running), of(W[1], ready), of(W[2], ready)],
    { deployment: undefined, current: undefined },
    /^wait deployment$/,
  ],
  [
    'between two steps a cancel ends the list',
    W,
    [of(W[0], done), of(W[1], ready), of(W[2], ready)],
    { deployment: cancel },
    /^abandon$/,
  ],
  [
    'as it does before a reboot that a step wants',
    W,
    [of(W[0], { ...running, ...here, wants: 'rebootNow', result }), of(W[1], ready), of(W[2], ready)],
    { here, deployment: cancel },
    /^abandon$/,
  ],
  [
    'between two steps another deployment begins',
    W,
    [of(W[0], done), of(W[1], ready), of(W[2], ready)],
    { deployment: other },
    /^begin$/,
  ],
  [
    'a list that only owes a reboot is done, if it is cancelled',
    W,
    [of(W[0], { ...done, ...here, later: 'reboot' }), of(W[1], done), of(W[2], done)],
    { here, deployment: cancel },
    /^finish 700 a restart .* cancelled$/,
  ],
  [
    'also if another comes',
    W,
    [of(W[0], { ...done, ...here, later: 'reboot' }), of(W[1], done), of(W[2], done)],
    { here, deployment: other },
    /^finish 700 a restart .* W2 came$/,
  ],
  [
    'a closed gate stops the download',
    W,
    W.map(each => of(each)),
    { gates: { ...ALL_OPEN, download: closed } },
    /^waitForGate download$/,
  ],
  [
    'a closed gate stops the next step',
    W,
    W.map(each => of(each, ready)),
    { gates: { ...ALL_OPEN, install: closed } },
    /^waitForGate install$/,
  ],
  [
    'a closed gate stops a reboot',
    W,
    [of(W[0], { ...done, ...here, later: 'reboot' }), of(W[1], done), of(W[2], done)],
    { here, gates: { ...ALL_OPEN, reboot: closed } },
    /^waitForGate reboot$/,
  ],
  [
    'no gate stops a step that was begun',
    W,
    [of(W[0], running), of(W[1], ready), of(W[2], ready)],
    { gates: { ...ALL_OPEN, install: closed } },
    /^runStep 0$/,
  ],
  [
    'a component that is gone ends the list',
    [{ ...work(0), component: left }],
    [of(work(0), { ...ready, component: 'right' })],
    {},
    /^finish 0 is not a step of this deployment any more/,
  ],
]

const text = (action: Action): string => {
  switch (action.do) {
    case 'runStep':
      return `runStep ${action.at}${action.order ? '' : ' withdrawn'}`
    case 'prepare':
    case 'restartAgent':
      return `${action.do} ${action.at}`
    case 'settleStep':
      return `settleStep ${action.at} ${action.state} ${action.result.resultCode}`
    case 'reboot':
      return `reboot ${action.why}${'at' in action ? ` ${action.at}` : ''}`
    case 'install':
      return `install ${action.into}`
    case 'activate':
      return `activate ${action.slot}`
    case 'finish':
      return `finish ${action.result.resultCode} ${action.result.resultDetails}`
    case 'wait':
      return `wait ${action.for}`
    case 'waitForGate':
      return `waitForGate ${action.gate}`
    default:
      return action.do
  }
}

describe('the next action of a list', () => {
  for (const [name, plans, steps, seen, expected, more] of ROWS) {
    test(name, () => {
      const current = deployment(...plans)
      const observed: Observed = {
        ...{ boot, version: '1.0.0', deployment: current, current, request: undefined, lost: undefined },
        ...{ health: { state: 'unknown' }, milestones: [], gates: ALL_OPEN, consented: false, connected: true },
        ...seen,
        attempt: attempt(steps, more),
      }
      assert.match(text(nextAction(observed)), expected)
    })
  }
})
