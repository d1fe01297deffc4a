import assert from 'node:assert/strict'
import test from 'node:test'
import type { Assignment } from '../../src/adapters/dps/assignment-file.ts'
import { type Outcome, REGISTRATION_LIMIT, type Registration } from '../../src/adapters/dps/onboarding.ts'
import { afterConnect, afterRegistration, FRESH, nextStep } from '../../src/adapters/dps/when-to-register.ts'
import { type Credential, ProvisionedIdentity } from '../../src/adapters/identity/provisioned.ts'
import { numbers } from './bench-device.ts'

// When a device registers: a table, and hundreds of generated days in which the hub, the service and people do what they can.

const MINUTE = 60_000
const HOUR = 60 * MINUTE

test('nothing is registered twice without a reason', () => {
  const standing = { ...FRESH, notBefore: 10 }
  const refused = { ...FRESH, refusals: 3, refusedSince: 0 }
  const away = { ...FRESH, unreachableSince: 0 }
  for (const [what, known, ordered, state, now, expected] of [
    ['nothing is known', 'nothing', false, FRESH, 0, 'register'],
    ['nothing is known, but the service wants quiet', 'nothing', false, standing, 9, 'wait'],
    ['that is over', 'nothing', false, standing, 10, 'register'],
    ['all is as it was', 'current', false, FRESH, 0, 'connect'],
    ['all is as it was, much later', 'current', false, FRESH, 1000 * HOUR, 'connect'],
    ['another credential', 'outdated', false, FRESH, 0, 'register'],
    ['another credential, quiet', 'outdated', false, standing, 0, 'connect'],
    ['an order', 'current', true, FRESH, 0, 'register'],
    ['refused for a moment', 'current', false, refused, 5 * MINUTE - 1, 'connect'],
    ['refused', 'current', false, refused, 5 * MINUTE, 'register'],
    ['refused twice only', 'current', false, { ...refused, refusals: 2 }, HOUR, 'connect'],
    ['refused, registered an hour ago', 'current', false, { ...refused, notBefore: HOUR }, 59 * MINUTE, 'connect'],
    ['away for a while', 'current', false, away, 30 * MINUTE - 1, 'connect'],
    ['away', 'current', false, away, 30 * MINUTE, 'register'],
  ] as const) {
    assert.equal(nextStep(known, ordered, state, now, 0), expected, what)
  }
  // The device with the longest patience.
  for (const [state, minutes] of [
    [refused, 80],
    [away, 90],
  ] as const) {
    assert.equal(nextStep('current', false, state, minutes * MINUTE - 1, 1), 'connect')
    assert.equal(nextStep('current', false, state, minutes * MINUTE, 1), 'register')
  }
})

test('pauses: an hour after success, the wish of the service, slower after what a person must mend', () => {
  const after = (outcome: Outcome, failures = 0, random = 0.5) =>
    afterRegistration('nothing', { ...FRESH, failures }, outcome, 0, random).notBefore
  const to = { hub: 'h', deviceId: 'd', substatus: undefined, chain: undefined }
  assert.deepEqual(
    [after({ is: 'assigned', to }, 0, 0), after({ is: 'assigned', to }, 0, 1)],
    [0.75 * HOUR, 1.25 * HOUR],
  )
  const operator = (failures: number) => after({ is: 'operator', why: '' }, failures) / MINUTE
  assert.deepEqual([0, 1, 2, 9].map(operator), [5, 15, 60, 60])
  const transient = (failures: number, retryAfter?: number, random?: number) =>
    after({ is: 'transient', why: '', retryAfter }, failures, random) / 1000
  assert.deepEqual(
    [0, 1, 2, 30].map(failures => transient(failures)),
    [10, 20, 40, 3600],
  )
  for (const random of [0, 0.5, 0.999]) assert.ok(transient(0, 300_000, random) >= 300)
  // A device that was installed before its network, however long before: the pauses of the connection are enough.
  const unsent: Outcome = { is: 'transient', why: '', retryAfter: undefined, unsent: true }
  assert.equal(after(unsent, 30), 0)
  // With an assignment it is the hub that is tried, and the service is asked now and then.
  assert.equal(afterRegistration('current', { ...FRESH, failures: 9 }, unsent, 0, 0.5).notBefore, HOUR)
})

