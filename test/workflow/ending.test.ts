import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { type Attempt, JOURNAL_FORMAT } from '../../src/domain/attempt.ts'
import type { Deployment, PlannedStep, UpdateManifest, Verified } from '../../src/domain/deployment.ts'
import { AgentError, Fault } from '../../src/domain/errors.ts'
import { ercText } from '../../src/domain/result-codes.ts'
import type { BootState } from '../../src/domain/slot.ts'
import type { Action } from '../../src/workflow/action.ts'
import { conclude, givenUp, isForGood } from '../../src/workflow/ending.ts'

const now = new Date(0)
const workflow = { action: 3, id: 'W1' }
const manifest = {} as UpdateManifest as Verified<UpdateManifest>
const deployment: Deployment = {
  kind: 'deploy',
  workflow,
  fingerprint: 'F1',
  manifest,
  signed: { manifest: '', signature: '', detached: [] },
  plans: [] as never,
}
const update = { url: 'https://content.test/b.swu' }
const once = { kind: 'once', origin: 'firmwareUpdate', workflow, fingerprint: 'M', update } as const
const result = { resultCode: 700, extendedResultCodes: [0], resultDetails: '' }
const attempt: Attempt = {
  ...{ format: JOURNAL_FORMAT, steps: [], workflow, fingerprint: 'F1', installs: 1, reboots: 0, milestones: [] },
  ...{ reported: false, origin: 'deviceUpdate', times: { begun: now.toISOString() } },
}

const order = { step: {} as PlannedStep, signed: { manifest: '', signature: '', detached: [] } }

const ACTIONS: { readonly [Do in Action['do']]: Extract<Action, { readonly do: Do }> } = {
  wait: { do: 'wait', for: 'news' },
  waitForGate: { do: 'waitForGate', gate: 'reboot', why: 'a lock', until: undefined },
  record: { do: 'record', milestones: ['x'] },
  answer: { do: 'answer', request: once, outcome: { is: 'begun' } },
  begin: { do: 'begin', deployment },
  install: { do: 'install', update, into: 'b' },
  tellPhase: { do: 'tellPhase', phase: 'download' },
  prepare: { do: 'prepare', at: 0, ...order },
  runStep: { do: 'runStep', at: 0, order },
  recall: { do: 'recall' },
  settleStep: {
    do: 'settleStep',
    at: 0,
    state: 'done',
    result: { resultCode: 700, extendedResultCode: 0, resultDetails: '' },
  },
  restartAgent: { do: 'restartAgent', at: 0 },
  activate: { do: 'activate', slot: 'b' },
  reboot: { do: 'reboot', why: 'trial' },
  commit: { do: 'commit' },
  fallBack: { do: 'fallBack', cause: { extendedResultCode: 1, details: '' } },
  abandon: { do: 'abandon', cancelledBy: 'C' },
  rollBack: {
    do: 'rollBack',
    request: { kind: 'command', command: 'rollback' },
    rollback: { to: 'a', version: '1', from: '2' },
  },
  endRollback: { do: 'endRollback' },
  finish: { do: 'finish', result },
  report: { do: 'report', result },
}

const disk = new AgentError('JOURNAL', 'disk full')
const wrong = new AgentError('FILE_HASH', 'wrong hash')
const fault = new Fault(new TypeError('x'))
const loop = new AgentError('CRASH_LOOP', 'again and again')

const known = (attempt: Attempt | undefined) => ({ attempt, lost: undefined })

describe('a failure is for good', () => {
  /** After how many ordinary failures, and whether a fault or a crash loop ends it at once. */
  const EXPECTED: Readonly<Record<Action['do'], readonly [number, boolean]>> = {
    ...{ begin: [Infinity, true], install: [1, true], activate: [3, true], report: [Infinity, true] },
    ...{ wait: [Infinity, false], record: [Infinity, false], answer: [Infinity, false], reboot: [Infinity, false] },
    ...{ waitForGate: [Infinity, false], commit: [Infinity, false], fallBack: [Infinity, false] },
    ...{ tellPhase: [Infinity, true], recall: [Infinity, false] },
    ...{ abandon: [Infinity, false], finish: [Infinity, false] },
    ...{ rollBack: [Infinity, false], endRollback: [Infinity, false] },
    ...{ prepare: [1, true], runStep: [3, true], settleStep: [Infinity, false], restartAgent: [Infinity, false] },
  }
  for (const [name, action] of Object.entries(ACTIONS)) {
    const [tries, atOnce] = EXPECTED[action.do]
    test(`of ${name}: after ${tries}`, () => {
      for (const failures of [1, 2, 3, 1000]) assert.equal(isForGood(disk, action, failures), failures >= tries)
      assert.equal(isForGood(fault, action, 1), atOnce)
      assert.equal(isForGood(loop, action, 1), atOnce)
    })
  }
})

