import assert from 'node:assert/strict'
import test from 'node:test'
import type { GateName, LocalFacts } from '../../src/domain/gate.ts'
import { NO_GATES } from '../../src/gates/gates.ts'
import { CALM } from '../gates/calm.ts'
import { type Disturbance, FakeDevice } from './fake-device.ts'

/** What must not be done while a gate is closed. */
const HELD: Readonly<Record<GateName, readonly string[]>> = {
  download: ['content.get', 'installer.install'],
  install: ['installer.install'],
  reboot: ['boot.arm', 'boot.start'],
}

/** A device whose `gate` is locked for the first `looks` looks after the deployment came. */
class LockedDevice extends FakeDevice {
  readonly seen: { readonly at: number; readonly closed: boolean }[] = []

  constructor(gate: GateName, looks: number, disturbances: readonly Disturbance[] = []) {
    super(disturbances)
    let left = looks
    Object.defineProperty(this, 'facts', {
      get: (): LocalFacts => {
        const isHeld = left > 0 && this.boot.trial === 'none'
        if (isHeld) left -= 1
        this.seen.push({ at: this.effects.length, closed: isHeld })
        const lock = { name: 'till', gates: [gate], until: undefined, why: 'a customer pays' }
        return isHeld ? { ...CALM, locks: [lock] } : CALM
      },
    })
  }

  /** Whether an effect of `gate` came after a look that found it closed. */
  broke(gate: GateName): string | undefined {
    return this.effects.find((effect, at) => {
      if (!HELD[gate].includes(effect)) return false
      return this.seen.filter(each => each.at <= at).at(-1)?.closed === true
    })
  }
}

async function deployed(gate: GateName, disturbances: readonly Disturbance[] = []): Promise<LockedDevice> {
  const device = new LockedDevice(gate, 12, disturbances)
  device.order({ id: 'W1', system: { version: '2.0.0' } })
  await device.runUntil(() => device.status.state === 0 && device.journalReported && device.boot.trial === 'none')
  assert.equal(device.status.lastInstallResult?.resultCode, 700)
  assert.equal(device.system.version, '2.0.0')
  assert.equal(device.broke(gate), undefined)
  return device
}

for (const gate of ['download', 'install', 'reboot'] as const) {
  test(`a closed gate holds the ${gate}, says so once in the twin, and the update goes on when it opens`, async () => {
    const device = await deployed(gate)
    assert.ok(device.seen.filter(({ closed }) => closed).length >= 10)
    const waiting = device.reports.filter(each =>
      JSON.stringify(each).includes(`the ${gate} is locked by till: a customer pays`),
    )
    assert.equal(waiting.length, 1)
    assert.equal(device.installs, 1)
    assert.ok(device.told.some(each => 'phase' in each && each.phase === 'waiting' && each.waitsFor?.what === 'gate'))
  })
}

test('a power cut or a dead agent at each effect: a closed gate holds all the same', async () => {
  for (const gate of ['install', 'reboot'] as const) {
    const count = (await deployed(gate)).effects.length
    for (let at = 0; at < count; at += 1)
      for (const how of ['cutBefore', 'killed'] as const) await deployed(gate, [{ at, how }])
  }
})

/** Facts that close gates, by their name. */
const HOLDERS: Readonly<Record<string, { readonly facts: Partial<LocalFacts>; readonly gates: readonly GateName[] }>> =
  {
    calm: { facts: {}, gates: [] },
    metered: { facts: { metered: 'the network is reached by wwan0' }, gates: ['download'] },
    busy: { facts: { busy: 'till.service is active' }, gates: ['download', 'install', 'reboot'] },
    battery: { facts: { battery: 10 }, gates: ['install', 'reboot'] },
    pastVoltage: { facts: { wasUnderVoltage: true }, gates: ['install', 'reboot'] },
    voltage: { facts: { underVoltage: true }, gates: ['install', 'reboot'] },
  }

/** A device around which something else goes on at each look, for a while. */
class RestlessDevice extends FakeDevice {
  readonly #looks: { readonly at: number; readonly closed: readonly GateName[] }[] = []
  readonly seen = new Set<string>()

  constructor(next: () => string, disturbances: readonly Disturbance[]) {
    super(disturbances)
    this.gates = { ...NO_GATES, batteryBelow: 30 }
    Object.defineProperty(this, 'facts', {
      get: (): LocalFacts => {
        const name = this.#looks.length < 40 ? next() : 'calm'
        const { facts, gates } = HOLDERS[name] ?? assert.fail(name)
        this.seen.add(name)
        this.#looks.push({ at: this.effects.length, closed: gates })
        return { ...CALM, ...facts }
      },
    })
  }

  /** Effects that came although the look before them had found their gate closed. */
  get broke(): readonly string[] {
    return this.effects.filter((effect, at) => {
      const closed = this.#looks.findLast(look => look.at <= at)?.closed ?? []
      return closed.some(gate => HELD[gate].includes(effect))
    })
  }
}

