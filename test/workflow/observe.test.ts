import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { AgentError } from '../../src/domain/errors.ts'
import { stepBegun, stepDone } from '../../src/domain/step-record.ts'
import { NO_GATES } from '../../src/gates/gates.ts'
import type { JournalContent } from '../../src/ports/journal.ts'
import type { Action, Observed } from '../../src/workflow/action.ts'
import { begun } from '../../src/workflow/begun.ts'
import { nextAction } from '../../src/workflow/next-action.ts'
import { Memory, type Observable, observe } from '../../src/workflow/observe.ts'
import { record } from '../../src/workflow/perform/trial.ts'
import { TrialHealth } from '../../src/workflow/trial-health.ts'
import { calm } from '../gates/calm.ts'
import { FakeDevice } from './fake-device.ts'
import { VirtualClock } from './virtual-clock.ts'
import { watched } from './watched.ts'

const { signal } = new AbortController()
const update = { url: 'https://content.test/b.swu' }
const asked = { kind: 'once', origin: 'stick', workflow: { action: 3, id: 'S1' }, fingerprint: 'S', update } as const

/** A device in a trial boot of slot b, looked at as the loop does. */
async function inTrial(findings: readonly string[] = []) {
  const device = new FakeDevice()
  device.slots.b = { version: '2.0.0', findings }
  Object.assign(device.boot, { primary: 'b', trial: 'pending', tries: 2 })
  device.booted = 'b'
  const plain = device.plainPorts()
  const attempt = begun(asked, { attempt: undefined, lost: undefined }, new Date(0))
  const steps = stepDone(stepBegun(attempt.steps), 'trial')
  await plain.journal.write({ ...attempt, installs: 1, installedTo: 'b', steps })
  const effects: string[] = []
  const watching = <T extends object>(name: string, port: T): T =>
    watched(name, port, async (effect, work) => {
      effects.push(effect)
      return work()
    })
  const host = watching('host', plain.host)
  const told: string[] = []
  const events = { tell: ({ event }: { event: string }) => void told.push(event) }
  const clock = new VirtualClock()
  const trial = new TrialHealth({ clock, host, events } as never, { timeout: 600_000, retry: 10_000 })
  const twin = { deployment: undefined, isVerifying: false, connected: false }
  const looked: Observable = {
    ports: {
      boot: watching('boot', plain.boot),
      host,
      journal: watching('journal', plain.journal),
      conditions: calm,
      flight: watching('flight', plain.flight),
      clock,
    },
    ...{
      twin,
      process: '1',
      memory: new Memory(),
      once: { request: undefined },
      trial,
      downgrade: { allowDowngrade: true },
      gates: NO_GATES,
    },
  }
  return {
    ...{ effects, trial, twin, told, journal: plain.journal },
    look: () => observe(looked, signal),
    async record(action: Action, seen: Observed, write = plain.journal.write) {
      assert.equal(action.do, 'record')
      const ports = { journal: { write }, flight: plain.flight, log: { warn() {} } }
      const context = { ports, seen, recorded: (milestones: number | undefined) => trial.recorded(milestones) }
      await record(action as Extract<Action, { do: 'record' }>, context as never)
    },
  }
}

const milestonesIn = (content: JournalContent): readonly string[] =>
  content.is === 'attempt' ? content.attempt.milestones : []

describe('a look', () => {
  test('only reads', async () => {
    const { look, effects, twin } = await inTrial(['unit web.service failed'])
    for (let looks = 0; looks < 5; looks++) {
      await look()
      twin.connected = true
    }
    const reads = ['boot.read', 'host.version', 'journal.read', 'host.findings']
    assert.deepEqual(
      effects.filter(effect => !reads.includes(effect)),
      [],
    )
  })

  test('leaves the host alone until what was reached is recorded', async () => {
    const device = await inTrial()
    const seen = await device.look()
    assert.deepEqual(seen.milestones, ['agent started'])
    assert.ok(!device.effects.includes('host.findings'))
    await device.record(nextAction(seen), seen)
    assert.deepEqual(milestonesIn(await device.journal.read()), ['agent started'])
    const next = await device.look()
    assert.deepEqual(next.milestones, [])
    assert.ok(device.effects.includes('host.findings'))
    assert.equal(nextAction(next).do, 'wait')
    device.twin.connected = true
    const reached = await device.look()
    assert.deepEqual(reached.milestones, ['hub reached'])
    await device.record(nextAction(reached), reached)
    assert.equal(nextAction(await device.look()).do, 'commit')
  })

  test('a finding is told once and recorded once', async () => {
    const device = await inTrial(['unit web.service failed'])
    device.twin.connected = true
    for (let looks = 0; looks < 6; looks++) {
      const seen = await device.look()
      const action = nextAction(seen)
      if (action.do === 'record') await device.record(action, seen)
    }
    const story = ['agent started', 'hub reached', 'unit web.service failed']
    assert.deepEqual(milestonesIn(await device.journal.read()), story)
    assert.deepEqual(device.told, ['trial.finding'])
  })

  test('what cannot be recorded holds nothing up, and is tried again', async () => {
    const device = await inTrial()
    device.twin.connected = true
    const full = async () => Promise.reject(new AgentError('JOURNAL', 'disk full'))
    for (let looks = 0; looks < 3; looks++) {
      const seen = await device.look()
      await device.record(nextAction(seen), seen, full)
      assert.equal(nextAction(await device.look()).do, 'commit')
    }
    const seen = await device.look()
    await device.record(nextAction(seen), seen)
    assert.deepEqual(milestonesIn(await device.journal.read()), ['agent started', 'hub reached'])
  })
})

test('a request is not seen before it is known what the twin asks for', async () => {
  const device = new FakeDevice()
  const { boot, host, journal, flight } = device.plainPorts()
  const once = { request: asked }
  const trial = {} as TrialHealth
  for (const isVerifying of [true, false]) {
    const twin = { deployment: undefined, isVerifying, connected: true }
    const ports = { boot, host, journal, flight, conditions: calm, clock: new VirtualClock() }
    const seen = await observe(
      {
        ports,
        twin,
        process: '1',
        memory: new Memory(),
        once,
        trial,
        downgrade: { allowDowngrade: true },
        gates: NO_GATES,
      },
      signal,
    )
    assert.equal(seen.request, isVerifying ? undefined : asked)
  }
})
