import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { FileJournal } from '../../src/adapters/files/journal.ts'
import { type Attempt, afterGap, JOURNAL_FORMAT, type Owed } from '../../src/domain/attempt.ts'
import type { CommandName } from '../../src/domain/command.ts'
import type { Deployment, FileEntity, Request, UpdateManifest, Verified } from '../../src/domain/deployment.ts'
import { AgentError } from '../../src/domain/errors.ts'
import { ercText } from '../../src/domain/result-codes.ts'
import type { BootState } from '../../src/domain/slot.ts'
import type { StepRecord } from '../../src/domain/step-record.ts'
import { ALL_OPEN } from '../../src/gates/gates.ts'
import { CommandSide } from '../../src/sources/command-side.ts'
import type { Outcome } from '../../src/sources/once-source.ts'
import type { Observed } from '../../src/workflow/action.ts'
import { objection } from '../../src/workflow/commands.ts'
import { nextAction } from '../../src/workflow/next-action.ts'
import { forImage } from '../../src/workflow/perform/install.ts'
import { ended as endedWith } from '../../src/workflow/results.ts'
import { rollbackEnded } from '../../src/workflow/rollback.ts'
import { type Disturbance, FakeDevice, type System } from './fake-device.ts'
import { MemoryDisk } from './memory-disk.ts'
import { VirtualClock } from './virtual-clock.ts'

const bundle = { fileId: 'f1', fileName: 'a.swu', sizeInBytes: 9, sha256: Buffer.alloc(32) } as Verified<FileEntity>
const updateId = { provider: 'contoso', name: 'toaster', version: '2.0.0' }
const manifest = { manifestVersion: '5', updateId, compatibility: [], steps: [] } as UpdateManifest
const plan = { kind: 'image', installedCriteria: '2.0.0', bundle } as const
const deployment: Deployment = {
  kind: 'deploy',
  workflow: { action: 3, id: 'W1' },
  fingerprint: 'F1',
  manifest: manifest as Verified<UpdateManifest>,
  signed: { manifest: '', signature: '', detached: [] },
  plans: [{ path: [0], handler: 'microsoft/swupdate:2', plan, urls: { f1: 'https://content.test/a.swu' } }],
}
const other: Deployment = { ...deployment, workflow: { action: 3, id: 'W2' }, fingerprint: 'F2' }
const error = new AgentError('MANIFEST_BAD', 'no such handler')
const refused: Deployment = { kind: 'refuse', workflow: deployment.workflow, fingerprint: 'F1', error }
const cancel: Deployment = { kind: 'cancel', workflow: { action: 255, id: 'nodeployment' }, fingerprint: 'C' }

const running: Attempt = {
  ...{ format: JOURNAL_FORMAT, workflow: deployment.workflow, fingerprint: 'F1', installedCriteria: '2.0.0' },
  ...{ installs: 1, reboots: 0, milestones: [], steps: [], reported: false, origin: 'deviceUpdate' },
  ...{ times: { begun: '2026-01-01T00:00:00.000Z' }, spare: { slot: 'a', version: '1.0.0' } },
}
const installed: Attempt = { ...running, installedTo: 'b' }
const result = { resultCode: 700, extendedResultCodes: [0], resultDetails: '' }
const done: Attempt = { ...installed, result, reported: true }
const failed: Attempt = { ...running, result: { ...result, resultCode: 0 }, reported: true }
const owed: Owed = { ...running, workflow: { action: 3, id: 'W0' }, result: { ...result, resultCode: 0 } }
const rollback = { to: 'a', version: '1.0.0', from: '2.0.0' } as const

const onA: BootState = { booted: 'a', primary: 'a', trial: 'none', tries: 0 }
const onB: BootState = { ...onA, booted: 'b', primary: 'b' }
const armed: BootState = { ...onA, primary: 'b', trial: 'pending', tries: 3 }
const trial: BootState = { ...armed, booted: 'b', tries: 2 }
const back: BootState = { ...armed, booted: 'b', primary: 'a' }
const trialOfA: BootState = { ...back, booted: 'a', tries: 2 }

const usual: Observed = {
  ...{ boot: onA, attempt: undefined, lost: undefined, version: '1.0.0', deployment: undefined, request: undefined },
  ...{ health: { state: 'unknown' }, milestones: [], gates: ALL_OPEN, consented: false, connected: true },
}
const inTrial: Partial<Observed> = { boot: trial, attempt: installed, version: '2.0.0' }
const updated: Partial<Observed> = { boot: onB, attempt: done, version: '2.0.0', deployment }
const atWork: StepRecord = { path: [0], handler: 'contoso/work:1', work: true, state: 'running', starts: 1 }
const ended: StepRecord = {
  ...{ path: [0], handler: 'contoso/work:1', work: true, state: 'done', starts: 1 },
  result: { resultCode: 700, extendedResultCode: 0, resultDetails: '' },
}

