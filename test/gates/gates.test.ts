import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LocalFacts, Lock } from '../../src/domain/gate.ts'
import { GATE_NAMES, type GateName } from '../../src/domain/gate.ts'
import { type GateSettings, type GateState, gatesOf, NO_GATES } from '../../src/gates/gates.ts'
import type { Opening } from '../../src/gates/window.ts'
import { CALM } from './calm.ts'

const NOW = Date.UTC(2026, 10, 27, 12)
const HOUR = 3600_000

const settings = (change: Partial<GateSettings> = {}): GateSettings => ({
  ...NO_GATES,
  ...change,
})
const facts = (change: Partial<LocalFacts> = {}): LocalFacts => ({
  ...CALM,
  ...change,
})
const lock = (change: Partial<Lock> = {}): Lock => ({
  name: 'till',
  gates: GATE_NAMES,
  until: undefined,
  why: undefined,
  ...change,
})
const shut = (): Opening => ({ open: false, until: NOW + HOUR })
const OPEN: GateState = { open: true }

/** The reason for which each gate is closed; '' for an open one. */
const reasons = (s: GateSettings, f: LocalFacts, begun?: number): readonly string[] => {
  const gates = gatesOf(s, f, NOW, begun)
  return GATE_NAMES.map(name => {
    const gate = gates[name]
    return gate.open ? '' : gate.why
  })
}

test('nothing is configured: everything is open', () => {
  assert.deepEqual(gatesOf(settings(), facts({ timeTrusted: false }), NOW, undefined), {
    download: OPEN,
    install: OPEN,
    reboot: OPEN,
  })
})

test('a window closes its own gate, and says when it opens', () => {
  const nights = settings({ windows: { reboot: shut } })
  const { download, install, reboot } = gatesOf(nights, facts(), NOW, undefined)
  assert.deepEqual([download, install], [OPEN, OPEN])
  assert.deepEqual(reboot, {
    open: false,
    why: 'the reboot waits for its time window, which opens at 2026-11-27T13:00Z',
    until: NOW + HOUR,
  })
  const never = settings({ windows: { install: () => ({ open: false, until: undefined }) } })
  assert.deepEqual(reasons(never, facts()), ['', 'the install waits for its time window, which never opens', ''])
  assert.deepEqual(reasons(settings({ windows: { reboot: () => ({ open: true, until: NOW + 1 }) } }), facts()), [
    '',
    '',
    '',
  ])
})

test('a clock that nobody has set opens no window, unless configured; a schedule is not even asked', () => {
  const asked = (): Opening => assert.fail('asked with a clock that cannot be trusted')
  const windows = { reboot: asked }
  const lost = facts({ timeTrusted: false })
  assert.deepEqual(reasons(settings({ windows }), lost), ['', '', 'the reboot waits until the clock is synchronised'])
  assert.deepEqual(reasons(settings({ windows, openWithoutTime: true }), lost), ['', '', ''])
})

test('a lock holds its gates until it ends, and for good while the clock cannot be trusted', () => {
  const held = (change: Partial<Lock>, trusted = true) =>
    reasons(settings(), facts({ locks: [lock(change)], timeTrusted: trusted }))
  assert.deepEqual(held({ gates: ['reboot'], why: 'a customer pays' }), [
    '',
    '',
    'the reboot is locked by till: a customer pays',
  ])
  assert.equal(held({}).filter(Boolean).length, 3)
  assert.deepEqual(held({ until: NOW }), ['', '', ''])
  assert.equal(held({ until: NOW + 1 }).filter(Boolean).length, 3)
  assert.equal(held({ until: NOW }, false).filter(Boolean).length, 3)
})

test('consent is asked for one gate', () => {
  const asks = settings({ consentFor: 'reboot' })
  assert.deepEqual(reasons(asks, facts({ consent: false })), ['', '', 'the reboot waits for consent'])
  assert.deepEqual(reasons(asks, facts({ consent: true })), ['', '', ''])
})

test('the deadline opens windows, locks and consent, but only by a clock that can be trusted', () => {
  const strict = settings({ windows: { download: shut }, consentFor: 'reboot', deadline: HOUR })
  const held = facts({ locks: [lock({ gates: ['install'] })], consent: false })
  assert.equal(reasons(strict, held, NOW - HOUR + 1).filter(Boolean).length, 3)
  assert.deepEqual(reasons(strict, held, NOW - HOUR), ['', '', ''])
  assert.equal(reasons(strict, held, undefined).filter(Boolean).length, 3)
  // It began while the clock said 1970.
  assert.equal(reasons(strict, { ...held, notBefore: NOW - 100 * HOUR }, 0).filter(Boolean).length, 3)
  assert.equal(reasons(strict, { ...held, timeTrusted: false }, NOW - 100 * HOUR).filter(Boolean).length, 3)
})

test('nothing is written at too low a voltage, whatever the deadline', () => {
  const weak = facts({ underVoltage: true })
  const why = 'the supply voltage is too low'
  assert.deepEqual(reasons(settings(), weak), ['', why, why])
  assert.deepEqual(reasons(settings({ deadline: 0 }), weak, 0), ['', why, why])
})

test('what is installed while the battery runs out is lost, whatever the deadline', () => {
  const asks = settings({ batteryBelow: 30, deadline: HOUR })
  const why = 'the battery has 29 %, and an update needs 30 % or a charger'
  assert.deepEqual(reasons(asks, facts({ battery: 29 }), 0), ['', why, why])
  assert.deepEqual(reasons(asks, facts({ battery: 30 })), ['', '', ''])
  assert.deepEqual(reasons(asks, facts({ battery: undefined })), ['', '', ''])
})

