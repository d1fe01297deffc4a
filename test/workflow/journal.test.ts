import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { readAttempt } from '../../src/adapters/files/journal-format.ts'
import { sealed } from '../../src/adapters/files/sealed.ts'
import { type Attempt, type InstallResult, JOURNAL_FORMAT } from '../../src/domain/attempt.ts'
import type { Deployment } from '../../src/domain/deployment.ts'
import { pendingSteps, stepBegun, stepDone } from '../../src/domain/step-record.ts'
import { begun } from '../../src/workflow/begun.ts'
import { isTaken } from '../every.ts'
import { type Disturbance, FakeDevice, type System } from './fake-device.ts'
import { DAMAGE, damage, MemoryDisk } from './memory-disk.ts'
import { asNewer } from './newer-journal.ts'

const V2: System = { version: '2.0.0' }
const NEWEST = ['journal.json']
const BOTH = ['journal.json', 'journal.json.old']

interface Options {
  readonly system?: System
  readonly disturbances?: readonly Disturbance[]
  readonly watchesDisk?: boolean
  /** These files are damaged at this effect, or with a power cut before it. */
  readonly damaged?: {
    readonly at: number
    readonly files: readonly string[]
    readonly how: string
    readonly cut?: true
  }
}

/** Runs one deployment to its end with the journal on a disk. Whatever happens, a good system runs, and the twin says so. */
async function deployed({
  system = V2,
  disturbances = [],
  watchesDisk = false,
  damaged,
}: Options): Promise<FakeDevice> {
  const disk = new MemoryDisk()
  const spoil = (): void => {
    for (const file of damaged?.files ?? []) damage(disk, file, DAMAGE[damaged?.how ?? ''] ?? (content => content))
  }
  const all: Disturbance[] = [...disturbances]
  if (damaged) all.push({ at: damaged.at, how: spoil })
  // The spoiling comes before the cut of the same effect.
  if (damaged?.cut) all.push({ at: damaged.at, how: 'cutBefore' })
  const device = new FakeDevice(all)
  Object.assign(device, { disk, watchesDisk })
  device.order({ id: 'W1', system })
  const hasEnded = (): boolean =>
    device.status.workflow?.id === 'W1' &&
    [700, 0].includes(device.status.lastInstallResult?.resultCode ?? Number.NaN) &&
    device.boot.trial !== 'pending' &&
    device.journalReported
  await device.runUntil(hasEnded)
  assert.equal(device.booted, device.boot.primary)
  return device
}

const resultOf = (device: FakeDevice) => device.status.lastInstallResult ?? assert.fail('no result')
const hasRun = (device: FakeDevice): void => {
  assert.equal(device.system.version, '2.0.0')
  assert.equal(resultOf(device).resultCode, 700)
}

const happy = await deployed({ watchesDisk: true })
const onDisk = [...happy.effects.entries()].filter(([, effect]) => effect.startsWith('disk.')).map(([at]) => at)
const effects = (await deployed({})).effects

describe('a disturbance at an effect of the journal on its disk', () => {
  test('the disk is written to between the other effects', () => {
    for (const each of ['disk.read', 'disk.write', 'disk.copy', 'disk.rename']) assert.ok(happy.effects.includes(each))
  })

  for (const how of ['cutBefore', 'cutAfter', 'killed'] as const) {
    test(`${how}: ends on the new system, and no generation is missed`, async () => {
      for (const at of onDisk) {
        const device = await deployed({ watchesDisk: true, disturbances: [{ at, how }] })
        hasRun(device)
        assert.deepEqual(
          device.logged.filter(event => event.startsWith('journal.')),
          [],
          `${how} ${at}`,
        )
      }
    })
  }

  test('an error: ends on a good system and says which', async () => {
    for (const at of onDisk) {
      const device = await deployed({ watchesDisk: true, disturbances: [{ at, how: 'error' }] })
      const failed = resultOf(device).resultCode !== 700
      assert.equal(device.system.version, failed ? '1.0.0' : '2.0.0', `${at} ${happy.effects[at]}`)
    }
  })

  test('two power cuts', async () => {
    for (const at of onDisk) {
      for (const later of [1, 2, 3, 5]) {
        const cuts = [at, at + later].map(each => ({ at: each, how: 'cutBefore' }) as const)
        hasRun(await deployed({ watchesDisk: true, disturbances: cuts }))
      }
    }
  })
})