function inShort(seen: Partial<Observed>): string {
  const action = nextAction({ ...usual, ...seen })
  if (action.do === 'answer') return 'why' in action.outcome ? action.outcome.why : action.outcome.is
  if (action.do === 'rollBack')
    return `rollBack ${action.rollback.from} to ${action.rollback.to} ${action.rollback.version}`
  if (action.do === 'reboot') return `reboot ${action.why}`
  if (action.do === 'activate') return `activate ${action.slot}`
  if (action.do === 'fallBack') return `fallBack ${ercText(action.cause.extendedResultCode)}`
  if (action.do === 'endRollback') return `endRollback${action.failure === undefined ? '' : `: ${action.failure}`}`
  return action.do
}

type Row = readonly [string, Partial<Observed>, string]
const ON_TRIAL = 'a new system is on trial: wait until it is settled, or commit it'
const UNKNOWN = (slot: string, why = '') =>
  `slot ${slot} is not known to hold a whole system that was committed on this device${why}`

/** What is seen → what is done, or the answer. */
const TABLE: Readonly<Record<CommandName, readonly Row[]>> = {
  cancel: [
    ['nothing runs', {}, 'no deployment is running'],
    ['the last one has ended', { attempt: done }, 'no deployment is running'],
    ['an installation', { attempt: running, deployment }, 'abandon'],
    ['without a connection, after a restart', { attempt: running, connected: false }, 'abandon'],
    [
      'a local installation, while the result before it is owed',
      { attempt: { ...running, own: { url: 'file:///a.swu', local: true }, owed } },
      'abandon',
    ],
    ['it waits for the reboot gate', { attempt: installed, deployment }, 'abandon'],
    ['the new system starts next', { attempt: installed, deployment, boot: armed }, 'abandon'],
    ['the new system is on trial', { ...inTrial, deployment }, ON_TRIAL],
    [
      'the new system is committed',
      { ...inTrial, boot: onB, deployment },
      'the deployment is about to end: nothing is left to cancel',
    ],
    [
      'the device has fallen back',
      { attempt: installed, boot: { ...onA, trial: 'failed' } },
      'the deployment is about to end: nothing is left to cancel',
    ],
    [
      'a step is at work',
      { attempt: { ...running, steps: [atWork] }, deployment },
      'a step is being carried out, and is never broken off: ask again when it has ended',
    ],
    [
      'only a restart is left',
      { attempt: { ...running, steps: [{ ...ended, later: 'reboot' }] }, deployment },
      'all its steps are done, and only a restart is left',
    ],
    ['an update asked for once', { attempt: { ...running, own: { url: 'https://content.test/b' } } }, 'abandon'],
    ['a rollback', { ...updated, attempt: { ...done, rollback } }, 'a rollback is going on: wait until it is settled'],
  ],
  retry: [
    ['nothing was ever deployed', {}, 'no deployment has failed on this device'],
    ['it runs', { attempt: running, deployment }, 'deployment W1 is running'],
    ['it has not failed', updated, 'the last deployment has not failed'],
    ['it has failed', { attempt: failed, deployment }, 'begin'],
    ['it was cancelled here', { attempt: { ...failed, result: { ...result, resultCode: -1 } }, deployment }, 'begin'],
    [
      'the hub has not heard of the failure',
      { attempt: { ...failed, reported: false }, deployment, connected: false },
      'the hub does not have the last result yet: retry when the device is connected',
    ],
    [
      'the twin is not known',
      { attempt: failed },
      'the hub has not shown its deployment yet: retry when the device is connected',
    ],
    [
      'the operator wants something else',
      { attempt: failed, deployment: other },
      'the hub does not ask for this deployment any more',
    ],
    [
      'the operator has cancelled it',
      { attempt: failed, deployment: cancel },
      'the hub does not ask for this deployment any more',
    ],
    ['it is still refused', { attempt: failed, deployment: refused }, 'the deployment is refused: no such handler'],
    [
      'a call ordered it',
      { attempt: { ...failed, own: { url: 'https://content.test/b' } }, deployment },
      'the last update was ordered by a call or a file: order it there once more',
    ],
    ['a system is on trial', { ...inTrial, deployment }, ON_TRIAL],
  ],
  commit: [
    ['nothing is on trial', updated, 'no system is on trial'],
    ['a trial has not started', { attempt: installed, boot: armed, deployment }, 'no system is on trial'],
    ['what was ordered is on trial', inTrial, 'commit'],
    ['it is not healthy, and may still become so', { ...inTrial, health: { state: 'bad', why: 'x' } }, 'commit'],
    [
      'another system than was ordered',
      { ...inTrial, version: '2.0.1' },
      'the system is version "2.0.1", and "2.0.0" was ordered: the device goes back',
    ],
    [
      'the device goes back already',
      { ...inTrial, attempt: { ...installed, cause: { extendedResultCode: 1, details: '' } } },
      'the trial has failed, and the device goes back',
    ],
    [
      'a trial that nobody ordered',
      { ...inTrial, attempt: undefined },
      'this trial belongs to no deployment that the journal knows: only its health settles it',
    ],
    [
      'a trial after the end of the attempt',
      { ...inTrial, attempt: done },
      'this trial belongs to no deployment that the journal knows: only its health settles it',
    ],
    ['the trial of a rollback', { boot: trialOfA, attempt: { ...done, rollback }, version: '1.0.0' }, 'commit'],
    [
      'a rollback has started something else',
      { boot: trialOfA, attempt: { ...done, rollback }, version: '0.9.0' },
      'the system is version "0.9.0", and "1.0.0" was ordered: the device goes back',
    ],
  ],
  rollback: [
    ['after an update', updated, 'rollBack 2.0.0 to a 1.0.0'],
    [
      'after an update, and the hub is away',
      { ...updated, connected: false, deployment: undefined },
      'rollBack 2.0.0 to a 1.0.0',
    ],
    [
      'after an update that is not reported',
      { ...updated, attempt: { ...done, reported: false } },
      'rollBack 2.0.0 to a 1.0.0',
    ],
    ['nothing was ever deployed', {}, UNKNOWN('b')],
    ['the journal is lost', { lost: 'rotten' }, UNKNOWN('b', ', because the journal was damaged')],
    ['the update has failed: the other slot is half written', { attempt: failed, deployment }, UNKNOWN('b')],
    [
      'the device has fallen back: the other slot has a system that was never committed',
      { attempt: { ...failed, installedTo: 'b' }, deployment, boot: { ...onA, trial: 'failed' } },
      UNKNOWN('b'),
    ],
    [
      'what the other slot holds is not known',
      { ...updated, attempt: { ...done, spare: { slot: 'b', version: '2.0.0' } } },
      UNKNOWN('a'),
    ],
    ['a deployment runs', { attempt: running, deployment }, 'deployment W1 is running: cancel it first'],
    [
      'another deployment is there',
      { ...updated, deployment: other },
      'deployment W2 is about to start: cancel it first',
    ],
    ['a system is on trial', inTrial, ON_TRIAL],
    [
      'the trial before this one has failed, and the machine went back',
      { ...updated, boot: { ...onB, trial: 'failed' } },
      'rollBack 2.0.0 to a 1.0.0',
    ],
    [
      'the machine does not go down after a trial that has failed',
      { ...updated, boot: { ...onB, primary: 'a', trial: 'failed' } },
      'the machine still runs a system whose trial has failed: restart it first',
    ],
    [
      'the old system is older than the owner allows',
      { ...updated, minimumVersion: '1.5' },
      'version 1.0.0 is older than 1.5, the lowest that this device may take (piAdu.trust.minimumVersion)',
    ],
    ['the lowest version that the owner allows', { ...updated, minimumVersion: '1.0.0' }, 'rollBack 2.0.0 to a 1.0.0'],
    [
      'the floor that moves with each update does not count',
      { ...updated, lowest: '2.0.0' },
      'rollBack 2.0.0 to a 1.0.0',
    ],
    [
      'a version that cannot be compared',
      { ...updated, attempt: { ...done, spare: { slot: 'a', version: 'blue' } }, minimumVersion: '1.5' },
      'rollBack 2.0.0 to a blue',
    ],
    [
      'an application holds a lock',
      { ...updated, held: 'the reboot is locked by till' },
      'the reboot is locked by till: this must end first',
    ],
    [
      'it runs already',
      { ...updated, attempt: { ...done, rollback } },
      'a rollback is going on: wait until it is settled',
    ],
  ],
}

