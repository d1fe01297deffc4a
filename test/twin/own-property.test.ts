import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import type { Attempt, InstallResult } from '../../src/domain/attempt.ts'
import { HubError, HubRejection } from '../../src/domain/errors.ts'
import { mergePatch } from '../../src/hub/merge-patch.ts'
import type { Reported } from '../../src/ports/hub.ts'
import { SILENT } from '../../src/ports/log.ts'
import { localReporter } from '../../src/sources/local/report.ts'
import { type Facts, ownProperty } from '../../src/twin/own-property.ts'
import { OwnReporter } from '../../src/twin/own-reporter.ts'
import { patchTo } from '../../src/twin/patch.ts'
import { type AgentView, NOTHING, PHASES } from '../../src/view/view.ts'
import { VirtualClock } from '../workflow/virtual-clock.ts'

const boot = { booted: 'a', primary: 'a', trial: 'none', tries: 0 } as const
const idle: AgentView = {
  ...NOTHING,
  ...{ phase: 'idle', boot },
  slots: { a: { version: '1.0', partial: false }, b: { version: '2.0', partial: true } },
}
const facts = (view: AgentView, more: Partial<Facts> = {}): Facts => ({
  ...{ view, layers: [], progress: false, hasLocal: false, uptime: 100, now: Date.UTC(2026, 10, 27, 4, 0) },
  ...more,
})

test('an idle device: phase, slots and layers', () => {
  assert.deepEqual(ownProperty(facts(idle, { layers: [{ name: 'vpn', version: '3' }] })), {
    ...{ format: 1, phase: 'idle' },
    slots: { booted: 'a', a: '1.0', b: '2.0' },
    layers: ['vpn 3'],
  })
})

test('a gate: why and until when, which needs a clock that is trusted', () => {
  const waitsFor = { what: 'gate', why: 'install waits for the window Mon-Fri 22:00-06:00', until: 3700 } as const
  const view: AgentView = { ...idle, phase: 'waiting', waitsFor }
  const { what, why } = waitsFor
  assert.deepEqual(ownProperty(facts(view)).waitsFor, { what, why, until: '2026-11-27T05:00Z' })
  assert.deepEqual(ownProperty(facts({ ...view, time: { trusted: false } })).waitsFor, { what, why })
  assert.equal(ownProperty(facts({ ...idle, waitsFor: { what: 'news', why: null, until: null } })).waitsFor, undefined)
})

test('the last result with its cause; one of a local update is left to its own member', () => {
  const lastResult = {
    ...{ workflowId: 'w1', resultCode: 0, extendedResultCodes: ['32100010', '00000000'] },
    ...{ details: 'the trial failed: no hub', reported: true },
  }
  const deployment = {
    ...{ workflowId: 'w1', action: 3, updateId: null, version: null, installs: 1, reboots: 1, installedTo: null },
    ...{ milestones: [], ended: true },
  }
  const ended = (origin: string) => ownProperty(facts({ ...idle, lastResult, deployment: { ...deployment, origin } }))
  const last = { id: 'w1', resultCode: 0, codes: '32100010', cause: 'the trial failed: no hub' }
  assert.deepEqual(ended('deviceUpdate').last, last)
  assert.equal(ended('local').last, undefined)
})

test('a trial that was not committed: what its last boot reached, and how it ended', () => {
  const milestones = [
    { name: 'kernel', seconds: 0, text: null },
    { name: 'network', seconds: 7.6, text: null },
  ]
  const boots = [
    { id: '1', milestones: [], end: null },
    { id: '2', milestones, end: { how: 'panic', text: 'Oops' } },
  ]
  const view = { ...idle, lastTrial: { workflowId: 'w1', summary: 'x', boots } }
  assert.deepEqual(ownProperty(facts(view)).lastTrial, { id: 'w1', reached: 'kernel 0, network 8', end: 'panic' })
})

test('the progress only where it is wanted', () => {
  const progress = { bytes: 499, size: 1000, resumed: 0, since: 0 }
  const view: AgentView = { ...idle, phase: 'installing', progress }
  assert.equal(ownProperty(facts(view)).progress, undefined)
  assert.equal(ownProperty(facts(view, { progress: true })).progress, 49)
})

test('never more than 1 KiB with the certificate, and the phase is always there', () => {
  const certificate = { sha256: 'F'.repeat(64), notAfter: new Date().toISOString(), renewal: 'refused' }
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 2000 }),
    fc.constantFrom('\u0001'.repeat(3000), '\ud83d\ude00'.repeat(900), '"\\'.repeat(999)),
  )
  const views = fc.record({
    hasLocal: fc.boolean(),
    phase: fc.constantFrom(...PHASES),
    ...{ why: text, details: text, id: text, a: text, b: text },
    codes: fc.array(text, { maxLength: 9 }),
    layers: fc.array(fc.record({ name: text, version: text }), { maxLength: 40 }),
  })
  const run = fc.property(views, ({ hasLocal, phase, why, details, id, a, b, codes, layers }) => {
    const result = { workflowId: id, resultCode: 0, extendedResultCodes: codes, details, reported: true }
    const waitsFor = { what: 'gate', why, until: 1e300 } as const
    const slots = { a: { version: a, partial: false }, b: { version: b, partial: false } }
    const boots = [{ id, milestones: [{ name: why, seconds: 1e9, text: null }], end: { how: a, text: b } }]
    const lastTrial = { workflowId: id, summary: details, boots }
    const view: AgentView = { ...idle, phase, waitsFor, lastResult: result, lastTrial, slots }
    const own = ownProperty(facts(view, { layers, hasLocal, progress: true }))
    assert.equal(own.phase, phase)
    const attempt = { workflow: { action: 3, id: id.slice(0, 128) } } as unknown as Attempt
    const ended = {
      resultCode: 0,
      extendedResultCodes: [1, 2, 3, 4],
      resultDetails: details,
    } as unknown as InstallResult
    const { piAdu } = localReporter(undefined).final(attempt, ended) as { piAdu: object }
    const whole = { certificate, ...own, ...(hasLocal ? piAdu : {}) }
    assert.ok(Buffer.byteLength(JSON.stringify(whole)) <= 1024)
  })
  fc.assert(run, { numRuns: 300, seed: 1 })
})

