import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import type { Attempt } from '../../src/domain/attempt.ts'
import { type Disturbance, FakeDevice, type Goal } from './fake-device.ts'

// A list that something disturbs: what it reports is what has happened.

const ID = 'W1'
const NEXT: Goal = { id: 'W2', list: [{ there: true }] }
const CANCEL: Goal = { id: 'nodeployment', cancel: true }

type List = Extract<Goal, { list: readonly unknown[] }>['list']

const isOver = (device: FakeDevice, ids: readonly string[]) => (): boolean =>
  ids.includes(device.status.workflow?.id ?? '') &&
  device.status.state !== 6 &&
  device.boot.trial !== 'pending' &&
  device.journalReported &&
  ids.includes((device.journal as Attempt).workflow.id)

async function run(list: List, disturbances: readonly Disturbance[] = [], id = ID): Promise<FakeDevice> {
  const device = new FakeDevice(disturbances)
  device.order({ id: ID, list })
  await device.runUntil(isOver(device, [ID, id]))
  return device
}

interface Report {
  readonly state?: number
  readonly workflow?: { readonly id: string }
  readonly installedUpdateId?: string
  readonly lastInstallResult?: { readonly resultCode: number; readonly resultDetails: string }
}

/** Of the list, at its end; undefined if another deployment replaced it. */
const finalOf = ({ reports }: FakeDevice): Report | undefined =>
  reports
    .map(each => (each as { deviceUpdate?: { agent?: Report } }).deviceUpdate?.agent)
    .findLast(agent => agent?.workflow?.id === ID && agent.lastInstallResult && agent.state !== 6)

describe('a step that is installed, and whose deployment is gone before it is applied', () => {
  for (const [name, list] of [
    ['waits for a reboot', [{ install: 605, twoStages: true }]],
    ['waits for a restart of the agent', [{ install: 607, twoStages: true }]],
    ['has just been installed', [{ twoStages: true }]],
  ] as const) {
    test(`${name}: it is never reported as a success`, async () => {
      const { effects } = await run(list)
      const ends: (number | undefined)[] = []
      for (let at = effects.lastIndexOf('workFolder.write'); at < effects.length; at++) {
        const goal: Goal = at % 3 === 0 ? NEXT : CANCEL
        const killed: Disturbance[] = at % 2 === 0 ? [{ at, how: 'killed' }] : []
        const device: FakeDevice = await run(list, [{ at, how: goal }, ...killed], goal.id)
        const final = finalOf(device)
        const { resultCode, resultDetails = '' } = final?.lastInstallResult ?? {}
        const had = device.service.effects
        const seen: string = `${goal.id} at ${at} ${effects[at]}: ${had}, ${JSON.stringify(final)}`
        if (had.includes('apply 0') || !had.includes('install 0')) continue
        ends.push(resultCode)
        assert.notEqual(resultCode, 700, seen)
        assert.equal(final?.installedUpdateId, undefined, seen)
        if (resultCode === -1)
          assert.match(resultDetails, /^cancelled after 0 of 1 steps; step 0 (still|is inst)/, seen)
      }
      assert.ok(ends.includes(-1), `${ends}`)
    })
  }
})

describe('a restart that both install and apply request for the end of the list', () => {
  for (const [what, how, list] of [
    ['a reboot', 'cutBefore', [{ install: 606, apply: 706, twoStages: true }]],
    ['a restart of the agent', 'killed', [{ install: 608, apply: 708, twoStages: true }]],
  ] as const) {
    test(`${what}: it comes after the apply, also if another one came between the two`, async () => {
      const { effects } = await run(list)
      for (const [at, effect] of effects.entries()) {
        if (effect !== 'service.begun' && effect !== 'service.done') continue
        const device = new FakeDevice([{ at, how }])
        const applied: number[] = []
        const now = () => (how === 'killed' ? device.starts : device.boots)
        device.onEffect = () => applied.push(now())
        device.order({ id: ID, list })
        await device.runUntil(isOver(device, [ID]))
        assert.equal(device.status.lastInstallResult?.resultCode, 700)
        assert.ok(now() > (applied.at(-1) ?? 0), `${how} at ${at} ${effect}: applied ${applied}, ended in ${now()}`)
      }
    })
  }
})