describe('a journal that is damaged at any effect of an update', () => {
  for (const [name, files] of [
    ['the newest generation', NEWEST],
    ['both generations', BOTH],
  ] as const) {
    // All that may be wrong with a file is one to the journal: test/contract/journal.test.ts.
    for (const how of ['rotten', 'gone']) {
      for (const cut of how === 'gone' ? ([true] as const) : ([undefined, true] as const)) {
        test(`${name} ${how}${cut ? ', and a power cut' : ''}: ends on the new system`, async () => {
          for (const at of [...effects.keys()].filter(isTaken)) {
            hasRun(await deployed({ damaged: { at, files, how, ...(cut ? { cut } : {}) } }))
          }
        })
      }
    }

    for (const [what, system] of [
      ['that panics', { version: '2.0.0', panics: true }],
      ['that is never healthy', { version: '2.0.0', findings: ['unit web.service failed'] }],
    ] as const) {
      test(`${name} rotten, with a new system ${what}: the old one runs, and the twin says that it failed`, async () => {
        for (const at of [...(await deployed({ system })).effects.keys()].filter(isTaken)) {
          const device = await deployed({ system, damaged: { at, files, how: 'rotten', cut: true } })
          assert.equal(device.system.version, '1.0.0', `${at}`)
          assert.equal(resultOf(device).resultCode, 0)
        }
      })
    }
  }
})

describe('a journal that was damaged is in the report', () => {
  const toTheTrial = effects.indexOf('boot.arm')
  for (const [files, event, installs] of [
    [NEWEST, 'journal.recovered', 1],
    // Nobody knows that the slot was filled already.
    [BOTH, 'journal.lost', 2],
  ] as const) {
    test(`${event}, before the trial: behind the result's own code`, async () => {
      const device = await deployed({ damaged: { at: toTheTrial, files, how: 'rotten', cut: true } })
      assert.ok(device.logged.includes(event))
      assert.equal(resultOf(device).extendedResultCodes, '00000000,32100011')
      assert.equal(Object.values(resultOf(device).stepResults ?? {})[0]?.resultCode, 700)
      assert.equal(device.installs, installs)
    })
  }

  test('in the trial, all of it: settled by its health, and the deployment is found installed', async () => {
    const at = effects.indexOf('boot.commit')
    const device = await deployed({ damaged: { at, files: BOTH, how: 'rotten', cut: true } })
    hasRun(device)
    assert.equal(device.installs, 1)
    assert.equal(resultOf(device).extendedResultCodes, '00000000,32100011')
    assert.equal(Object.values(resultOf(device).stepResults ?? {})[0]?.resultCode, 603)
  })

  test('the cause of a fall-back was lost: it is not claimed that there was none', async () => {
    const system: System = { version: '2.0.0', findings: ['unit web.service failed'] }
    const at = (await deployed({ system })).effects.indexOf('boot.fallBack')
    const device = await deployed({
      ...{ system, disturbances: [{ at, how: 'cutAfter' }] },
      damaged: { at: at + 1, files: NEWEST, how: 'rotten' },
    })
    assert.equal(resultOf(device).extendedResultCodes, '3210000C,32100011')
    assert.match(
      resultOf(device).resultDetails,
      /^fell back to the old system; why is not known, as the journal was damaged; last milestone: /,
    )
  })
})