for (const [command, rows] of Object.entries(TABLE)) {
  describe(command, () => {
    for (const [what, seen, expected] of rows) {
      const request = { kind: 'command', command: command as CommandName } as const
      test(`${what}: ${expected}`, () => assert.equal(inShort({ ...seen, request }), expected))
    }
  })
}

describe('what a rollback does next', () => {
  const attempt = { ...done, rollback }
  const ROWS: readonly Row[] = [
    ['it is written', { boot: onB, version: '2.0.0' }, 'activate a'],
    ['the other slot starts next', { boot: back, version: '2.0.0' }, 'reboot trial'],
    ['it is on trial', { boot: trialOfA }, 'wait'],
    ['it is healthy', { boot: trialOfA, health: { state: 'good' } }, 'commit'],
    ['it is not', { boot: trialOfA, health: { state: 'bad', why: 'x' } }, 'fallBack 3210000D'],
    ['it is another one', { boot: trialOfA, version: '0.9.0' }, 'fallBack 32100004'],
    [
      'a power cut came before the fall-back',
      { boot: trialOfA, attempt: { ...attempt, cause: { extendedResultCode: 0x3210000d, details: '' } } },
      'fallBack 3210000D',
    ],
    ['somebody has vouched for it', { boot: trialOfA, attempt: { ...attempt, vouched: true } }, 'commit'],
    ['the machine does not go down', { boot: { ...trialOfA, primary: 'b', trial: 'failed' } }, 'reboot fallBack'],
    ['it is committed', { boot: onA }, 'endRollback'],
    ['it did not start', { boot: { ...onB, trial: 'failed' } }, 'endRollback: slot a did not start'],
    [
      'it never started',
      { boot: back, attempt: { ...attempt, reboots: 6 } },
      'endRollback: slot a was not started after 6 reboot orders',
    ],
    ['another deployment comes meanwhile', { boot: back, deployment: other }, 'reboot trial'],
    ['a cancel comes meanwhile', { boot: back, deployment: cancel }, 'reboot trial'],
  ]
  for (const [what, seen, expected] of ROWS) {
    test(`${what}: ${expected}`, () => assert.equal(inShort({ attempt, ...seen }), expected))
  }
})

