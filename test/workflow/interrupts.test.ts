import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { type Attempt, JOURNAL_FORMAT } from '../../src/domain/attempt.ts'
import type { Deployment, UpdateManifest, Verified } from '../../src/domain/deployment.ts'
import { AgentError } from '../../src/domain/errors.ts'
import type { Action } from '../../src/workflow/action.ts'
import { INTERRUPTS, type News, newsOf } from '../../src/workflow/interrupts.ts'

const NEWS: readonly News[] = ['deployment', 'cancel', 'same', 'request']

/** In the order of `NEWS`. Written out, so that a change of the table is a change of this one too. */
const EXPECTED: Readonly<Record<Action['do'], string>> = {
  wait: 'stops stops stops stops',
  waitForGate: 'stops stops stops stops',
  record: 'waits waits waits waits',
  answer: 'waits waits waits waits',
  begin: 'waits waits waits refused',
  install: 'stops stops waits refused',
  tellPhase: 'waits waits waits refused',
  prepare: 'stops stops waits refused',
  recall: 'stops stops waits refused',
  runStep: 'waits waits waits refused',
  settleStep: 'waits waits waits refused',
  restartAgent: 'waits waits waits refused',
  activate: 'waits waits waits refused',
  reboot: 'waits waits waits refused',
  commit: 'waits waits waits refused',
  fallBack: 'waits waits waits refused',
  rollBack: 'waits waits waits refused',
  endRollback: 'waits waits waits refused',
  abandon: 'waits waits waits refused',
  finish: 'waits waits waits refused',
  report: 'waits waits waits waits',
}

describe('what comes during an action', () => {
  for (const [action, row] of Object.entries(INTERRUPTS)) {
    for (const [at, news] of NEWS.entries()) {
      test(`${action}, and then: ${news}`, () => {
        assert.equal(row[news], EXPECTED[action as Action['do']].split(' ')[at])
      })
    }
    test(`${action} says why`, () => assert.match(row.why, /^\w.{20,}/))
  }
})

const workflow = { action: 3, id: 'W1' }
const plans = [] as never
const manifest = {} as UpdateManifest as Verified<UpdateManifest>
const one: Deployment = {
  kind: 'deploy',
  workflow,
  fingerprint: 'F1',
  manifest,
  signed: { manifest: '', signature: '', detached: [] },
  plans,
}
const retried: Deployment = { ...one, workflow: { ...workflow, retryTimestamp: 'now' } }
const other: Deployment = { ...one, workflow: { action: 3, id: 'W2' } }
const cancel: Deployment = { kind: 'cancel', workflow: { action: 255, id: 'nodeployment' }, fingerprint: 'C' }
const error = new AgentError('MANIFEST_BAD', 'bad')
const refused: Deployment = { kind: 'refuse', workflow: { action: 3, id: 'W2' }, fingerprint: 'F2', error }

const attempt: Attempt = {
  ...{
    format: JOURNAL_FORMAT,
    steps: [],
    workflow,
    fingerprint: 'F1',
    installs: 1,
    reboots: 0,
    milestones: [],
    reported: false,
  },
  ...{ origin: 'deviceUpdate', times: { begun: '2026-01-01T00:00:00.000Z' } },
}
const own = { url: 'https://content.test/b.swu' }
const asked: Attempt = { ...attempt, workflow: { action: 3, id: 'M1' }, fingerprint: 'M', own }
const answered = { workflow, fingerprint: 'F1' }

describe('what the twin asks for is, to an action', () => {
  const rows: readonly (readonly [string, Deployment | undefined, Parameters<typeof newsOf>[1], News])[] = [
    ['nothing new, of an empty twin', undefined, { deployment: undefined, attempt: undefined }, 'same'],
    ['the first deployment', one, { deployment: undefined, attempt: undefined }, 'deployment'],
    ['the same one again', one, { deployment: one, attempt }, 'same'],
    ['the same one with another stamp', retried, { deployment: one, attempt }, 'deployment'],
    ['the same id with another manifest', { ...one, fingerprint: 'F3' }, { deployment: one, attempt }, 'deployment'],
    ['another one', other, { deployment: one, attempt }, 'deployment'],
    ['another one that is refused', refused, { deployment: one, attempt }, 'deployment'],
    ['a cancel', cancel, { deployment: one, attempt }, 'cancel'],
    ['a deployment after a cancel', one, { deployment: cancel, attempt }, 'deployment'],
    ['a new deployment, in an update asked for once', one, { deployment: undefined, attempt: asked }, 'deployment'],
    ['the one done before', one, { deployment: one, attempt: { ...asked, answered } }, 'same'],
    ['a new one, too late', one, { deployment: undefined, attempt: { ...asked, installedTo: 'b' } }, 'same'],
    ['a cancel, in an update asked for once', cancel, { deployment: undefined, attempt: asked }, 'same'],
    ['a refusal, in an update asked for once', refused, { deployment: undefined, attempt: asked }, 'same'],
  ]
  for (const [name, deployment, known, expected] of rows) {
    test(`${name}: ${expected}`, () => assert.equal(newsOf(deployment, known), expected))
  }
})
