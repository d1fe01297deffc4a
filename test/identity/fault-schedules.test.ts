import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { AssignmentFile } from '../../src/adapters/dps/assignment-file.ts'
import type { Outcome, Registration } from '../../src/adapters/dps/onboarding.ts'
import { ProvisionedIdentity } from '../../src/adapters/identity/provisioned.ts'
import type { BenchHub, Fault } from '../bench/hub/hub.ts'
import { aHub, tempDir } from '../hub/support.ts'
import { byKey, connects, dpsClient, hubOf, numbers } from './bench-device.ts'

// The device's real adapters on real sockets, through schedules of faults that a seed makes. Only the device's clock is fake.
// `when-to-register.test.ts` has hundreds of such schedules without sockets.

const SCHEDULES = 32
const CHANGES = 5
const MINUTE = 60_000
const HOUR = 60 * MINUTE

type Plan = Extract<Fault, { kind: 'provisioning' }>
const state = (changes: Record<string, unknown>): Plan['do'] => ({ do: 'state', changes })
const FAULTS: readonly (readonly [Plan['at'], Plan['do']])[] = [
  ['connect', { do: 'cut' }],
  ['connect', { do: 'lose' }],
  ['connect', { do: 'refuse', code: 3 }],
  ['connect', { do: 'refuse', code: 5 }],
  ['subscribe', { do: 'cut' }],
  ['subscribe', { do: 'lose' }],
  ['subscribe', { do: 'refuse' }],
  ['register', { do: 'cut' }],
  ['register', { do: 'lose' }],
  ['register', { do: 'otherRid' }],
  ['register', { do: 'cutAfter' }],
  ['register', { do: 'fail', status: 429, retryAfter: '1800' }],
  ['register', { do: 'fail', status: 500 }],
  ['register', { do: 'fail', status: 401, errorCode: 401002 }],
  ['register', { do: 'fail', status: 400 }],
  ['register', { do: 'fail', status: 409 }],
  ['register', { do: 'answer', body: '<html>', status: 200 }],
  ['register', { do: 'answer', body: 'null' }],
  ['register', { do: 'answer', body: '{}', bytes: 900_000 }],
  ['poll', { do: 'cut' }],
  ['poll', { do: 'lose' }],
  ['poll', { do: 'fail', status: 404 }],
  ['poll', { do: 'fail', status: 429, retryAfter: '1' }],
  ['assigned', state({ assignedHub: 'evil.example/..' })],
  ['assigned', state({ deviceId: 'a/b' })],
  ['assigned', state({ connectionProfile: 'mqttV5' })],
]
const HUB_FAULTS = ['reset', 'notAuthorized', 'unavailable'] as const