describe('given up', () => {
  const codes = (end: Attempt | undefined) => (end?.result?.extendedResultCodes ?? []).map(ercText).join()

  test('an installation fails in the phase of its error, an activation in `apply`', () => {
    for (const [error, phase] of [
      [wrong, 'download'],
      [new AgentError('SWUPDATE_FAILED', 'x'), 'apply'],
    ] as const) {
      const end = givenUp(ACTIONS.install, error, known(attempt), now)
      assert.equal(codes(end), ercText(error.extendedResultCode))
      assert.equal(end?.result?.phase, phase)
      assert.equal(end?.reported, false)
    }
    assert.equal(givenUp(ACTIONS.activate, wrong, known(attempt), now)?.result?.phase, 'apply')
  })

  test('what was noticed on the way is reported behind the code', () => {
    const end = givenUp(ACTIONS.install, wrong, known({ ...attempt, extraCodes: Array(20).fill(7) }), now)
    assert.equal(end?.result?.extendedResultCodes[0], wrong.extendedResultCode)
    assert.equal(end?.result?.extendedResultCodes.length, 9)
  })

  test('a deployment that cannot begin is refused; a request was answered', () => {
    const end = givenUp(ACTIONS.begin, fault, known(undefined), now)
    assert.equal(codes(end), '321000FF')
    assert.equal(end?.workflow.id, 'W1')
    assert.equal(givenUp({ do: 'begin', deployment: once }, fault, known(attempt), now), undefined)
  })

  test('a report counts as made, with the result as it was', () => {
    const end = givenUp(ACTIONS.report, fault, known({ ...attempt, result }), now)
    assert.deepEqual(end, { ...attempt, result, reported: true })
  })

  test('a report that is owed is dropped alone: the attempt goes on', () => {
    const owed = { ...attempt, workflow: { action: 3, id: 'W0' }, result }
    const end = givenUp({ do: 'report', result, owed: true }, fault, known({ ...attempt, owed }), now)
    assert.deepEqual(end, attempt)
  })

  test('nothing ends an attempt that the journal does not have, or an action that has to be done', () => {
    for (const action of [ACTIONS.install, ACTIONS.activate, ACTIONS.report])
      assert.equal(givenUp(action, fault, known(undefined), now), undefined)
    for (const action of [ACTIONS.wait, ACTIONS.commit, ACTIONS.fallBack, ACTIONS.finish, ACTIONS.abandon])
      assert.equal(givenUp(action, fault, known(attempt), now), undefined)
  })
})

describe('an end', () => {
  async function effectsOf(boot: BootState, end: Attempt): Promise<readonly string[]> {
    const effects: string[] = []
    const ports = {
      boot: { commit: async () => void effects.push('commit') },
      journal: { write: async () => void effects.push('write') },
      events: { tell: ({ event }: { event: string }) => void effects.push(event) },
      log: { error: (event: string) => void effects.push(event) },
    }
    await conclude(ports as never, end, boot, new AbortController().signal)
    return effects
  }
  const onA = { booted: 'a', primary: 'a', trial: 'none', tries: 0 } as const

  test('drops a trial that has not started before the journal says so', async () => {
    const armed = { ...onA, primary: 'b', trial: 'pending', tries: 3 } as const
    assert.deepEqual(await effectsOf(armed, { ...attempt, result }), ['commit', 'result', 'write'])
  })

  test('leaves the boot state alone otherwise', async () => {
    assert.deepEqual(await effectsOf(onA, { ...attempt, result }), ['result', 'write'])
    assert.deepEqual(await effectsOf(onA, { ...attempt, result, reported: true }), ['report.given-up', 'write'])
  })
})
