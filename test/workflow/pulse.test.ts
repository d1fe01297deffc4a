import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import type { Ports } from '../../src/ports/ports.ts'
import { Pulse } from '../../src/timing/pulse.ts'
import { Agent } from '../../src/workflow/agent.ts'
import { FakeDevice, OPTIONS } from './fake-device.ts'
import { VirtualClock } from './virtual-clock.ts'

const MINUTE = 60_000
const limits = { limit: 10 * MINUTE, allowed: { 'installer.install': 30 * MINUTE } }
const never = new AbortController().signal
const hanging = (): Promise<never> => new Promise(() => {})

/** A clock that is set by hand. */
class Clock {
  at = 0
  monotonic(): number {
    return this.at
  }
  sleep = hanging
}

describe('a pulse', () => {
  test('misses what hangs, and names it', () => {
    const clock = new Clock()
    const pulse = new Pulse(clock, limits)
    const ports = pulse.watching({ boot: { read: hanging } } as unknown as Ports)
    void ports.boot.read(never)
    clock.at = 9 * MINUTE
    assert.equal(pulse.stuck, undefined)
    clock.at = 11 * MINUTE
    assert.match(pulse.stuck ?? '', /nothing has happened for 660 s; it waits for: boot\.read/)
  })

  test('bears a pause that was asked for, and no longer', () => {
    const clock = new Clock()
    const pulse = new Pulse(clock, limits)
    void pulse.watching({ clock } as unknown as Ports).clock.sleep(1440 * MINUTE, never)
    clock.at = 1449 * MINUTE
    assert.equal(pulse.stuck, undefined)
    clock.at = 1451 * MINUTE
    assert.match(pulse.stuck ?? '', /clock\.sleep/)
  })

  test('bears a long call as long as something goes on in it', async () => {
    const clock = new Clock()
    const pulse = new Pulse(clock, limits)
    const content = { get: async () => ({}) }
    const ports = pulse.watching({ installer: { install: hanging }, content } as unknown as Ports)
    void ports.installer.install([] as never, 'b', never)
    for (; clock.at < 480 * MINUTE; clock.at += 25 * MINUTE) {
      assert.equal(pulse.stuck, undefined)
      await ports.content.get('', { origin: 'twin', first: 0, last: 1 }, never)
    }
    clock.at += 31 * MINUTE
    assert.match(pulse.stuck ?? '', /installer\.install/)
  })
})

describe('an agent', () => {
  const log = { debug() {}, info() {}, warn() {}, error() {} }

  async function stuckWith(
    change: (ports: ReturnType<FakeDevice['plainPorts']>) => object,
    minutes: number,
    device = new FakeDevice(),
  ) {
    const plain = device.plainPorts()
    const clock = new VirtualClock()
    const ports = { ...plain, ...change(plain), clock, log, events: { tell() {}, saw() {} } } as unknown as Ports
    const agent = new Agent(ports, OPTIONS)
    const stop = new AbortController()
    const running = agent.run(stop.signal).catch(() => {})
    const seen: (string | undefined)[] = []
    const watch = async () => {
      for (let minute = 0; minute < minutes; minute++) {
        await clock.sleep(MINUTE, never)
        seen.push(agent.stuck)
      }
    }
    const watched = watch()
    await clock.passUntil(() => seen.length === minutes, 10 * 86_400_000)
    await watched
    stop.abort(new Error('over'))
    return { seen, running }
  }

  test('that has nothing to do for two days is not stuck', async () => {
    const { seen, running } = await stuckWith(() => ({}), 2880)
    assert.deepEqual([...new Set(seen)], [undefined])
    await running
  })

  test('whose look at the boot state hangs is stuck, though its hub connection lives', async () => {
    const { seen } = await stuckWith(({ boot }) => ({ boot: { ...boot, read: hanging } }), 20)
    assert.match(seen.at(-1) ?? '', /boot\.read/)
    assert.equal(seen[5], undefined)
  })

  test('whose installation hangs is stuck, though its gates are looked at', async () => {
    const device = new FakeDevice()
    device.order({ id: 'W1', system: { version: '2.0.0' } })
    const { seen } = await stuckWith(() => ({ installer: { install: hanging } }), 20, device)
    assert.match(seen.at(-1) ?? '', /installer\.install/)
    assert.equal(seen[5], undefined)
  })

  test('whose connecting hangs is stuck, though its loop waits', async () => {
    const { seen } = await stuckWith(() => ({ hub: { connect: hanging } }), 20)
    assert.match(seen.at(-1) ?? '', /hub\.connect/)
  })

  test('without a hub for two days is not stuck', async () => {
    const { seen, running } = await stuckWith(plain => {
      return {
        hub: {
          connect: async () => Promise.reject(new (await import('../../src/domain/errors.ts')).HubError('away')),
          plain,
        },
      }
    }, 2880)
    assert.deepEqual([...new Set(seen)], [undefined])
    await running
  })
})
