import assert from 'node:assert/strict'
import test from 'node:test'
import { type Attempt, JOURNAL_FORMAT } from '../../src/domain/attempt.ts'
import { type Flight, flightClause, flightKeyOf, MAX_FLIGHT, readFlight } from '../../src/domain/flight.ts'
import { EXTENDED_RESULT_CODE } from '../../src/domain/result-codes.ts'
import { fellBack } from '../../src/workflow/results.ts'

const attempt: Attempt = {
  format: JOURNAL_FORMAT,
  steps: [],
  workflow: { action: 3, id: 'W1' },
  fingerprint: 'F',
  installs: 1,
  reboots: 2,
  installedTo: 'b',
  milestones: [],
  reported: false,
  origin: 'deviceUpdate',
  times: { begun: '' },
}
const KEY = 'ab-1'
const read = (...lines: readonly string[]): Flight | undefined =>
  readFlight([[`pi-adu-flight 1 ${KEY}`, ...lines, ''].join('\n')], KEY)
const details = (flight: Flight | undefined, more: Partial<Attempt> = {}) =>
  fellBack({ ...attempt, ...more }, flight).details
const health = (why: string) => ({ cause: { extendedResultCode: EXTENDED_RESULT_CODE.HEALTH, details: why } })

const UP = ['boot b1 100.5', 'initramfs 103.5', 'root 104.6', 'init 108']
const FAILED = 'the boot script fell back to the old system, all trial boots failed; '

const sentences: readonly [string, Flight | undefined, Partial<Attempt>, string][] = [
  [
    'a kernel panic in the second boot',
    read(
      'boot b0 0',
      'initramfs 3',
      'root 4',
      'end panic one',
      'boot b1 0',
      'initramfs 3',
      'root 5.4',
      'end panic Attempted to kill init!',
    ),
    {},
    `${FAILED}it never started the agent; the last of 2 trial boots reached its root file system after 5 s and never its services, and ended in a kernel panic: Attempted to kill init!`,
  ],
  [
    'an init that hangs',
    read(...UP.slice(0, 3), 'end watchdog'),
    {},
    `${FAILED}it never started the agent; the trial boot reached its root file system after 4 s and never its services, and was ended by the watchdog`,
  ],
  [
    'nobody knows why',
    read(...UP.slice(0, 2), 'end unknown'),
    {},
    `${FAILED}it never started the agent; the trial boot reached its initramfs after 3 s and never its root file system, and ended for an unknown reason: no kernel message was kept`,
  ],
  [
    'a root file system that cannot be mounted',
    read(...UP.slice(0, 2), 'end initramfs cannot mount /dev/vda3'),
    {},
    `${FAILED}it never started the agent; the trial boot reached its initramfs after 3 s and never its root file system, and was given up by its initramfs: cannot mount /dev/vda3`,
  ],
  [
    'an agent that crashes until the trial is restarted',
    read(...UP, 'agent-ended 112 exited 1', 'agent-ended 118 killed SEGV', 'guard 1300', 'end unknown'),
    {},
    `${FAILED}its agent never came to work; the trial boot reached its services after 8 s and never the agent, its agent ended 2 times (killed SEGV), and was restarted because nobody settled it`,
  ],
  [
    'no network',
    read(...UP, 'agent 112', 'end unknown'),
    { milestones: ['agent started'], ...health('not healthy within 60 s of its trial boot: the hub was not reached') },
    'fell back to the old system: not healthy within 60 s of its trial boot: the hub was not reached; the trial boot reached the agent after 12 s and never the network',
  ],
  [
    'a failing health check',
    read(...UP, 'agent 112', 'network 113', 'time 114', 'hub 115', 'check 116 modem failed', 'end unknown'),
    { milestones: ['agent started'], ...health('health check modem failed with exit code 1') },
    'fell back to the old system: health check modem failed with exit code 1; the trial boot reached the hub after 15 s',
  ],
  [
    'another version than ordered, which has no time to reach anything',
    read(...UP, 'agent 112', 'end unknown'),
    { cause: { extendedResultCode: 1, details: 'the new system is version "1"' } },
    'fell back to the old system: the new system is version "1"; the trial boot reached the agent after 12 s',
  ],
  ['no record', undefined, {}, `${FAILED}it never started the agent`],
  ['no record of a judged trial', undefined, health('why'), 'fell back to the old system: why'],
]
for (const [name, flight, more, sentence] of sentences) {
  test(`the sentence after a fall-back: ${name}`, () => {
    assert.equal(details(flight, more), sentence)
  })
}

test('a record is untrusted: torn, foreign and endless lines are passed over, and texts are safe to show', () => {
  assert.equal(readFlight([], KEY), undefined)
  assert.equal(
    readFlight(['', 'pi-adu-flight 2 ab-1\nboot b1 0\n', `pi-adu-flight 1 ab-2\nboot b1 0\n`], KEY),
    undefined,
  )
  assert.equal(read('initramfs 3', 'end panic x'), undefined)
  const [boot, ...more] = read(
    ...['boot b1 0', '\0\0\0', 'initramfs', 'ROOT 4', 'root -1', 'root 1e999', 'root 99999999999', 'init 5'],
    ...[
      `check 6 ${'x'.repeat(1000)}`,
      'check 7 \u001b[31mred\u202e',
      'boot ../x 0',
      '{"a":1}',
      'end panic \u0007a',
      'end panic b',
    ],
  )!
  assert.equal(more.length, 0)
  assert.deepEqual(
    boot?.milestones.map(({ name }) => name),
    ['init', 'check', 'check'],
  )
  assert.ok(Buffer.byteLength(boot?.milestones[1]?.text ?? '') <= 160)
  assert.equal(boot?.milestones[2]?.text, '\\u001b[31mred\\u202e')
  assert.deepEqual(boot?.end, { how: 'panic', text: '\\u0007a' })
  // The last line has no end.
  assert.equal(readFlight([`pi-adu-flight 1 ${KEY}\nboot b1 0\ninit 5\nhub 10`], KEY)?.[0]?.milestones.length, 1)
  const many = read(...Array.from({ length: 50_000 }, (_, at) => `boot b${at} 0`))
  assert.equal(many?.length, 9)
  assert.ok(
    JSON.stringify(read('boot b1 0', ...Array.from({ length: 50_000 }, () => 'init 5'))).length < 6 * MAX_FLIGHT,
  )
})

test('random bytes and cut-off records never throw', () => {
  const whole = [`pi-adu-flight 1 ${KEY}`, ...UP, 'agent-ended 112 exited 1', 'end panic x', ''].join('\n')
  for (let at = 0; at <= whole.length; at += 1) {
    const torn = [whole.slice(0, at), whole.slice(0, at) + '\0'.repeat(9), whole.slice(at)]
    for (const text of torn) {
      const flight = readFlight([text], KEY)
      if (flight) assert.match(flightClause(flight, undefined), /^the trial boot (reached|left)/)
    }
  }
})

test('the key names the attempt, before the trial and after its end', () => {
  const key = flightKeyOf(attempt)
  assert.match(key, /^[0-9a-f]{16}$/)
  assert.equal(flightKeyOf({ ...attempt, reboots: 9, reported: true, milestones: ['x'] }), key)
  for (const other of [
    { workflow: { action: 3, id: 'W2' } },
    { workflow: { action: 3, id: 'W1', retryTimestamp: 'T' } },
    { fingerprint: 'G' },
    { installedTo: 'a' as const },
    { rollback: { to: 'a', version: '1', from: '2' } as const },
  ])
    assert.notEqual(flightKeyOf({ ...attempt, ...other }), key)
})