test('whatever goes on around it, and wherever the power is cut: nothing passes a closed gate, and every trial is settled', async () => {
  const seen = new Set<string>()
  const names = Object.keys(HOLDERS)
  for (let seed = 1; seed <= 24; seed += 1) {
    let state = seed
    // Numerical Recipes' generator: the same runs each time.
    const random = (below: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    const hows = ['cutBefore', 'cutAfter', 'killed', 'error'] as const
    const disturbances = Array.from({ length: 3 }, () => ({ at: random(160), how: hows[random(4)] ?? 'killed' }))
    const device = new RestlessDevice(() => names[random(names.length)] ?? 'calm', disturbances)
    const isBad = seed % 3 === 0
    device.order({ id: 'W1', system: { version: '2.0.0', ...(isBad ? { findings: ['web.service failed'] } : {}) } })
    await device.runUntil(() => [0, 255].includes(device.status.state ?? 6) && device.journalReported)
    assert.deepEqual(device.broke, [], `seed ${seed}`)
    assert.notEqual(device.boot.trial, 'pending', `seed ${seed}: a trial that nobody settles`)
    if (isBad) assert.equal(device.system.version, '1.0.0', `seed ${seed}`)
    for (const name of device.seen) seen.add(name)
  }
  assert.deepEqual([...seen].sort(), [...names].sort())
})

test('a lock holds neither the settlement of a trial nor a fall-back', async () => {
  const device = new FakeDevice()
  device.order({ id: 'W1', system: { version: '2.0.0', findings: ['unit web.service failed'] } })
  const lock = { name: 'till', gates: ['download', 'install', 'reboot'], until: undefined, why: undefined } as const
  Object.defineProperty(device, 'facts', {
    get: () => (device.boot.trial === 'none' ? CALM : { ...CALM, locks: [lock] }),
  })
  // It is armed when the lock comes: the reboot waits until the plug is pulled. Then the trial begins, and must end.
  let pulled = false
  await device.runUntil(() => {
    if (!pulled && device.effects.filter(each => each === 'conditions.read').length > 12) pulled = true
    return pulled
  })
  await device.runUntil(() => device.status.state === 255 && device.journalReported)
  assert.equal(device.system.version, '1.0.0')
  assert.equal(device.boot.trial, 'failed')
})

test('a cancel ends an update that waits; a newer deployment takes its place', async () => {
  const lock = { name: 'till', gates: ['install'], until: undefined, why: undefined } as const
  const device = new FakeDevice()
  device.facts = { ...CALM, locks: [lock] }
  device.order({ id: 'W1', system: { version: '2.0.0' } })
  const looks = (): number => device.effects.filter(each => each === 'conditions.read').length
  await device.runUntil(() => looks() > 5)
  device.order({ id: 'W1', cancel: true })
  await device.runUntil(() => device.status.lastInstallResult?.resultCode === -1 && device.journalReported)
  device.order({ id: 'W2', system: { version: '2.0.0' } })
  const before = looks()
  await device.runUntil(() => looks() > before + 5)
  device.order({ id: 'W3', system: { version: '3.0.0' } })
  await device.runUntil(() => looks() > before + 12)
  device.facts = CALM
  await device.runUntil(
    () => device.status.state === 0 && device.status.workflow?.id === 'W3' && device.journalReported,
  )
  assert.equal(device.system.version, '3.0.0')
  assert.equal(device.installs, 1)
})

test('consent from before the update does not count, and is used up by it', async () => {
  const device = new FakeDevice()
  device.gates = { ...NO_GATES, consentFor: 'reboot' }
  device.facts = { ...CALM, consent: true }
  device.order({ id: 'W1', system: { version: '2.0.0' } })
  const looks = (): number => device.effects.filter(each => each === 'conditions.read').length
  await device.runUntil(() => looks() > 15)
  assert.equal(device.effects.includes('boot.arm'), false)
  assert.match(JSON.stringify(device.reported), /the reboot waits for consent/)
  device.facts = { ...CALM, consent: true }
  await device.runUntil(() => device.status.state === 0 && device.journalReported)
  assert.equal(device.system.version, '2.0.0')
  assert.equal(device.facts.consent, false)
})

const REBOOT = { name: 'till', gates: ['reboot'], until: undefined, why: 'a customer pays' } as const

test('a method that asks for a reboot is refused by a lock, however old the last update is', async () => {
  const device = new FakeDevice()
  device.gates = { ...NO_GATES, deadline: 3600_000 }
  device.order({ id: 'W1', system: { version: '2.0.0' } })
  await device.runUntil(() => device.status.state === 0 && device.journalReported)
  device.facts = { ...CALM, locks: [REBOOT] }
  const { boots } = device
  let asked = false
  await device.runUntil(() => {
    if (!asked && device.connected && device.passed > 3 * 3600_000) {
      asked = true
      device.call('reboot', null)
    }
    return device.answers.length > 0
  })
  assert.equal(device.answers[0]?.status, 409)
  assert.match(String(device.answers[0]?.payload), /a customer pays/)
  assert.equal(device.boots - boots, 1)
})

test('a lock whose end has passed, while the clock cannot be trusted, is looked at every ten seconds and not more', async () => {
  const device = new FakeDevice()
  device.facts = { ...CALM, timeTrusted: false, locks: [{ ...REBOOT, gates: ['install'], until: 1 }] }
  device.order({ id: 'W1', system: { version: '2.0.0' } })
  const looks = (): number => device.effects.filter(each => each === 'conditions.read').length
  await device.runUntil(() => looks() > 3)
  const [before, begun] = [looks(), device.passed]
  await device.runUntil(() => device.passed - begun > 60_000)
  // The agent was started again in between.
  assert.ok(looks() - before <= 12, `${looks() - before} looks`)
})

test('a journal that cannot be written to does not hold up a fall-back', async () => {
  const device = new FakeDevice()
  device.order({ id: 'W1', system: { version: '2.0.0', findings: ['unit web.service failed'] } })
  await device.runUntil(() => device.booted === 'b')
  device.disturbEach('journal.write', 'error')
  await device.runUntil(() => device.booted === 'a')
  device.disturbEach('journal.write', 'none')
  await device.runUntil(() => device.status.state === 255 && device.journalReported)
  assert.equal(device.boot.primary, 'a')
})
