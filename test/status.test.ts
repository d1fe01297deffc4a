import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { readInstalledLayers } from '../src/adapters/files/layers.ts'
import { describeLast } from '../src/cli/status/last.ts'
import { describeStatus, doing, type Seen } from '../src/cli/status/text.ts'
import { type Attempt, JOURNAL_FORMAT } from '../src/domain/attempt.ts'
import type { BootState } from '../src/domain/slot.ts'
import { remember, type SlotMemory } from '../src/domain/slot-memory.ts'
import { moodOf } from '../src/lights/mood.ts'
import { afterEvent, afterLook, afterMemory } from '../src/view/changes.ts'
import { type AgentView, NOTHING } from '../src/view/view.ts'

const attempt: Attempt = {
  format: JOURNAL_FORMAT,
  steps: [],
  workflow: { action: 3, id: 'W1' },
  fingerprint: 'F',
  updateId: { provider: 'contoso', name: 'toaster', version: '2.0' },
  installedCriteria: '2.0',
  installs: 1,
  reboots: 1,
  installedTo: 'b',
  milestones: ['agent started'],
  reported: false,
  origin: 'deviceUpdate',
  times: { begun: '2026-01-01T00:00:00.000Z' },
}
const now = new Date('2026-11-26T14:05:59Z')
/** What a device shows of itself, and when it is asked. */
interface Facts {
  readonly agent: { readonly pid: number; readonly version: string; readonly since: number } | undefined
  readonly hub: AgentView['hub']
  readonly uptime: number
  readonly version: string
  readonly boot: BootState
  readonly slots: SlotMemory
  readonly attempt: Attempt | undefined
  readonly layers?: Seen['layers']
  readonly journalDamage: string | undefined
}

const agent = { pid: 1, version: '0.1.0', since: 100 }
const hub = { connected: true, since: 160, why: null }
const boot = { booted: 'a', primary: 'a', trial: 'none', tries: 0 } as const
const fresh: Facts = {
  agent,
  hub,
  uptime: 100,
  version: '1.0',
  boot,
  slots: { versions: {} },
  attempt: undefined,
  journalDamage: undefined,
}

/** The view comes about as in the agent. */
function described(change: Partial<Facts>): string {
  const { slots, uptime, boot, version, attempt, journalDamage, layers = [], ...rest } = { ...fresh, ...change }
  const waitsFor = { what: 'news' } as const
  const view = afterLook(
    afterMemory(NOTHING, slots),
    { boot, version, attempt, journalDamage, phase: 'idle', waitsFor },
    uptime,
  )
  return describeStatus({ ...view, agent: rest.agent ?? null, hub: rest.hub }, { now, uptime, layers })
}

test('a new device', () => {
  assert.equal(
    described({ uptime: 100 + 3600 + 120 }),
    'agent       running for 1 h 2 min (version 0.1.0)\n' +
      'hub         connected since 2026-11-26 13:04 UTC (1 h 1 min)\n' +
      'doing       nothing; waits for a deployment\n' +
      'slot a      1.0, booted, primary\n' +
      'slot b      version unknown\n' +
      'last update none known\n' +
      'deployment  none known\n',
  )
})

test('a device without slots says so', () => {
  const view = afterLook(NOTHING, { ...fresh, phase: 'idle', waitsFor: { what: 'news' } }, 100)
  const text = describeStatus(view, { now, uptime: 100, hasSlots: false })
  assert.match(text, /^slots {7}none: this device takes packages and scripts, no images\nlast update/m)
  assert.doesNotMatch(text, /^slot [ab]/m)
})

test('no agent, no connection', () => {
  assert.match(described({ agent: undefined }), /^agent {7}not running\nslot a/)
  const hub = { connected: false, since: 100, why: 'getaddrinfo ENOTFOUND hub.example.com' }
  const text = described({ hub, uptime: 100 + 90_000 })
  assert.match(text, /^hub {9}not connected for 1 d 1 h: getaddrinfo ENOTFOUND hub\.example\.com$/m)
  assert.match(described({ agent: { ...agent, since: 100 } }), /^agent {7}running for 0 s /)
})

test('a journal that is lost is not one that there never was, and one that is damaged is said to be', () => {
  const why = 'journal.json does not match its checksum'
  assert.match(
    described({ journalDamage: why }),
    /^journal {5}damaged: journal\.json does not match its checksum\ndeployment {2}none known$/m,
  )
  assert.match(
    described({ journalDamage: why, attempt }),
    /^journal {5}damaged: .*\ndeployment {2}W1: contoso toaster 2\.0$/m,
  )
  assert.doesNotMatch(described({ attempt }), /^journal/m)
})