test('a list that asked for no restart, or has had it, does not say that one is missing, whatever comes during its last step', async () => {
  for (const list of [
    [{}, {}],
    [{}, { apply: 705 }],
  ] as const) {
    const { effects } = await run(list)
    let ended = 0
    for (let at = effects.lastIndexOf('workFolder.write'); at < effects.length; at++) {
      const goal: Goal = at % 2 === 0 ? NEXT : CANCEL
      const final = finalOf(await run(list, [{ at, how: goal }], goal.id))
      if (final?.lastInstallResult?.resultCode !== 700) continue
      ended += 1
      assert.equal(final.lastInstallResult.resultDetails, '', `${goal.id} at ${at} ${effects[at]}`)
    }
    assert.ok(ended > 3, `${ended}`)
  }
})

test('a restart that never comes fails the step that requested it, and the list with the same code', async () => {
  const device = new FakeDevice()
  device.ignoresReboots = true
  device.order({ id: ID, list: [{ apply: 706 }, {}] })
  await device.runUntil(isOver(device, [ID]))
  const { resultCode, extendedResultCodes, stepResults } = device.status.lastInstallResult ?? {}
  assert.deepEqual([resultCode, extendedResultCodes], [0, '32100012'])
  assert.deepEqual(
    Object.values(stepResults ?? {}).map(step => step.resultCode),
    [0, 700],
  )
})

describe('a list whose image was committed, and does not run any more', () => {
  const IMAGE = { system: { version: '2.0.0' } }
  const committed = (device: FakeDevice) => (device.journal as Attempt | undefined)?.steps[0]?.result !== undefined
  const rows = [
    ['the boot state was lost', { primary: 'a', trial: 'none', tries: 0 }],
    ['the boot script tries the old system by itself', { primary: 'a', trial: 'pending', tries: 3 }],
    ['the boot script has fallen back', { primary: 'a', trial: 'failed', tries: 0 }],
  ] as const
  for (const [name, boot] of rows) {
    test(`${name}: it ends as a failure at every place, and nothing more runs in the old system`, async () => {
      const list = [IMAGE, {}, { apply: 706 }] as const
      const { effects } = await run(list)
      let ended = 0
      for (let at = effects.indexOf('boot.commit'); at < effects.length; at += 2) {
        let lostAt: number | undefined
        const device: FakeDevice = new FakeDevice([
          {
            at,
            how: () => {
              if (!committed(device) || (device.journal as Attempt).result) return
              lostAt = device.service.effects.length
              Object.assign(device.boot, boot)
            },
          },
          { at, how: 'cutBefore' },
        ])
        device.order({ id: ID, list })
        await device.runUntil(isOver(device, [ID]))
        if (lostAt === undefined) continue
        ended += 1
        const seen = `at ${at} ${effects[at]}: ${JSON.stringify(device.status)}`
        const {
          resultCode,
          extendedResultCodes,
          resultDetails = '',
          stepResults,
        } = device.status.lastInstallResult ?? {}
        assert.deepEqual([resultCode, extendedResultCodes, device.system.version], [0, '3210000C', '1.0.0'], seen)
        assert.match(resultDetails, /the committed image of this list does not run any more/, seen)
        assert.ok(
          Object.values(stepResults ?? {}).some(step => step.resultCode === 0),
          seen,
        )
        assert.ok(
          (device.journal as Attempt).steps.every(({ state }) => state !== 'running'),
          seen,
        )
        assert.equal(device.service.effects.length, lostAt, seen)
      }
      assert.ok(ended > 5, `${ended}`)
    })
  }
})