test('during a long action the answer comes at once, except for a cancel of a download', () => {
  const seen: Observed = { ...usual, attempt: running, deployment }
  const install = { action: { do: 'install', update: { url: '' }, into: 'b' }, seen } as const
  assert.equal(objection('cancel', install), undefined)
  assert.equal(objection('rollback', install), 'deployment W1 is running: cancel it first')
  const step = { action: { do: 'runStep', at: 0, order: undefined }, seen } as const
  assert.match(objection('cancel', step) ?? '', /^a step is being carried out/)
  assert.equal(objection('commit', step), 'no system is on trial')
  assert.equal(objection('rollback', undefined), undefined)
})

const V2: System = { version: '2.0.0' }
const codes = (device: FakeDevice) => device.status.lastInstallResult?.extendedResultCodes
const details = (device: FakeDevice) => device.status.lastInstallResult?.resultDetails ?? ''
const isReported = (device: FakeDevice, code: number) => () =>
  device.status.lastInstallResult?.resultCode === code && device.journalReported && device.boot.trial !== 'pending'

/** A device that runs 2.0.0 after an update, with 1.0.0 in the other slot. */
async function updatedDevice(disturbances: readonly Disturbance[] = []): Promise<FakeDevice> {
  const device = new FakeDevice(disturbances)
  device.order({ id: 'W1', system: V2 })
  await device.runUntil(isReported(device, 700))
  return device
}

const probe = await updatedDevice()
/** The first effects of the next start look at the device; then somebody asks. */
const asked = probe.effects.length + 4

/** Starts the updated device again, has it roll back, and runs until everything is settled. */
async function rolledBack(disturbances: readonly Disturbance[] = [], prepare = (_: FakeDevice) => {}) {
  let starts = 0
  const device: FakeDevice = await updatedDevice([
    {
      at: asked,
      how: () => {
        starts = device.starts
        device.ask('rollback')
      },
    },
    ...disturbances,
  ])
  prepare(device)
  const hasAnswer = () => device.outcomes.length > 0 || (starts > 0 && device.starts > starts)
  const isSettled = () => device.boot.trial !== 'pending' && device.connected && device.journalReported
  const journal = () => device.journal as Attempt
  await device.runUntil(() => hasAnswer() && isSettled() && !journal().rollback)
  return device
}

/** The good slot runs, and the twin says which. */
function sound(device: FakeDevice): void {
  assert.equal(device.booted, device.boot.primary)
  const isBack = device.system.version === '1.0.0'
  assert.equal(codes(device)?.startsWith('32100602'), isBack, `${device.system.version}: ${codes(device)}`)
  assert.equal(device.status.state, isBack ? 255 : 0)
  // No update is known to be the system that was flashed.
  const { installedUpdateId } = device.status
  assert.equal(installedUpdateId && JSON.parse(installedUpdateId).version, isBack ? undefined : '2.0.0')
}

test('a rollback starts the old system on trial, commits it, and the twin learns of it', async () => {
  const device = await rolledBack()
  assert.deepEqual(device.outcomes, [['rollback', { is: 'begun' }]])
  assert.deepEqual(device.boot, { primary: 'a', trial: 'none', tries: 0 })
  assert.equal(
    details(device),
    'rolled back on the device from version "2.0.0" to version "1.0.0" in slot a (32100602)',
  )
  assert.equal(device.status.workflow?.id, 'W1')
  sound(device)
  const { spare, rollback: left } = device.journal as Attempt
  assert.deepEqual([spare, left], [{ slot: 'b', version: '2.0.0' }, undefined])
})