test('what goes on, and what it waits for', () => {
  const look = {
    boot,
    version: '1.0',
    attempt,
    journalDamage: undefined,
    phase: 'installing',
    waitsFor: undefined,
  } as const
  const begun = afterEvent(afterLook(NOTHING, look, 5), { event: 'install.begin', slot: 'b', file: 'a' }, 5)
  assert.equal(doing(begun, { uptime: 6 }), 'installing: 0.0 MiB')
  const half = afterEvent(begun, { event: 'install.progress', bytes: 5 << 20, of: 10 << 20 }, 7)
  assert.equal(doing(half, { uptime: 8 }), 'installing: 5.0 MiB of 10.0 MiB, 50 %')
  const failed = afterEvent(half, { event: 'action.failed', action: 'install', why: 'no route', retryInMs: 5000 }, 9)
  assert.equal(doing(failed, { uptime: 9 }), 'installing: 5.0 MiB of 10.0 MiB, 50 %; tries again in 5 s: no route')

  const trial = { ...look, phase: 'trial', waitsFor: { what: 'health', within: 90_000 } } as const
  const looked = afterLook(half, trial, 10)
  assert.equal(looked.progress, null)
  const found = afterEvent(looked, { event: 'trial.finding', finding: 'web.service failed' }, 20)
  const again = afterLook(found, { ...trial, waitsFor: { what: 'health', within: 70_000.3 } }, 30)
  assert.deepEqual(again.waitsFor, { what: 'health', why: 'web.service failed', until: 100 }, 'the limit stays')
  assert.equal(
    doing(again, { uptime: 40 }),
    'trying the new system; waits for its health checks, for another 1 min at most: web.service failed',
  )
})

test('a trial', () => {
  const trial = { booted: 'b', primary: 'b', trial: 'pending', tries: 1 } as const
  const text = described({ version: '2.0', boot: trial, attempt, slots: { versions: { a: '1.0', b: '2.0' } } })
  assert.match(text, /slot b {6}2\.0, booted, primary, on trial, 1 more start\n/)
  assert.match(text, /slot a {6}1\.0\n/)
  assert.match(text, /progress {4}installed to slot b\n/)
  assert.match(text, /trial boots agent started\n/)
})

test('a fall-back', () => {
  const result = { resultCode: 0, extendedResultCodes: [0x3210000d], resultDetails: 'unit web.service failed' }
  const text = described({
    boot: { ...boot, trial: 'failed' },
    attempt: { ...attempt, result, reported: true },
    slots: { versions: { a: '1.0', b: '2.0' } },
  })
  assert.match(text, /slot b {6}2\.0, its trial failed\n/)
  assert.match(text, /result {6}0, 3210000D, reported\ndetails {5}unit web\.service failed\n/)
})

test('80 columns, whatever there is to say; a terminal is shown nothing that it obeys', () => {
  const evil = 'hub\u001b[2J\u009b31mred\u202eder\nagent       running for ever\u0007\u2028x'
  const milestones = Array.from({ length: 40 }, (_, i) => `start ${i}: unit of-a-long-name-${i}.service has failed`)
  const result = { resultCode: 0, extendedResultCodes: [1, 2], resultDetails: `${evil} ${'word '.repeat(400)}` }
  const text = described({
    hub: { connected: false, since: 100, why: evil },
    attempt: {
      ...attempt,
      milestones,
      result,
      workflow: { action: 3, id: evil },
      updateId: { provider: evil, name: 'x'.repeat(200), version: evil },
      installedCriteria: evil,
    },
    slots: {
      versions: { b: evil },
      lastUpdate: { workflowId: 'W', fingerprint: 'F', name: evil, time: now.toISOString() },
    },
  })
  for (const line of text.split('\n')) assert.ok(line.length <= 80, line)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there
  assert.doesNotMatch(text, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]/)
  assert.equal(text.match(/^agent/gm)?.length, 1)
  assert.match(text, /\\u001b\[2J\\u009b31mred\\u202eder agent/)
  assert.match(text, /trial boots 37 earlier → start 37: /)
  assert.ok(text.split('\n').length < 40, text)
})

test('what each slot holds, from what the journal says', () => {
  const { installedTo: _, ...begun } = attempt
  const steps: readonly (readonly [Attempt, 'a' | 'b', SlotMemory['versions']])[] = [
    [{ ...begun, installs: 0 }, 'a', { a: '1.0', b: '0.9' }],
    [begun, 'a', { a: '1.0', b: null }],
    [attempt, 'a', { a: '1.0', b: '2.0' }],
    [attempt, 'b', { a: '1.0', b: '2.0' }],
    [
      { ...attempt, workflow: { action: 3, id: 'W2' }, installedCriteria: '3.0', installedTo: 'a' },
      'b',
      { a: '3.0', b: '2.0' },
    ],
  ]
  let memory: SlotMemory = { versions: { a: '1.0', b: '0.9' } }
  for (const [written, booted, versions] of steps) {
    memory = remember(memory, written, booted, now)
    assert.deepEqual(memory, { versions })
  }
  const text = described({ slots: { versions: { a: '1.0', b: null } } })
  assert.match(text, /slot b {6}partly written: an installation began and did not end\n/)
})

