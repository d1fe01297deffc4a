import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { AgentError } from '../../src/domain/errors.ts'
import { EXTENDED_RESULT_CODE, ercText } from '../../src/domain/result-codes.ts'
import { CONTRACTS } from '../../src/ports/ports.ts'
import { EVERY, FIRST } from '../every.ts'
import { type Disturbance, errorOf, FakeDevice, type Goal, type System } from './fake-device.ts'

const V2: System = { version: '2.0.0' }
const PANICS: System = { version: '2.0.0', panics: true }
const deploy = (system: System, id = 'W1'): Goal => ({ id, system })

const reportedOn =
  (device: FakeDevice, id: string, ...codes: number[]) =>
  (): boolean =>
    device.status.workflow?.id === id &&
    device.status.state !== 6 &&
    codes.includes(device.status.lastInstallResult?.resultCode ?? Number.NaN) &&
    device.boot.trial !== 'pending' &&
    device.journalReported

/** Runs one deployment to its end, disturbed; every check that must hold whatever happened is in here. */
async function deployed(goal: Goal, disturbances: readonly Disturbance[] = []): Promise<FakeDevice> {
  const device = new FakeDevice(disturbances)
  device.order(goal)
  await device.runUntil(reportedOn(device, goal.id, 700, 0, -1, 200))
  sound(device)
  return device
}

/** A good slot runs, starts next too, and the twin says the truth about it. */
function sound(device: FakeDevice): void {
  assert.notEqual(device.slots[device.boot.primary], 'broken')
  assert.equal(device.booted, device.boot.primary)
  assert.notEqual(device.boot.trial, 'pending')
  const { lastInstallResult: result, installedUpdateId } = device.status
  if (result?.resultCode !== 700) return
  assert.equal(JSON.parse(installedUpdateId ?? '{}').version, device.system.version)
}

const codesOf = (device: FakeDevice): string => device.status.lastInstallResult?.extendedResultCodes ?? ''
const detailsOf = (device: FakeDevice): string => device.status.lastInstallResult?.resultDetails ?? ''

const happy = await deployed(deploy(V2))
const effects = [...happy.effects]

describe('undisturbed', () => {
  test('the new system runs, is committed and reported', () => {
    assert.equal(happy.system.version, '2.0.0')
    assert.deepEqual(happy.boot, { primary: 'b', trial: 'none', tries: 0 })
    assert.equal(happy.boots, 2)
    assert.equal(happy.installs, 1)
    assert.equal(happy.status.lastInstallResult?.resultCode, 700)
    const states = happy.reports.map(
      each => (each as { deviceUpdate?: { agent?: { state?: number } } }).deviceUpdate?.agent?.state,
    )
    assert.deepEqual(
      states.filter(state => state !== undefined),
      [6, 0],
    )
  })

  test('a system that is already there is reported, not installed', async () => {
    const device = await deployed(deploy({ version: '1.0.0' }))
    assert.equal(device.installs, 0)
    assert.equal(device.status.lastInstallResult?.resultCode, 700)
    assert.equal(device.boots, 1)
  })
})

test('the effects are those of every port, and of what the ports give', async () => {
  const body = effects.indexOf('content.body', effects.indexOf('content.body-end'))
  const runs = [happy, await deployed(deploy(V2), [{ at: body, how: 'cutBefore' }]), await deployed(deploy(PANICS))]
  runs.push(await deployed(deploy({ version: '2.0.0', findings: ['unit web.service failed'] })))
  const seen = new Set(runs.flatMap(device => device.effects.map(effect => effect.replace(/-end$/, ''))))
  const { clock: _, ...contracts } = CONTRACTS
  const all = Object.entries(contracts).flatMap(([port, members]) =>
    Object.keys(members).map(each => `${port}.${each}`),
  )
  // These deployments bring no root key package and no steps but images, and nobody is asked for consent.
  const ofWork = [
    'steps.run',
    'workFolder.has',
    'workFolder.write',
    'workFolder.free',
    'workFolder.keepOnly',
    'host.bootId',
  ]
  assert.deepEqual(
    all.filter(effect => !seen.has(effect)),
    ['keyStore.write', ...ofWork, 'conditions.forgetConsent'],
  )
})

test('what reached the slot before a power cut does not come from the network again', async () => {
  const at = effects.lastIndexOf('content.body-end')
  const device = await deployed(deploy(V2), [{ at, how: 'cutBefore' }])
  assert.ok(device.effects.includes('leftovers.bytes-end'))
  const gets = (all: readonly string[]) => all.filter(effect => effect === 'content.get').length
  assert.ok(gets(device.effects) < 2 * gets(effects) - 1, device.effects.join(' '))
})