describe('what begins after the loss of a journal', () => {
  const asked = { workflow: { action: 3, id: 'W1' }, fingerprint: 'F' }
  const known = { attempt: undefined, lost: 'it is empty' }
  const now = new Date(0)

  test('a deployment of the twin: all of its steps may have run', () => {
    const manifest = { updateId: { provider: 'contoso', name: 'toaster', version: '2.0.0' } }
    const image = { kind: 'image', installedCriteria: '2.0.0', bundle: { fileId: 'f' } }
    const plan = { path: [0], handler: 'microsoft/swupdate:2', plan: image, urls: { f: 'https://content.test/f' } }
    const deployment = { kind: 'deploy', ...asked, manifest, plans: [plan, { path: [1], handler: 'x/y:1' }] }
    const { gap, steps } = begun(deployment as unknown as Deployment, known, now)
    assert.equal(gap, 'it is empty')
    assert.deepEqual(
      steps.map(({ state, starts, mayHaveRun }) => [state, starts, mayHaveRun]),
      [
        ['pending', 0, true],
        ['pending', 0, true],
      ],
    )
    assert.deepEqual(
      stepDone(stepBegun(steps)).map(({ state, mayHaveRun }) => [state, mayHaveRun]),
      [
        ['done', undefined],
        ['pending', true],
      ],
    )
    const fresh = begun(deployment as unknown as Deployment, { attempt: undefined, lost: undefined }, now)
    assert.deepEqual(fresh.gap ?? fresh.steps.find(({ mayHaveRun }) => mayHaveRun), undefined)
  })

  test('something that is asked for only now has not run', () => {
    const once = {
      kind: 'once',
      origin: 'firmwareUpdate',
      ...asked,
      update: { url: 'https://content.test/a' },
    } as const
    const { gap, steps } = begun(once, known, now)
    assert.equal(gap, 'it is empty')
    assert.equal(steps[0]?.mayHaveRun, undefined)
  })
})

/** A system whose agent wrote a newer journal in its trial boot, and did not stay. */
async function fellBackFromNewer(more: Partial<Attempt>): Promise<FakeDevice> {
  const panics: System = { version: '2.0.0', panics: true }
  const { effects } = await deployed({ system: panics })
  const disk = new MemoryDisk()
  const write = (): void => {
    const [line = ''] = disk.files.get('journal.json')?.toString().split('\n') ?? []
    disk.files.set('journal.json', Buffer.from(sealed(asNewer(JSON.parse(line), more))))
  }
  // The old system has booted again, and its agent has not looked yet.
  const device = new FakeDevice([{ at: effects.indexOf('host.reboot') + 1, how: write }])
  device.disk = disk
  device.order({ id: 'W1', system: panics })
  await device.runUntil(() => device.journalReported)
  assert.deepEqual([device.system.version, device.installs], ['1.0.0', 1])
  assert.deepEqual(
    device.logged.filter(event => event.startsWith('journal.')),
    [],
  )
  return device
}

describe('a journal of a newer format, after a fall-back from the agent that wrote it', () => {
  const milestones = ['agent started', 'moon reached']
  const cause = { extendedResultCode: 0x3210000d, details: 'a check of the future has failed' }
  const result = { resultCode: 0, extendedResultCodes: [0x3f000001, 0xa0000fff], resultDetails: 'no moon' }
  const reported = (device: FakeDevice) => {
    const { resultCode, extendedResultCodes, resultDetails } = resultOf(device)
    return [device.status.workflow?.id, device.status.state, resultCode, extendedResultCodes, resultDetails]
  }

  test('the boot script fell back: how far it came', async () => {
    const device = await fellBackFromNewer({ milestones })
    const details =
      'the boot script fell back to the old system, all trial boots failed; last milestone: moon reached (3210000C)'
    assert.deepEqual(reported(device), ['W1', 255, 0, '3210000C', details])
  })

  test('the agent fell back: why', async () => {
    const device = await fellBackFromNewer({ milestones, cause })
    const details = 'fell back to the old system: a check of the future has failed (3210000D)'
    assert.deepEqual(reported(device), ['W1', 255, 0, '3210000D', details])
  })

  test('it has ended the attempt: its result, also one of a phase and with codes that are not known here', async () => {
    const ended = { ...result, phase: 'orbit' } as unknown as InstallResult
    const device = await fellBackFromNewer({ milestones, result: ended })
    assert.deepEqual(reported(device), ['W1', 255, 0, '3F000001,A0000FFF', 'no moon'])
  })

  test('it has reported: nothing is reported again, and the next deployment runs', async () => {
    const device = await fellBackFromNewer({ result, reported: true })
    assert.deepEqual(
      device.reports.filter(each => JSON.stringify(each).includes('no moon')),
      [],
    )
    device.order({ id: 'W2', system: { version: '3.0.0' } })
    await device.runUntil(() => device.status.lastInstallResult?.resultCode === 700)
    assert.equal(device.system.version, '3.0.0')
  })

  test('of an origin that is not known here: the attempt is ended, and nobody is told', async () => {
    const device = await fellBackFromNewer({ origin: 'carrierPigeon', own: { url: 'coop:3' } })
    assert.equal((device.journal as Attempt).result?.resultCode, 0)
    assert.equal(resultOf(device).resultCode, 400, 'as it was before')
  })
})