test('after a rollback the same deployment does not begin again, and the next one does', async () => {
  const device = await rolledBack()
  const { starts } = device
  await device.runUntil(() => device.starts > starts && device.connected)
  assert.equal(device.installs, 1)
  sound(device)
  device.order({ id: 'W3', system: { version: '3.0.0' } })
  await device.runUntil(isReported(device, 700))
  assert.equal(device.system.version, '3.0.0')
})

test('a rollback to an update that is known names it', async () => {
  const device = await updatedDevice()
  device.order({ id: 'W2', system: { version: '3.0.0' } })
  await device.runUntil(() => device.status.workflow?.id === 'W2' && isReported(device, 700)())
  const last = device.effects.length
  const { journal } = device
  const running = device.runUntil(() => device.outcomes.length > 0 && isReported(device, 0)())
  while (device.effects.length < last + 6) await new Promise(resolve => setImmediate(resolve))
  device.ask('rollback')
  await running
  assert.deepEqual((journal as Attempt).before?.updateId.version, '2.0.0')
  assert.equal(device.system.version, '2.0.0')
  assert.equal(JSON.parse(device.status.installedUpdateId ?? '{}').version, '2.0.0')
})

test('a rollback forward again names the update that the twin had lost', async () => {
  const device = await rolledBack()
  assert.equal(device.status.installedUpdateId, undefined)
  const { length } = device.effects
  const isNamed = () => device.status.installedUpdateId !== undefined
  const running = device.runUntil(() => isNamed() && isReported(device, 0)())
  while (device.effects.length < length + 6) await new Promise(resolve => setImmediate(resolve))
  device.ask('rollback')
  await running
  assert.equal(device.system.version, '2.0.0')
  assert.equal(JSON.parse(device.status.installedUpdateId ?? '{}').version, '2.0.0')
})

test('an old system that does not start any more, or is not healthy, is left again, and the twin says why', async () => {
  for (const [old, why] of [
    [{ version: '1.0.0', panics: true }, 'slot a did not start'],
    [{ version: '1.0.0', findings: ['unit web failed'] }, 'unit web failed'],
    [{ version: '1.0.0', deaf: true }, 'the hub was not reached'],
    [{ version: '0.9.0' }, 'the new system is version "0.9.0", but installedCriteria is "1.0.0"'],
  ] as const) {
    const device = await rolledBack([], each => {
      each.slots.a = old
    })
    assert.equal(device.system.version, '2.0.0')
    assert.deepEqual([device.status.state, device.status.lastInstallResult?.resultCode], [0, 700])
    assert.equal(codes(device), '00000000,32100603')
    assert.ok(details(device).startsWith('a rollback on the device to slot a failed: '), details(device))
    assert.ok(details(device).includes(why), details(device))
    // How far its trial came; a system that panics leaves no agent's half of a record.
    assert.equal(/; the (last of \d+ )?trial boots? /.test(details(device)), !('panics' in old), details(device))
    const { spare } = device.journal as Attempt
    assert.equal(spare?.slot, old.version === '1.0.0' ? 'a' : undefined)
  }
})

const SICK_BEFORE: System = { version: '1.0.0', findings: ['unit web failed'] }
const failedOnce = await rolledBack([], each => {
  each.slots.a = SICK_BEFORE
})
/** As above, in the start after a rollback that failed. */
const askedAgain = failedOnce.effects.length + 4

/** The old system is not healthy the first time. Somebody repairs it, and asks again. */
async function twice(disturbances: readonly Disturbance[] = [], repaired: System = { version: '1.0.0' }) {
  let starts = 0
  const order = () => {
    starts = device.starts
    device.ask('rollback')
  }
  let device = new FakeDevice()
  device = await rolledBack([{ at: askedAgain, how: order }, ...disturbances], each => {
    device = each
    each.slots.a = SICK_BEFORE
  })
  assert.equal(codes(device), '00000000,32100603')
  device.slots.a = repaired
  device.outcomes.splice(0)
  const hasAnswer = () => device.outcomes.length > 0 || (starts > 0 && device.starts > starts)
  const isSettled = () => device.boot.trial !== 'pending' && device.connected && device.journalReported
  await device.runUntil(() => hasAnswer() && isSettled() && !(device.journal as Attempt).rollback)
  return device
}

const second = await twice()