describe('one disturbance at each effect of the way to a new system', () => {
  for (const [at, effect] of effects.entries()) {
    for (const how of ['cutBefore', 'cutAfter', 'killed'] as const) {
      test(`${how} ${at} ${effect}: ends on the new system`, async () => {
        const device = await deployed(deploy(V2), [{ at, how }])
        assert.equal(device.status.lastInstallResult?.resultCode, 700)
        assert.equal(device.system.version, '2.0.0')
      })
    }
    if (!errorOf(effect)) continue
    test(`error at ${at} ${effect}: ends on a good system and says which`, async () => {
      const device = await deployed(deploy(V2), [{ at, how: 'error' }])
      const failed = device.status.lastInstallResult?.resultCode !== 700
      assert.equal(device.system.version, failed ? '1.0.0' : '2.0.0')
    })
  }
})

test('two power cuts anywhere', async () => {
  for (let first = FIRST; first < effects.length; first += EVERY) {
    for (let second = first + 1; second < first + effects.length + 6; second += 2) {
      const how = (first + second) % 3 === 0 ? 'cutAfter' : 'cutBefore'
      const device = await deployed(deploy(V2), [
        { at: first, how },
        { at: second, how: 'cutBefore' },
      ])
      assert.equal(device.system.version, '2.0.0', `cuts at ${first} and ${second}`)
    }
  }
})

const BAD: readonly (readonly [string, System, string | undefined, string, RegExp])[] = [
  [
    'never healthy',
    { version: '2.0.0', findings: ['unit web.service failed'] },
    undefined,
    '3210000D',
    /unit web\.service failed/,
  ],
  ['without a way to the hub', { version: '2.0.0', deaf: true }, undefined, '3210000D', /hub was not reached/],
  ['that panics', { version: '2.0.0', panics: true }, undefined, '3210000C', /never started the agent/],
  ['of another version than said', { version: '2.0.1' }, '2.0.0', '32100004', /"2\.0\.1"/],
]

describe('a new system', () => {
  for (const [name, system, criteria, code, details] of BAD) {
    const goal: Goal = { id: 'W1', system, ...(criteria ? { criteria } : {}) }
    test(`${name} is left again, and the twin says why`, async () => {
      const device = await deployed(goal)
      assert.equal(device.system.version, '1.0.0')
      assert.equal(device.boot.trial, 'failed')
      assert.equal(device.status.state, 255)
      assert.equal(codesOf(device), code)
      assert.match(detailsOf(device), details)
      assert.equal(device.installs, 1)
    })

    test(`${name} is left again after a power cut at any effect`, async () => {
      const steps = (await deployed(goal)).effects.length
      for (let at = FIRST; at < steps; at += EVERY) {
        for (const how of ['cutBefore', 'cutAfter', 'killed'] as const) {
          const device = await deployed(goal, [{ at, how }])
          assert.equal(device.system.version, '1.0.0', `${how} ${at}`)
          assert.equal(device.status.state, 255, `${how} ${at}`)
        }
      }
    })
  }
})

describe('another order at each effect', () => {
  const next: Goal = { id: 'W2', system: { version: '3.0.0' } }
  for (const [at, effect] of effects.entries()) {
    test(`a replacement at ${at} ${effect} is what runs in the end`, async () => {
      const device = new FakeDevice([{ at, how: next }])
      device.order(deploy(V2))
      await device.runUntil(reportedOn(device, 'W2', 700))
      sound(device)
      assert.equal(device.system.version, '3.0.0')
    })

    test(`a cancel at ${at} ${effect} ends in rest`, async () => {
      const device = new FakeDevice([{ at, how: { id: 'nodeployment', cancel: true } }])
      device.order(deploy(V2))
      const rest = () => reportedOn(device, 'W1', -1)() || reportedOn(device, 'nodeployment', 200)()
      await device.runUntil(rest)
      sound(device)
      if (device.status.lastInstallResult?.resultCode === -1) assert.equal(device.system.version, '1.0.0')
    })

    test(`a cancel at ${at} ${effect} and a power cut right after it`, async () => {
      for (const cut of [1, 2, 3, 4]) {
        const device = new FakeDevice([
          { at, how: { id: 'nodeployment', cancel: true } },
          { at: at + cut, how: 'cutBefore' },
        ])
        device.order(deploy(V2))
        const rest = () => reportedOn(device, 'W1', -1)() || reportedOn(device, 'nodeployment', 200)()
        await device.runUntil(rest)
        sound(device)
      }
    })
  }
})