/** How a schedule ends, and what the device then says; undefined: it is connected. */
const ENDINGS: readonly (readonly [string, (hub: BenchHub, id: string) => void, RegExp | undefined])[] = [
  ['calm', () => {}, undefined],
  ['calm', () => {}, undefined],
  [
    'disabled',
    (hub, id) => hub.provisioning.setEnrollmentStatus(id, 'disabled'),
    /says that the enrollment of this device is disabled$/,
  ],
  [
    'removed',
    (hub, id) => void hub.provisioning.store.individuals.delete(id),
    /knows no enrollment for this device, or not this id scope: 404 \(code 404201, .*tracking id /,
  ],
  [
    'a hub of another kind',
    (hub, deviceId) => {
      // The service makes the device at the hub before it answers, and the earlier assignment would be good again.
      hub.createDevice(deviceId)
      hub.setStatus(deviceId, 'disabled')
      hub.faults.inject({
        ...{ kind: 'provisioning', deviceId, at: 'assigned', times: 'always' },
        do: { do: 'state', changes: { connectionProfile: 'mqttV5' } },
      })
    },
    /assigned a hub with the connection profile "mqttV5": that hub needs a newer agent$/,
  ],
]

function remove(hub: BenchHub, id: string): void {
  if (hub.hasDevice(id)) hub.deleteDevice(id)
}

interface Registered {
  /** When it began and ended, by the device's clock. */
  readonly from: number
  readonly until: number
  readonly outcome: Outcome
  /** A restart, or an order of a person: a reason to register at once. */
  readonly cause: string
}

/** One device and its schedule. */
async function live(hub: BenchHub, folder: string, seed: number) {
  const random = numbers(seed)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T
  const id = `pi-${seed}`
  const { attestation } = hub.provisioning.enroll({ registrationId: id, attestation: { type: 'symmetricKey' } })
  const auth = byKey(attestation.type === 'symmetricKey' ? (attestation.symmetricKey?.primaryKey ?? '') : '')
  const registered: Registered[] = []
  const said: string[] = []
  const world = { now: 0, restarts: 0, orders: 0, isCalm: false }
  const log = {
    ...{ debug() {}, info() {}, error() {} },
    warn: (event: string, more?: object) => {
      if (event === 'identity.registration-failed') said.push((more as { why: string }).why)
    },
  }
  // Short only while faults are about that answer nothing.
  const [hasty, patient] = [dpsClient(hub, { patience: 700 }), dpsClient(hub, { patience: 5000 })]
  const onboarding = {
    async register(registration: Registration, signal: AbortSignal): Promise<Outcome> {
      const from = world.now
      world.now += random() * 10_000
      const outcome = await (world.isCalm ? patient : hasty).register(registration, signal)
      registered.push({ from, until: world.now, outcome, cause: `${world.restarts} ${world.orders}` })
      return outcome
    },
  }
  const file = new AssignmentFile(join(folder, id), log)
  const clock = { monotonic: () => world.now, now: () => new Date(), random }
  const make = () => {
    const credential = async () => ({ registrationId: id, auth, fingerprint: 'f' })
    const options = { idScope: hub.provisioning.idScope, host: 'dps', credential, onboarding, issuing: undefined }
    return hubOf(hub, new ProvisionedIdentity({ ...options, spread: random() }, file, clock, log), 3000)
  }
  let agent = make()
  let failures = 0
  /** One attempt; what has to happen at least is that it ends, with one line. Returns whether it is connected. */
  const attempt = async (): Promise<boolean> => {
    try {
      await connects(agent)
      failures = 0
      return true
    } catch (error) {
      assert.equal((error as Error).name, 'HubError', `seed ${seed}: ${error}`)
      assert.doesNotMatch((error as Error).message, /\n/)
      said.push((error as Error).message)
      failures += 1
      // The agent's own pauses, and longer ones later, since only the rules about time are of interest.
      world.now += failures < 4 ? 1000 * 2 ** failures : 10 * MINUTE
      return false
    }
  }

  const change = async (): Promise<void> => {
    const which = random()
    const times = 1 + Math.floor(random() * 2)
    if (which < 0.45) {
      const [at, plan] = pick(FAULTS)
      hub.faults.inject({ kind: 'provisioning', deviceId: id, at, do: plan, times })
      // Otherwise the service would rarely be asked.
      await file.order()
      world.orders += 1
    } else if (which < 0.6) {
      hub.faults.inject({ kind: 'refuseConnections', deviceId: id, how: pick(HUB_FAULTS), times: 2 + 4 * times })
    } else if (which < 0.65) {
      hub.faults.inject({ kind: 'twinAnswer', deviceId: id, to: 'get', do: { do: 'fail', status: 429 } })
    } else if (which < 0.8) remove(hub, id)
    else if (which < 0.9) hub.provisioning.setEnrollmentStatus(id, pick(['enabled', 'disabled']))
    else {
      agent = make()
      world.restarts += 1
    }
  }

  for (let step = 0; step < CHANGES; step++) {
    await change()
    for (let tries = 0; tries < 5 && !(await attempt()); tries++) {}
    world.now += random() * 2 * HOUR
  }
  world.isCalm = true
  hub.provisioning.setEnrollmentStatus(id, 'enabled')
  const [what, end, sentence] = ENDINGS[seed % ENDINGS.length]!
  // An ending that a connected device would not notice.
  if (sentence) remove(hub, id)
  end(hub, id)
  let isRight = false
  for (let tries = 0; tries < 80 && !isRight; tries++) {
    said.length = 0
    const isConnected = await attempt()
    assert.ok(!(isConnected && sentence), `seed ${seed}: connected, though ${what}`)
    isRight = sentence ? said.some(line => sentence.test(line.replace(/; again .*$/, ''))) : isConnected
  }
  assert.ok(isRight, `seed ${seed}: ${what}, but the device says ${JSON.stringify(said)}`)
  return { id, registered }
}

/** Milliseconds that must pass after such a registration before the next one. */
function leastPause(outcome: Outcome): number {
  if (outcome.is === 'assigned') return 45 * MINUTE
  if (outcome.is === 'operator') return 3.75 * MINUTE
  // The pauses between the connections are above, in `attempt`.
  return outcome.unsent ? 1000 : Math.max(7500, outcome.retryAfter ?? 0)
}

test(`${SCHEDULES} generated schedules on sockets: connected in the end or with the one right sentence, and never registered more often than the rules say`, async t => {
  const hub = await aHub(t)
  const folder = await tempDir(t)
  const lives = await Promise.all(Array.from({ length: SCHEDULES }, (_, seed) => live(hub, folder, seed)))
  let total = 0
  for (const [seed, { id, registered }] of lives.entries()) {
    total += registered.length
    assert.ok(hub.provisioning.registrationsOf(id) <= registered.length, `seed ${seed}: more than one for each attempt`)
    for (const [index, { from, cause }] of registered.entries()) {
      const before = registered[index - 1]
      if (!before || before.cause !== cause) continue
      const pause = from - before.until
      assert.ok(
        pause >= leastPause(before.outcome),
        `seed ${seed}: again after ${pause / 1000} s: ${JSON.stringify(before.outcome)}`,
      )
    }
  }
  t.diagnostic(`${total} attempts to register`)
  assert.ok(total > 2 * SCHEDULES)
})