test('after a rollback that failed the next one is tried, and its report is its own', async () => {
  assert.equal(failedOnce.boot.trial, 'failed')
  assert.deepEqual(second.outcomes, [['rollback', { is: 'begun' }]])
  assert.deepEqual(second.boot, { primary: 'a', trial: 'none', tries: 0 })
  assert.equal(codes(second), '32100602')
  sound(second)
  const sick = await twice([], { version: '1.0.0', panics: true })
  assert.equal(sick.system.version, '2.0.0')
  assert.equal(codes(sick), '00000000,32100603')
  assert.match(details(sick), /failed: slot a did not start$/)
})

describe('one disturbance at each effect with which a rollback after one that failed begins', () => {
  const { effects } = second
  // From there on it is like the first one.
  const armed = effects.indexOf('boot.arm', askedAgain)
  for (let at = askedAgain; at <= armed; at++) {
    for (const how of ['cutBefore', 'cutAfter', 'error'] as const) {
      test(`${how} ${at - askedAgain} ${effects[at]}: a good system runs, and the twin says which`, async () => {
        const device = await twice([{ at, how }])
        sound(device)
        const [, outcome] = device.outcomes[0] ?? []
        if (outcome?.is === 'begun' && how !== 'error') assert.equal(device.system.version, '1.0.0')
      })
    }
  }
})

test('the fixed floor refuses a rollback', async () => {
  const device = await rolledBack([], each => {
    each.downgrade = { allowDowngrade: true, minimumVersion: '1.5.0' }
  })
  const why = 'version 1.0.0 is older than 1.5.0, the lowest that this device may take (piAdu.trust.minimumVersion)'
  assert.deepEqual(device.outcomes, [['rollback', { is: 'refused', why }]])
  assert.equal(device.system.version, '2.0.0')
})

test('a lock refuses a rollback; a window does not', async () => {
  const locks = [{ name: 'till', gates: ['reboot'], until: undefined, why: undefined }] as const
  const device = await rolledBack([], each => {
    each.facts = { ...each.facts, locks }
  })
  assert.deepEqual(device.outcomes, [
    ['rollback', { is: 'refused', why: 'the reboot is locked by till: this must end first' }],
  ])
  assert.equal(device.system.version, '2.0.0')
  const weak = await rolledBack([], each => {
    each.facts = { ...each.facts, wasUnderVoltage: true }
  })
  assert.equal(weak.system.version, '1.0.0', 'what ends with a restart alone must not hold it up')
  const night = { open: false, until: undefined } as const
  const free = await rolledBack([], each => {
    each.gates = { ...each.gates, windows: { reboot: () => night } }
  })
  assert.equal(free.system.version, '1.0.0')
})

const undisturbed = await rolledBack()
describe('one disturbance at each effect of a rollback', () => {
  for (let at = asked; at < undisturbed.effects.length; at++) {
    for (const how of ['cutBefore', 'cutAfter', 'killed', 'error'] as const) {
      test(`${how} ${at - asked} ${undisturbed.effects[at]}: a good system runs, and the twin says which`, async () => {
        const device = await rolledBack([{ at, how }])
        sound(device)
        const [, outcome] = device.outcomes[0] ?? []
        if (outcome?.is === 'begun' && how !== 'error') assert.equal(device.system.version, '1.0.0')
        if (outcome?.is === 'refused') assert.equal(device.system.version, '2.0.0')
      })
    }
  }
})

/** Runs a deployment; at its first effect of this name somebody orders `command`. */
async function ordered(command: CommandName, effect: string, disturbances: readonly Disturbance[], system = V2) {
  const device: FakeDevice = new FakeDevice([
    { at: happy.effects.indexOf(effect), how: () => device.ask(command) },
    ...disturbances,
  ])
  device.order({ id: 'W1', system })
  return device
}
const happy = await updatedDevice()

describe('a cancel on the device', () => {
  const isOver = (device: FakeDevice) => () =>
    device.journalReported && device.boot.trial !== 'pending' && device.connected && device.outcomes.length > 0

  test('during the download: the running system stays, the twin says who, and it does not begin again', async () => {
    const device = await ordered('cancel', 'content.body', [])
    await device.runUntil(isOver(device))
    assert.deepEqual(device.outcomes, [['cancel', { is: 'begun' }]])
    assert.equal(codes(device), '32100600')
    assert.equal(details(device), 'cancelled on the device; the running system was not touched (32100600)')
    assert.deepEqual([device.status.state, device.status.lastInstallResult?.resultCode], [255, -1])
    await device.runUntil(() => device.boots === 2 && device.connected)
    assert.equal(device.installs, 1)
  })

  test('a retry begins it again, once', async () => {
    const device = await ordered('cancel', 'content.body', [])
    device.onReported = () => {
      // After this report, the journal says that the hub has it.
      if (codes(device) === '32100600') setImmediate(() => again())
    }
    const again = () => {
      if (device.journalReported) device.ask('retry')
      else setImmediate(again)
    }
    await device.runUntil(isReported(device, 700))
    assert.deepEqual(device.outcomes, [
      ['cancel', { is: 'begun' }],
      ['retry', { is: 'begun' }],
    ])
    assert.equal(device.system.version, '2.0.0')
    assert.equal((device.journal as Attempt).retries, 1)
  })

  test('in its trial it is refused', async () => {
    const at = happy.effects.lastIndexOf('host.findings')
    const device: FakeDevice = new FakeDevice([{ at, how: () => device.ask('cancel') }])
    device.order({ id: 'W1', system: V2 })
    await device.runUntil(isReported(device, 700))
    assert.ok(device.outcomes.every(([, { is }]) => is === 'refused'))
    assert.equal(device.outcomes.length, 1)
  })
})