test('the last good update stays, whatever comes after it', () => {
  const applied = { resultCode: 700, extendedResultCodes: [0], resultDetails: '' }
  const good = remember({ versions: {} }, { ...attempt, result: applied }, 'b', now)
  const wanted = { workflowId: 'W1', fingerprint: 'F', name: 'contoso toaster 2.0', time: now.toISOString() }
  assert.deepEqual(good.lastUpdate, wanted)
  const again = remember(good, { ...attempt, result: applied, reported: true }, 'b', new Date())
  assert.deepEqual(again.lastUpdate, wanted)
  const failed = { resultCode: 0, extendedResultCodes: [1], resultDetails: 'no' }
  const next = { ...attempt, workflow: { action: 3, id: 'W2' }, result: failed }
  assert.deepEqual(remember(again, next, 'b', now).lastUpdate, wanted)
  assert.match(described({ slots: good }), /last update contoso toaster 2\.0, 2026-11-26 14:05 UTC\n/)
})

test('the layers of the system are named with their versions, and an image without layers has no line', async () => {
  const layers = [
    { name: 'hello', version: '1.0.0' },
    { name: 'site', version: '2.1.0' },
  ]
  assert.match(described({ layers }), /^layers {6}hello 1\.0\.0, site 2\.1\.0$/m)
  assert.doesNotMatch(described({}), /^layers/m)
  const dir = await mkdtemp(join(tmpdir(), 'layers-'))
  const file = join(dir, 'layers.json')
  try {
    assert.deepEqual(await readInstalledLayers(file), [])
    for (const [content, expected] of [
      [JSON.stringify(layers.map(layer => ({ ...layer, sha256: '00' }))), layers],
      ['[{"name": 1}, null, {"name": "a", "version": "1.0.0"}]', [{ name: 'a', version: '1.0.0' }]],
      ['{', []],
      ['{}', []],
    ] as const) {
      await writeFile(file, content)
      assert.deepEqual(await readInstalledLayers(file), expected)
    }
  } finally {
    await rm(dir, { recursive: true })
  }
})

test('a certificate that could not be renewed is shown until it has been', () => {
  const why = 'the hub refused the renewed certificate 3 times'
  const running: AgentView = { ...NOTHING, agent }
  const refused = afterEvent(running, { event: 'identity.renewal-refused', why }, 200)
  const seen = { now, uptime: 200 }
  assert.match(describeStatus(refused, seen), /^certificate +not renewed: the hub refused the renewed certificate 3\s/m)
  assert.doesNotMatch(describeStatus(afterEvent(refused, { event: 'identity.renewed' }, 300), seen), /certificate/)
})

test('a stick that cannot be used is shown until it is taken away', () => {
  const why = 'the file system (vfat) of sda1 is damaged'
  const running: AgentView = { ...NOTHING, agent }
  const refused = afterEvent(running, { event: 'stick.refused', why }, 200)
  const seen = { now, uptime: 200 }
  assert.match(describeStatus(refused, seen), /^stick +cannot be used: the file system \(vfat\) of sda1 is damaged$/m)
  assert.equal(moodOf(refused, 200), 'failed')
  assert.doesNotMatch(describeStatus(afterEvent(refused, { event: 'stick.away' }, 300), seen), /stick/)
})

test('the last trial: its result, how far each boot came, and nothing that a terminal obeys', async () => {
  const result = { resultCode: 0, extendedResultCodes: [0x3210000c], resultDetails: 'fell back' }
  const flight = [
    { id: 'b1', milestones: [{ name: 'initramfs', seconds: 3.1 }], end: { how: 'watchdog', text: '' } },
    {
      id: 'b2',
      milestones: [
        { name: 'initramfs', seconds: 3.04 },
        { name: 'check', seconds: 12.5, text: 'modem \u001b[31m failed' },
      ],
      end: { how: 'panic', text: 'Attempted to kill init!' },
    },
  ]
  const look = { boot, version: '1.0', attempt: { ...attempt, result }, journalDamage: undefined, flight }
  const view = afterLook(NOTHING, { ...look, phase: 'idle', waitsFor: undefined }, 100)
  assert.equal(
    (await describeLast(view)).replace(/^(?:deployment|criteria|result|details|trial boots).*\n/gm, ''),
    'trial       the last of 2 trial boots reached its initramfs after 3 s and never\n' +
      '            its root file system, and ended in a kernel panic: Attempted to kill\n' +
      '            init!\n' +
      'boot 1      3.1 s  initramfs\n' +
      '            end: watchdog\n' +
      'boot 2      3.0 s  initramfs\n' +
      '            12.5 s  check modem \\u001b[31m failed\n' +
      '            end: panic: Attempted to kill init!\n',
  )
  assert.doesNotMatch(await describeLast({ ...view, lastTrial: null }), /trial {7}|boot 1/)
})
