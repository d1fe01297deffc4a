import assert from 'node:assert/strict'
import test from 'node:test'
import type { Request } from '../../src/domain/deployment.ts'
import type { Loop, OnceSource, Outcome } from '../../src/sources/once-source.ts'
import type { Reporter } from '../../src/sources/reporter.ts'
import { FakeDevice, OPTIONS } from './fake-device.ts'

/** An origin that exists in this test only: a stick, say. It asks once at each start until it was heard. */
class Stick implements OnceSource {
  request: Request | undefined
  readonly outcomes: Outcome[] = []

  constructor(loop: Loop, url: string, isDone: () => boolean) {
    if (isDone()) return
    const update = { url, version: '2.0.0' }
    this.request = { kind: 'once', origin: 'stick', workflow: { action: 3, id: 'S1' }, fingerprint: 'stick', update }
    loop.wake()
  }

  take(request: Request): boolean {
    return request === this.request
  }

  settle(request: Request, outcome: Outcome): void {
    if (request !== this.request) return
    this.request = undefined
    this.outcomes.push(outcome)
  }
}

const reporter: Reporter = {
  hold: 0,
  stage: (_, stage) => ({ stick: { stage } }),
  final: (_, { resultCode, phase }) => ({ stick: { stage: 'ended', resultCode, phase: phase ?? null } }),
  reduced: (_, { resultCode }) => ({ stick: { stage: 'ended', resultCode } }),
}

function plugged(device: FakeDevice, url: string): Outcome[] {
  const outcomes: Outcome[] = []
  const isDone = (): boolean => outcomes.some(({ is }) => is === 'begun')
  device.reporters = { ...OPTIONS.reporters, stick: reporter }
  device.once = {
    stick: loop => {
      const stick = new Stick(loop, url, isDone)
      const { settle } = stick
      stick.settle = (request, outcome) => {
        outcomes.push(outcome)
        settle.call(stick, request, outcome)
      }
      return stick
    },
  }
  return outcomes
}

const ofStick = (device: FakeDevice) => (device.reported as { stick?: Record<string, unknown> }).stick ?? {}
const hasEnded = (device: FakeDevice) => (): boolean => ofStick(device).stage === 'ended' && device.journalReported

test('an origin that nobody knows brings a system, with its own reports', async () => {
  const device = new FakeDevice()
  const outcomes = plugged(device, device.publish({ version: '2.0.0' }, 's.swu'))
  await device.runUntil(hasEnded(device))
  assert.deepEqual(outcomes, [{ is: 'begun' }])
  assert.equal(device.system.version, '2.0.0')
  assert.deepEqual(ofStick(device), { stage: 'ended', resultCode: 700 })
  const stages = device.reports.map(each => (each as { stick?: { stage: string } }).stick?.stage).filter(Boolean)
  assert.deepEqual(stages, ['waiting', 'downloading', 'downloaded', 'applying', 'rebooting', 'ended'])
})

test('one that brings a system which panics is told that the trial failed', async () => {
  const device = new FakeDevice()
  plugged(device, device.publish({ version: '2.0.0', panics: true }, 's.swu'))
  await device.runUntil(hasEnded(device))
  assert.deepEqual(ofStick(device), { stage: 'ended', resultCode: 0, phase: 'trial' })
  assert.equal(device.system.version, '1.0.0')
})

test('a deployment takes its place, or follows it: what the twin wants is what runs in the end', async () => {
  const device = new FakeDevice()
  plugged(device, device.publish({ version: '2.0.0' }, 's.swu'))
  device.order({ id: 'W1', system: { version: '3.0.0' } })
  await device.runUntil(() => device.system.version === '3.0.0' && device.journalReported)
  const { stage, resultCode, phase } = ofStick(device)
  assert.equal(stage, 'ended')
  assert.ok(resultCode === 700 || phase === 'download', JSON.stringify(ofStick(device)))
})

test('it may ask for a reboot, and its own reporter is told', async () => {
  const device = new FakeDevice()
  const outcomes: Outcome[] = []
  device.reporters = { ...OPTIONS.reporters, stick: { ...reporter, reboot: () => ({ stick: { stage: 'reboot' } }) } }
  device.once = {
    stick: () => {
      const request = { kind: 'reboot', origin: 'stick' } as const
      const isOpen = () => outcomes.length === 0
      return {
        get request() {
          return isOpen() ? request : undefined
        },
        take: isOpen,
        settle: (_, outcome) => void outcomes.push(outcome),
      }
    },
  }
  await device.runUntil(() => device.boots === 2 && device.connected)
  assert.deepEqual(outcomes, [{ is: 'begun' }])
  assert.deepEqual(ofStick(device), { stage: 'reboot' })
  assert.equal('iothubDM' in (device.reported as object), false)
})

const probe = new FakeDevice()
plugged(probe, probe.publish({ version: '2.0.0' }, 's.swu'))
await probe.runUntil(hasEnded(probe))
for (const [at, effect] of probe.effects.entries()) {
  test(`a power cut at ${at} ${effect}: the system is there in the end, and that is reported`, async () => {
    const device = new FakeDevice([{ at, how: 'cutBefore' }])
    const outcomes = plugged(device, device.publish({ version: '2.0.0' }, 's.swu'))
    await device.runUntil(hasEnded(device))
    assert.equal(device.system.version, '2.0.0')
    assert.ok(outcomes.length > 0)
  })
}