type HubState = 'ok' | 'refuses' | 'away'
const SERVICE = ['ok', 'away', 'busy', 'quiet', 'refuses'] as const
const QUIET = 20 * MINUTE

interface Registered {
  readonly at: number
  readonly outcome: Outcome
  /** Credential, order or restart: a reason to register at once. */
  readonly cause: string
}

/** A device, its hub and the service over `hours`, as a seed has it; calm for the last three hours. */
async function live(seed: number, hours: number) {
  const random = numbers(seed)
  let now = 0
  const world: { hub: HubState; service: (typeof SERVICE)[number] } = { hub: 'ok', service: 'ok' }
  let credential = 1
  /** Where the service assigns the device to, and so where alone the hub takes it. */
  let home = 'hub-1'
  let order: string | undefined
  let orders = 0
  let restarts = 0
  let stored: Assignment | undefined
  const registered: Registered[] = []
  let connected: string | undefined
  const flags = { calm: false }

  const file = {
    read: async () => stored,
    async write(assignment: Assignment): Promise<void> {
      stored = assignment
    },
    readOrder: async () => order,
    removeOrder: async (done: string) => {
      if (order === done) order = undefined
    },
  }
  const clock = { monotonic: () => now, now: () => new Date(now), random }
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const onboarding = {
    async register(): Promise<Outcome> {
      now += random() * 10_000
      const outcome: Outcome = {
        ok: { is: 'assigned', to: { hub: home, deviceId: 'pi', substatus: undefined, chain: undefined } } as const,
        away: { is: 'transient', why: 'away', retryAfter: undefined, unsent: true } as const,
        busy: { is: 'transient', why: 'busy', retryAfter: undefined } as const,
        quiet: { is: 'transient', why: 'busy', retryAfter: QUIET } as const,
        refuses: { is: 'operator', why: 'disabled' } as const,
      }[world.service]
      registered.push({ at: now, outcome, cause: `${credential} ${orders} ${restarts}` })
      return outcome
    },
  }
  const make = () =>
    new ProvisionedIdentity(
      {
        ...{ idScope: '0ne1', host: 'dps' },
        credential: async (): Promise<Credential> => ({
          registrationId: 'pi',
          auth: { kind: 'symmetricKey', key: `key-${credential}`, keyName: undefined },
          fingerprint: `print-${credential}`,
        }),
        onboarding,
        issuing: undefined,
        spread: random(),
      },
      file,
      clock,
      log,
    )
  let identity = make()

  const change = () => {
    const which = random()
    if (which < 0.3) world.hub = (['ok', 'refuses', 'away'] as const)[Math.floor(random() * 3)] ?? 'ok'
    else if (which < 0.6) world.service = SERVICE[Math.floor(random() * SERVICE.length)] ?? 'ok'
    else if (which < 0.75) home = `hub-${1 + Math.floor(random() * 3)}`
    else if (which < 0.85) credential += 1
    else if (which < 0.9) {
      orders += 1
      order = `${orders}`
    } else {
      identity = make()
      restarts += 1
    }
  }

  const end = hours * HOUR
  let nextChange = random() * 2 * HOUR
  let failures = 0
  while (now < end) {
    if (!flags.calm && now > end - 4 * HOUR) {
      flags.calm = true
      world.hub = 'ok'
      world.service = 'ok'
    }
    if (!flags.calm && now >= nextChange) {
      change()
      nextChange = now + random() * random() * 3 * HOUR
    }
    connected = undefined
    try {
      const { hub: where } = await identity.get(new AbortController().signal)
      const takes = world.hub === 'ok' && where === home
      if (takes) {
        await identity.tried('connected')
        connected = where
        failures = 0
        // Connected until something changes that the device would notice.
        now += Math.min(20 * HOUR, Math.max(nextChange - now, MINUTE))
        continue
      }
      if (world.hub === 'away') await identity.tried('unreachable')
      else await identity.tried('refused')
    } catch (error) {
      assert.equal((error as Error).name, 'HubError')
      assert.match((error as Error).message, /^no identity: (away$|(away|busy|disabled|not registered); again )/)
    }
    failures += 1
    now += Math.min(300_000, 1000 * 2 ** Math.min(failures - 1, 20)) * (0.5 + random() / 2)
  }
  return { registered, connected, home, stored }
}