describe('a deployment that failed', () => {
  const bad: Goal = { id: 'W1', system: { version: '2.0.0', panics: true } }

  test('is not tried again by reboots, restarts and reconnects', async () => {
    const device = await deployed(bad)
    const { installs, boots } = device
    for (let i = 0; i < 3; i++) await device.runUntil(() => device.connected)
    assert.equal(device.installs, installs)
    assert.equal(device.boots, boots + 3)
    assert.equal(device.boot.primary, 'a')
  })

  test('is tried again with a new retryTimestamp', async () => {
    const device = await deployed(bad)
    device.order({ ...bad, system: { version: '2.0.0' }, retryTimestamp: '2026-01-01T00:00:00Z' })
    await device.runUntil(reportedOn(device, 'W1', 700))
    sound(device)
    assert.equal(device.installs, 2)
    assert.equal(device.system.version, '2.0.0')
  })

  test('is cleared by a cancel', async () => {
    const device = await deployed(bad)
    device.order({ id: 'nodeployment', cancel: true })
    await device.runUntil(reportedOn(device, 'nodeployment', 200))
    assert.equal(device.status.state, 0)
  })
})

describe('a lasting failure', () => {
  // At the end of a body all of its bytes have come.
  const harmless = new Set(['host.failedUnits', 'workNotes.read', 'workNotes.write', 'content.body-end'])
  for (const effect of new Set(effects.filter(each => !harmless.has(each)))) {
    const error = errorOf(effect)
    if (!(error instanceof AgentError)) continue
    // What comes over a network is asked for again, for as long as there is time.
    const code = effect.startsWith('content.') ? EXTENDED_RESULT_CODE.TIMED_OUT : error.extendedResultCode
    test(`of ${effect}: the twin is told, the old system stays`, async () => {
      const device = new FakeDevice()
      device.order(deploy(V2))
      device.disturbEach(effect, 'error')
      await device.runUntil(() => device.status.state === 255)
      assert.equal(device.status.workflow?.id, 'W1')
      assert.equal(codesOf(device), ercText(code))
      assert.deepEqual(device.slots.a, { version: '1.0.0' })
    })
  }
})

test('notes of work that cannot be kept cost nothing', async () => {
  for (const effect of ['workNotes.read', 'workNotes.write']) {
    const device = new FakeDevice()
    device.order(deploy(V2))
    device.disturbEach(effect, 'error')
    await device.runUntil(() => device.status.state === 0)
    assert.equal(device.system.version, '2.0.0')
  }
})

test('units that cannot be listed before the restart cost nothing', async () => {
  const device = new FakeDevice()
  device.order(deploy(V2))
  device.disturbEach('host.failedUnits', 'error')
  await device.runUntil(() => device.status.state === 0)
  assert.equal(device.system.version, '2.0.0')
})

test('units that failed before are known in the trial, whatever is cut or fails on the way there', async () => {
  const ailing = { ...V2, failedUnits: ['modem.service'] }
  const run = async (disturbances: readonly Disturbance[]) => {
    const device = new FakeDevice(disturbances)
    device.slots.a = { version: '1.0.0', failedUnits: ['modem.service'] }
    device.order(deploy(ailing))
    await device.runUntil(reportedOn(device, 'W1', 700, 0))
    sound(device)
    return device
  }
  const undisturbed = await run([])
  // Noted together with the time at which applying began: at an effect that is cut below.
  assert.deepEqual((undisturbed.journal as { failedBefore?: unknown }).failedBefore, ['modem.service'])
  for (const at of undisturbed.effects.keys()) {
    for (const how of ['cutBefore', 'cutAfter', 'killed'] as const) {
      assert.equal((await run([{ at, how }])).system.version, '2.0.0', `${how} ${at} ${undisturbed.effects[at]}`)
    }
    if (!errorOf(undisturbed.effects[at] ?? '')) continue
    const device = await run([{ at, how: 'error' }])
    const failed = device.status.lastInstallResult?.resultCode !== 700
    assert.equal(device.system.version, failed ? '1.0.0' : '2.0.0')
  }
})

test('only a unit that had not failed in the old system is held against the new one', async () => {
  for (const [failedUnits, version] of [
    [['modem.service'], '2.0.0'],
    [['modem.service', 'web.service'], '1.0.0'],
  ] as const) {
    const device = new FakeDevice()
    device.slots.a = { version: '1.0.0', failedUnits: ['modem.service'] }
    device.order(deploy({ ...V2, failedUnits }))
    await device.runUntil(() => device.status.state !== undefined && device.status.state !== 6)
    assert.equal(device.system.version, version)
  }
})

test('an agent that crashes at every install gives up', async () => {
  const device = new FakeDevice()
  device.order(deploy(V2))
  device.disturbEach('installer.install', 'killed')
  await device.runUntil(reportedOn(device, 'W1', 0))
  assert.equal(codesOf(device), '32100060')
  sound(device)
})