test('a metered network holds downloads, a busy device everything, a voltage that was too low what follows: until the deadline', () => {
  const metered = facts({ metered: 'the network is reached by wwan0' })
  const why = 'the download waits for a network that is not metered: the network is reached by wwan0'
  assert.deepEqual(reasons(settings(), metered), [why, '', ''])
  const busy = reasons(settings(), facts({ busy: 'till.service is active' }))
  assert.deepEqual(
    busy,
    GATE_NAMES.map(name => `the ${name} waits until the device is idle: till.service is active`),
  )
  const was = 'the supply voltage was too low since this device was started'
  assert.deepEqual(reasons(settings(), facts({ wasUnderVoltage: true })), ['', was, was])
  for (const change of [{ metered: 'x' }, { busy: 'x' }, { wasUnderVoltage: true }])
    assert.deepEqual(reasons(settings({ deadline: HOUR }), facts(change), NOW - HOUR), ['', '', ''])
})

/** One of everything that keeps an update waiting, by its name; `free`: the settings and facts without it. */
const HOLDERS: Readonly<
  Record<string, { readonly settings?: Partial<GateSettings>; readonly facts?: Partial<LocalFacts> }>
> = {
  windows: { settings: { windows: { download: shut, install: shut, reboot: shut } } },
  consent: { settings: { consentFor: 'install' }, facts: { consent: false } },
  lock: { facts: { locks: [lock()] } },
  metered: { facts: { metered: 'the network is reached by wwan0' } },
  busy: { facts: { busy: 'till.service is active' } },
  battery: { settings: { batteryBelow: 50 }, facts: { battery: 49 } },
  voltage: { facts: { underVoltage: true } },
  pastVoltage: { facts: { wasUnderVoltage: true } },
}
/** The power of this moment, which no deadline overrides. */
const POWER: readonly string[] = ['battery', 'voltage']

test('any set of reasons: each closed gate says why on one line, one reason less closes no gate, and the deadline leaves only power', () => {
  const names = Object.keys(HOLDERS)
  const closedBy = (held: readonly string[], more: { overdue?: boolean; trusted?: boolean }): readonly GateName[] => {
    const found = held.map(name => HOLDERS[name])
    const s: GateSettings = Object.assign(settings({ deadline: HOUR }), ...found.map(each => each?.settings))
    const f: LocalFacts = Object.assign(facts({ timeTrusted: more.trusted ?? true }), ...found.map(each => each?.facts))
    const gates = gatesOf(s, f, NOW, more.overdue ? NOW - 2 * HOUR : NOW - 1)
    return GATE_NAMES.filter(name => {
      const gate = gates[name]
      if (!gate.open) assert.match(gate.why, /^the [^\n]+$/)
      return !gate.open
    })
  }
  for (let set = 0; set < 1 << names.length; set += 1) {
    const held = names.filter((_, i) => (set >> i) & 1)
    for (const trusted of [true, false]) {
      const closed = closedBy(held, { trusted })
      for (const one of held) {
        const rest = held.filter(name => name !== one)
        for (const name of closedBy(rest, { trusted })) assert.ok(closed.includes(name), `${held} without ${one}`)
        assert.ok(
          closedBy([one], { trusted }).every(name => closed.includes(name)),
          `${one} closes less in ${held}`,
        )
      }
    }
    assert.deepEqual(
      closedBy(held, { overdue: true }),
      closedBy(
        held.filter(name => POWER.includes(name)),
        {},
      ),
    )
    assert.deepEqual(closedBy(held, { overdue: true, trusted: false }), closedBy(held, { trusted: false }))
  }
})

test('whatever the facts: a closed gate has a reason of one line, and taking a reason away never closes a gate', () => {
  const choices = <T>(...values: readonly T[]): readonly T[] => values
  for (const schedule of choices(undefined, shut))
    for (const openWithoutTime of choices(true, false))
      for (const consent of choices(undefined, true, false))
        for (const underVoltage of choices(undefined, false, true))
          for (const timeTrusted of choices(true, false))
            for (const locks of choices([], [lock()], [lock({ until: NOW - 1 })]))
              for (const deadline of choices(undefined, HOUR)) {
                const s = settings({
                  windows: schedule ? { download: schedule, install: schedule, reboot: schedule } : {},
                  ...{ openWithoutTime, consentFor: 'install', deadline },
                })
                const f = facts({ consent, underVoltage, timeTrusted, locks })
                const now = gatesOf(s, f, NOW, NOW - 2 * HOUR)
                const freer = [
                  gatesOf({ ...s, windows: {} }, f, NOW, NOW - 2 * HOUR),
                  gatesOf(s, { ...f, locks: [] }, NOW, NOW - 2 * HOUR),
                  gatesOf(s, { ...f, consent: true }, NOW, NOW - 2 * HOUR),
                  gatesOf(s, { ...f, underVoltage: false }, NOW, NOW - 2 * HOUR),
                ]
                for (const name of GATE_NAMES) {
                  const gate = now[name]
                  if (gate.open) for (const each of freer) assert.ok(each[name].open)
                  else assert.match(gate.why, /^the [^\n]+$/)
                }
              }
})