test('300 generated days: always connected in the end, and never registered more often than the rules say', async () => {
  let total = 0
  for (let seed = 1; seed <= 300; seed++) {
    const { registered, connected, home, stored } = await live(seed, 24)
    total += registered.length
    assert.equal(connected, home, `seed ${seed}: not connected in the end`)
    assert.equal(stored?.hub, home, `seed ${seed}`)
    for (const [index, { at, cause }] of registered.entries()) {
      const before = registered[index - 1]
      // A restart forgets pauses, and a new credential or an order overrules them.
      if (!before || before.cause !== cause) continue
      const { outcome } = before
      const least =
        outcome.is === 'assigned'
          ? 45 * MINUTE
          : outcome.is === 'operator'
            ? 3.75 * MINUTE
            : outcome.unsent
              ? 500
              : Math.max(7500, outcome.retryAfter ?? 0)
      assert.ok(
        at - before.at >= least,
        `seed ${seed}: again after ${(at - before.at) / 1000} s: ${JSON.stringify(outcome)}`,
      )
    }
  }
  assert.ok(total > 300)
})

const NOTHING_STORED = {
  read: async () => undefined,
  write: async () => {},
  readOrder: async () => undefined,
  removeOrder: async () => {},
}

test('a thousand devices: one registration each, none after a hub outage of ten minutes, one after an hour', async () => {
  for (const [outage, expected] of [
    [10 * MINUTE, 1],
    [60 * MINUTE, 2],
  ] as const) {
    for (let device = 0; device < 1000; device++) {
      const random = numbers(device)
      let now = 0
      let count = 0
      const identity = new ProvisionedIdentity(
        {
          ...{ idScope: '0ne1', host: 'dps' },
          credential: async () => ({
            registrationId: `pi-${device}`,
            auth: { kind: 'symmetricKey', key: 'k', keyName: undefined },
            fingerprint: 'f',
          }),
          onboarding: {
            register: async () => {
              count += 1
              return { is: 'assigned', to: { hub: 'hub', deviceId: 'pi', substatus: undefined, chain: undefined } }
            },
          },
          issuing: undefined,
          spread: 0,
        },
        NOTHING_STORED,
        { monotonic: () => now, now: () => new Date(now), random },
        { debug() {}, info() {}, warn() {}, error() {} },
      )
      const { signal } = new AbortController()
      await identity.get(signal)
      await identity.tried('connected')
      now = 5 * HOUR
      for (let failures = 1; now < 5 * HOUR + outage; failures++) {
        await identity.get(signal)
        await identity.tried('unreachable')
        now += Math.min(300_000, 1000 * 2 ** Math.min(failures - 1, 20)) * (0.5 + random() / 2)
      }
      await identity.get(signal)
      await identity.tried('connected')
      assert.equal(count, expected, `device ${device}`)
    }
  }
})

test('a service that assigns for ever: the hub is tried with what is known before a trial boot is over', async () => {
  const { signal } = new AbortController()
  const inputs = { idScope: '0ne1', registrationId: 'pi', host: 'dps', credential: 'before' }
  const stored = { hub: 'hub', deviceId: 'pi', substatus: undefined, inputs, at: '' }
  for (const known of [stored, undefined]) {
    let now = 0
    const limits: unknown[] = []
    const register = async ({ limit }: Registration): Promise<Outcome> => {
      limits.push(limit)
      now += limit ?? REGISTRATION_LIMIT
      return { is: 'transient', why: 'not assigned', retryAfter: 120_000 }
    }
    const auth = { kind: 'symmetricKey', key: 'k', keyName: undefined } as const
    const identity = new ProvisionedIdentity(
      {
        ...{ idScope: '0ne1', host: 'dps', onboarding: { register }, issuing: undefined, spread: 0 },
        credential: async () => ({ registrationId: 'pi', auth, fingerprint: 'now' }),
      },
      { read: async () => known, write: async () => {}, readOrder: async () => 'order', removeOrder: async () => {} },
      { monotonic: () => now, now: () => new Date(now), random: () => 0 },
      { debug() {}, info() {}, warn() {}, error() {} },
    )
    if (known) {
      assert.equal((await identity.get(signal)).hub, 'hub')
      assert.ok(now <= 100_000, `${now} ms`)
      await identity.tried('unreachable')
      now += 119_000
      assert.equal((await identity.get(signal)).hub, 'hub')
      assert.equal(limits.length, 1, 'the service asked for two minutes')
      now += 1000
      await identity.get(signal)
      assert.equal(limits.length, 2)
    } else {
      await assert.rejects(identity.get(signal), /not assigned/)
      assert.deepEqual(limits, [undefined], 'all the time there is')
    }
  }
})