/** Cancelled during its download. In the start after that somebody retries it at effect `retryAt`. */
async function cancelledDevice(disturbances: readonly Disturbance[] = [], retryAt?: number) {
  let askedIn = 0
  const retry = () => {
    askedIn = device.starts
    device.ask('retry')
  }
  const more = retryAt === undefined ? [] : [{ at: retryAt, how: retry }]
  const device = await ordered('cancel', 'content.body', [...more, ...disturbances])
  const isOver = () => device.journalReported && device.boot.trial !== 'pending' && device.connected
  await device.runUntil(isOver)
  if (retryAt !== undefined) {
    await device.runUntil(() => isOver() && (device.outcomes.length > 1 || (askedIn > 0 && device.starts > askedIn)))
  }
  return device
}

const cancelled = await cancelledDevice()
const startedAgain = await cancelledDevice()
await startedAgain.runUntil(() => startedAgain.starts > 1 && startedAgain.connected)
/** In the last look of the next start, which knows the deployment, somebody asks. */
const retryAt = startedAgain.effects.length - 1
const retried = await cancelledDevice([], retryAt)

describe('one disturbance at each effect of a cancel, and of a retry', () => {
  function codeOf(device: FakeDevice, what: string): number | undefined {
    const code = device.status.lastInstallResult?.resultCode
    assert.equal(device.booted, device.boot.primary, what)
    assert.equal(device.system.version, code === 700 ? '2.0.0' : '1.0.0', what)
    return code
  }
  for (const how of ['cutBefore', 'cutAfter', 'killed', 'error'] as const) {
    test(`cancel, ${how}: what was answered holds, and the twin says how it ended`, async () => {
      assert.deepEqual(cancelled.outcomes, [['cancel', { is: 'begun' }]])
      for (let at = happy.effects.indexOf('content.body'); at < cancelled.effects.length; at++) {
        const what = `${at} ${cancelled.effects[at]}`
        const device = await cancelledDevice([{ at, how }])
        const code = codeOf(device, what)
        if (device.outcomes.some(([, { is }]) => is === 'begun')) assert.equal(code, -1, what)
      }
    })
    test(`retry, ${how}: what was answered holds, and the twin says how it ended`, async () => {
      assert.deepEqual(
        retried.outcomes.map(([command, { is }]) => `${command} ${is}`),
        ['cancel begun', 'retry begun'],
      )
      for (let at = retryAt; at < retried.effects.length; at++) {
        const what = `${at} ${retried.effects[at]}`
        const device = await cancelledDevice([{ at, how }], retryAt)
        const code = codeOf(device, what)
        const isBegun = device.outcomes.some(([command, { is }]) => command === 'retry' && is === 'begun')
        if (isBegun && how !== 'error') assert.equal(code, 700, what)
      }
    })
  }
})

describe('a commit on the device', () => {
  const SICK: System = { version: '2.0.0', findings: ['unit web failed'] }

  test('settles the trial of an unhealthy system, and the report says so', async () => {
    const at = happy.effects.lastIndexOf('host.findings')
    const device: FakeDevice = new FakeDevice([{ at, how: () => device.ask('commit') }])
    device.order({ id: 'W1', system: SICK })
    await device.runUntil(isReported(device, 700))
    assert.deepEqual(device.outcomes, [['commit', { is: 'begun' }]])
    assert.equal(device.system.version, '2.0.0')
    assert.equal(codes(device), '00000000,32100601')
    assert.equal(details(device), 'committed on the device without waiting for its health checks')
  })

  test('a power cut at any effect after it: the system that somebody vouched for stays', async () => {
    const at = happy.effects.lastIndexOf('host.findings')
    for (let more = 1; more < 8; more++) {
      const device: FakeDevice = new FakeDevice([
        { at, how: () => device.ask('commit') },
        { at: at + more, how: more % 2 ? 'cutBefore' : 'cutAfter' },
      ])
      device.order({ id: 'W1', system: SICK })
      await device.runUntil(() => device.journalReported && device.boot.trial !== 'pending' && device.connected)
      const isCommitted = device.system.version === '2.0.0'
      assert.equal(codes(device), isCommitted ? '00000000,32100601' : '3210000D')
      if (device.outcomes.some(([, { is }]) => is === 'begun')) assert.ok(isCommitted)
    }
  })
})