test('a patch makes what is wanted of anything that is shown', () => {
  const member = fc.oneof(fc.integer(), fc.string(), fc.array(fc.string()), fc.dictionary(fc.string(), fc.string()))
  const some = fc.dictionary(fc.constantFrom('a', 'b', 'c'), member)
  fc.assert(
    fc.property(some, some, (shown, wanted) => {
      const patch = patchTo(shown, wanted)
      assert.deepEqual({ ...(mergePatch(shown, patch ?? {}) as object) }, JSON.parse(JSON.stringify(wanted)))
      if (patch === undefined) assert.deepEqual({ ...shown }, { ...wanted })
    }),
    { seed: 1 },
  )
})

const NEVER = new AbortController().signal

/** A reporter with a hub that keeps what it is sent. */
function rig(options: { progress?: boolean } = {}) {
  const clock = new VirtualClock()
  const sent: { at: number; patch: Reported }[] = []
  let twin: unknown = {}
  let fails: Error | undefined
  const uptime = () => clock.monotonic() / 1000
  const own = new OwnReporter(clock, SILENT, { progress: false, layers: [], ...options, uptime })
  const send = async (patch: Reported): Promise<void> => {
    sent.push({ at: clock.monotonic(), patch })
    if (fails) throw fails
    twin = mergePatch(twin, patch)
  }
  return {
    ...{ clock, sent, own },
    twin: () => (twin as { piAdu?: unknown }).piAdu,
    connect: () => own.onConnected(twin, send),
    fail: (error: Error | undefined) => {
      fails = error
    },
    async pass(seconds: number): Promise<void> {
      let isOver = false
      const over = clock.sleep(seconds * 1000, NEVER).then(() => {
        isOver = true
      })
      await clock.passUntil(() => isOver, Number.POSITIVE_INFINITY)
      await over
    },
  }
}

test('nothing is written without a change, and nothing again on the next connection', async () => {
  const { own, sent, connect, pass, twin } = rig()
  own.show(idle)
  connect()
  await pass(5)
  assert.equal(sent.length, 1)
  assert.deepEqual(twin(), { format: 1, phase: 'idle', slots: { booted: 'a', a: '1.0', b: '2.0' } })
  own.show({ ...idle, hub: { connected: true, since: 1, why: null } })
  await pass(3600)
  own.onLost()
  connect()
  await pass(3600)
  assert.equal(sent.length, 1)
})

test('a change within a phase waits for a minute; a new phase that lasts is written at once', async () => {
  const { own, sent, connect, pass, twin } = rig()
  own.show(idle)
  connect()
  await pass(4)
  for (let second = 0; second < 300; second++) {
    own.show({ ...idle, waitsFor: { what: 'retry', why: `try ${second}`, until: null } })
    await pass(1)
  }
  assert.ok(sent.length <= 1 + 5, `${sent.length} messages`)
  const before = sent.length
  own.show({ ...idle, phase: 'installing' })
  await pass(4)
  assert.equal(sent.length, before + 1)
  assert.deepEqual(sent.at(-1)?.patch, { piAdu: { phase: 'installing', waitsFor: null } })
  // Phases that pass at once cost nothing.
  for (const phase of ['activating', 'rebooting', 'trial', 'committing', 'ending', 'reporting', 'idle'] as const) {
    own.show({ ...idle, phase })
    await pass(0.5)
  }
  await pass(5)
  assert.equal(sent.length, before + 2)
  assert.equal((twin() as { phase: string }).phase, 'idle')
})

test('a refused report is not repeated until something changes; a lost one is, on the next connection', async () => {
  const { own, sent, connect, pass, fail, twin } = rig()
  fail(new HubRejection('400'))
  own.show(idle)
  connect()
  await pass(3600)
  assert.equal(sent.length, 1)
  fail(new HubError('no answer'))
  own.show({ ...idle, phase: 'installing' })
  await pass(10)
  assert.equal(sent.length, 2)
  own.onLost()
  fail(undefined)
  connect()
  await pass(10)
  assert.equal(sent.length, 3)
  assert.equal((twin() as { phase: string }).phase, 'installing')
})

test('the progress is written once a minute', async () => {
  const { own, sent, connect, pass } = rig({ progress: true })
  connect()
  for (let percent = 0; percent <= 100; percent++) {
    own.show({ ...idle, phase: 'installing', progress: { bytes: percent, size: 100, resumed: 0, since: 0 } })
    await pass(6)
  }
  assert.ok(sent.length >= 9 && sent.length <= 12, `${sent.length} messages`)
})

test('what others keep in the property stays', async () => {
  const { own, pass } = rig()
  own.show(idle)
  const certificate = { sha256: 'AB', notAfter: '2027' }
  const local = { id: 'x', resultCode: 700 }
  let reported: unknown = { piAdu: { certificate, local, old: 1 } }
  own.onConnected(reported, async patch => {
    reported = mergePatch(reported, patch)
  })
  await pass(5)
  const { piAdu } = reported as { piAdu: Record<string, unknown> }
  assert.deepEqual([piAdu.certificate, piAdu.local], [certificate, local])
  assert.equal(piAdu.old, undefined)
  assert.equal(piAdu.phase, 'idle')
})