test('after an outage of all, a thousand devices register spread over an hour', async () => {
  const { signal } = new AbortController()
  for (const [outcome, first, last, most] of [
    ['unreachable', 30, 96, 40],
    ['refused', 5, 86, 40],
  ] as const) {
    const perMinute = new Map<number, number>()
    for (let device = 0; device < 1000; device++) {
      const random = numbers(device)
      let now = 0
      const at: number[] = []
      const register = async (): Promise<Outcome> => {
        at.push(now)
        return { is: 'assigned', to: { hub: 'hub', deviceId: 'pi', substatus: undefined, chain: undefined } }
      }
      const auth = { kind: 'symmetricKey', key: 'k', keyName: undefined } as const
      const credential = async () => ({ registrationId: 'pi', auth, fingerprint: 'f' })
      const identity = new ProvisionedIdentity(
        { idScope: '0ne1', host: 'dps', credential, onboarding: { register }, issuing: undefined, spread: random() },
        NOTHING_STORED,
        { monotonic: () => now, now: () => new Date(now), random },
        { debug() {}, info() {}, warn() {}, error() {} },
      )
      await identity.get(signal)
      await identity.tried('connected')
      const outage = 5 * HOUR
      now = outage
      for (let failures = 1; at.length < 2; failures++) {
        await identity.tried(outcome)
        now += Math.min(300_000, 1000 * 2 ** Math.min(failures - 1, 20)) * (0.5 + random() / 2)
        await identity.get(signal)
      }
      const minute = Math.floor(((at[1] ?? 0) - outage) / MINUTE)
      assert.ok(minute >= first && minute < last, `${outcome}: device ${device} after ${minute} min`)
      perMinute.set(minute, (perMinute.get(minute) ?? 0) + 1)
    }
    const peak = Math.max(...perMinute.values())
    assert.ok(peak <= most, `${outcome}: ${peak} registrations in one minute`)
  }
})

/** DPS accepts about this many registrations in a minute, for a whole instance (PROTOCOL.md, "When to register"). */
const QUOTA = 200

test('10,000 devices that their hub refuses for half a day stay within the quota, whatever the service answers', t => {
  const to = { hub: 'hub', deviceId: 'pi', substatus: undefined, chain: undefined }
  for (const outcome of [
    { is: 'assigned', to },
    { is: 'operator', why: 'refused the credential' },
  ] as const) {
    const perMinute = new Map<number, number>()
    let most = 0
    for (let device = 0; device < 10_000; device++) {
      const random = numbers(device)
      const spread = random()
      let standing = FRESH
      let registrations = 0
      for (let now = 0, failures = 0; now < 12 * HOUR; failures++) {
        if (nextStep('current', false, standing, now, spread) === 'register') {
          standing = afterRegistration('current', standing, outcome, now, random())
          registrations += 1
          const minute = Math.floor(now / MINUTE)
          perMinute.set(minute, (perMinute.get(minute) ?? 0) + 1)
        }
        standing = afterConnect(standing, 'refused', now)
        now += Math.min(300_000, 1000 * 2 ** Math.min(failures, 20)) * (0.5 + random() / 2)
      }
      most = Math.max(most, registrations)
      // It never gives up.
      assert.ok(registrations >= 3, `device ${device}: ${registrations}`)
    }
    const peak = Math.max(...perMinute.values())
    t.diagnostic(`${outcome.is}: at most ${peak} in one minute, and ${most} of one device`)
    assert.ok(peak <= QUOTA, `${outcome.is}: ${peak} registrations in one minute`)
    assert.ok(most <= 12, `${outcome.is}: ${most} registrations of one device`)
  }
})