test('that somebody committed a system is said of one that was committed, and of no other', () => {
  const now = new Date(0)
  const by = (attempt: Attempt, { code, phase }: { code: number; phase?: 'apply' | 'trial' }) =>
    endedWith(attempt, { ...result, resultCode: code, ...(phase ? { phase } : {}) }, now).result
  const image: StepRecord = { path: [0], handler: 'microsoft/swupdate:2', state: 'done', starts: 1, wants: 'trial' }
  const settled: StepRecord = { ...image, result: { resultCode: 700, extendedResultCode: 0, resultDetails: '' } }
  const vouched: Attempt = { ...installed, vouched: true, steps: [image] }
  const HERE = [0, 0x32100601]
  const fell = { code: 0, phase: 'trial' } as const
  assert.deepEqual(by(vouched, { code: 700 })?.extendedResultCodes, HERE)
  assert.deepEqual(by(vouched, fell)?.extendedResultCodes, [0])
  assert.deepEqual(by({ ...vouched, steps: [settled, image] }, fell)?.extendedResultCodes, [0])
  assert.deepEqual(by({ ...vouched, steps: [settled, atWork] }, { code: 0, phase: 'apply' })?.extendedResultCodes, HERE)
  // The next image of a list has a trial of its own, and the report still names the first.
  const next = forImage({ ...vouched, steps: [settled, image] }, { url: '', bundle, installedCriteria: '3.0.0' })
  assert.equal(next.vouched, undefined)
  assert.deepEqual(by(next, fell)?.extendedResultCodes, HERE)
  // The same of a rollback.
  const back = { ...done, rollback, vouched: true } as const
  assert.deepEqual(rollbackEnded(back, undefined).result?.extendedResultCodes, [0x32100602, 0x32100601])
  assert.deepEqual(rollbackEnded(back, 'x').result?.extendedResultCodes, [0, 0x32100603])
  assert.equal(rollbackEnded(back, undefined).vouched, undefined)
})

test('one command at a time', async () => {
  const device: FakeDevice = await updatedDevice([
    {
      at: asked,
      how: () => {
        device.ask('rollback')
        device.ask('cancel')
      },
    },
  ])
  await device.runUntil(isReported(device, 0))
  const why = 'another command is being carried out: ask again'
  assert.deepEqual(device.outcomes, [
    ['cancel', { is: 'refused', why }],
    ['rollback', { is: 'begun' }],
  ])
})

test('a command that the loop does not take up in time is answered, and is not carried out later', async () => {
  const clock = new VirtualClock()
  const woken: (Request | undefined)[] = []
  const wake = (request?: Request) => void woken.push(request)
  const side = new CommandSide({ clock }, { whyNot: () => undefined, wake })
  const waiting = () => side.request as Request
  const outcomes: Outcome[] = []
  const ask = (command: CommandName) => void side.ask(command).then(outcome => outcomes.push(outcome))
  ask('cancel')
  assert.deepEqual(woken, [{ kind: 'command', command: 'cancel' }])
  const first = waiting()
  await clock.passUntil(() => outcomes.length > 0, 60_000)
  assert.deepEqual(outcomes, [{ is: 'failed', why: 'the agent is busy: ask again' }])
  assert.equal(clock.monotonic(), 20_000)
  assert.equal(side.take(first), false)
  assert.equal(side.request, undefined)
  // Of one that was taken up only the loop knows the outcome.
  ask('retry')
  const second = waiting()
  assert.equal(side.take(second), true)
  await clock.passUntil(() => outcomes.length > 1, 60_000)
  assert.deepEqual(outcomes[1], { is: 'uncertain', why: 'it was taken up, and takes long' })
})

test('what the commands note is kept by the journal, and a gap costs the way back', async () => {
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const journal = new FileJournal('journal.json', log, new MemoryDisk())
  const noted: Attempt = { ...done, rollback, vouched: true, retries: 2 }
  await journal.write(noted)
  assert.deepEqual(await journal.read(), { is: 'attempt', attempt: noted })
  const request = { kind: 'command', command: 'rollback' } as const
  const seen = { ...updated, attempt: afterGap(done, 'rotten'), request }
  assert.equal(inShort(seen), UNKNOWN('a', ', because the journal was damaged'))
})