describe('what is read of a newer format', () => {
  const steps = pendingSteps([{ path: [0], handler: 'microsoft/swupdate:2' }])
  const attempt: Attempt = {
    ...{ format: JOURNAL_FORMAT, workflow: { action: 3, id: 'W1' }, fingerprint: 'F', origin: 'deviceUpdate', steps },
    ...{ installs: 1, reboots: 1, installedTo: 'b', milestones: [], reported: false, times: { begun: 'T' } },
  }

  test('all that is as here, and the rest as what is known least', () => {
    assert.deepEqual(readAttempt({ ...attempt, format: 2, moon: 1 }), attempt)
    assert.deepEqual(readAttempt(asNewer(attempt)), {
      ...{ format: 1, workflow: attempt.workflow, fingerprint: 'F', origin: 'deviceUpdate', installedTo: 'b' },
      ...{ milestones: [], reported: false, installs: 0, reboots: 0, times: { begun: '' } },
      steps: [
        { path: [0], handler: 'contoso/handler:9', state: 'running', starts: 1 },
        { path: [1], handler: 'unknown', state: 'running', starts: 1 },
      ],
    })
    assert.deepEqual(readAttempt({ ...attempt, format: 2, steps: 'none' }).steps, [])
  })

  test('the way back, the word for a trial, and a report that is owed', () => {
    const rollback = { to: 'a', version: '1.0.0', from: '2.0.0' } as const
    const result = { resultCode: 0, extendedResultCodes: [1], resultDetails: 'no' }
    const owed = { ...attempt, result }
    const more = { rollback, vouched: true, owed } as const
    const read = readAttempt(asNewer(attempt, more))
    assert.deepEqual([read.rollback, read.vouched, read.owed], [rollback, true, owed])
    const newer = readAttempt({ ...asNewer(attempt), owed: asNewer(attempt, { result }) }).owed
    assert.deepEqual([newer?.workflow, newer?.result, newer?.format], [attempt.workflow, result, JOURNAL_FORMAT])
    for (const owed of ['x', { format: 7 }, { ...attempt, result: undefined }]) {
      assert.equal('owed' in readAttempt({ ...asNewer(attempt), owed }), false)
    }
    assert.throws(() => readAttempt({ ...asNewer(attempt), rollback: 'a' }))
  })

  test('without what every format has, it is not a journal', () => {
    for (const name of ['workflow', 'fingerprint', 'origin', 'milestones', 'reported'] as const) {
      assert.throws(() => readAttempt({ ...asNewer(attempt), [name]: undefined }), name)
    }
    for (const change of [{ installedTo: 'c' }, { cause: 'x' }, { result: 1 }, { format: '7' }, { format: 0.5 }]) {
      assert.throws(() => readAttempt({ ...asNewer(attempt), ...change }), JSON.stringify(change))
    }
  })

  test('a handler that is not known here is harmless in our own format', () => {
    const foreign = { ...attempt, steps: pendingSteps([{ path: [0], handler: 'contoso/handler:9' }]) }
    assert.deepEqual(readAttempt(foreign), foreign)
  })
})
