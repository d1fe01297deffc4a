import assert from 'node:assert/strict'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import xterm from '@xterm/headless'
import { execa } from 'execa'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { eventText, picture, rateOf, type Sample, sampled } from '../../src/cli/watch/text.ts'
import { afterEvent, afterLook } from '../../src/view/changes.ts'
import type { AgentEvent, ToldEvent } from '../../src/view/event.ts'
import { NOTHING } from '../../src/view/view.ts'
import { aServer, configFor, until } from './support.ts'

const PROGRAM = join(repositoryRoot(), 'dist/src/main.js')
const MIB = 1 << 20
const boot = { booted: 'a', primary: 'a', trial: 'none', tries: 0 } as const
const look = {
  boot,
  version: '1.0',
  attempt: undefined,
  journalDamage: undefined,
  phase: 'installing',
  waitsFor: undefined,
} as const

test('the picture has a bar, the rate of the last seconds and the time that is left', () => {
  const event: ToldEvent = {
    ...{ event: 'install.begin', slot: 'b', file: 'a.swu', size: 60 * MIB },
    ...{ n: 1, time: '2026-11-26T14:05:59.123Z', uptime: 100 },
  }
  const begun = afterEvent(afterLook(NOTHING, look, 100), event, 100)
  const view = {
    ...afterEvent(begun, { event: 'install.progress', bytes: 30 * MIB, of: 60 * MIB }, 110),
    agent: { version: '0.1.0', pid: 1, since: 40 },
    hub: { connected: true, since: 50, why: null },
  }
  const samples: readonly Sample[] = [100, 105, 110].map(uptime => ({ uptime, bytes: (uptime - 95) * 2 * MIB }))
  const seen = { now: new Date('2026-11-26T14:06:09Z'), uptime: 110 }
  assert.equal(
    `${picture(view, seen, samples, [event]).join('\n')}\n`,
    `agent       running for 1 min 10 s (version 0.1.0)
hub         connected since 2026-11-26 14:05 UTC (1 min)
doing       installing: 30.0 MiB of 60.0 MiB, 50 %
            ███████████████░░░░░░░░░░░░░░░  50 %  2.0 MiB/s, 15 s left
slot a      1.0, booted, primary
slot b      version unknown
last update none known
deployment  none known

14:05:59    a.swu is installed to slot b, 60.0 MiB
`,
  )
  const long = { ...event, file: 'x'.repeat(300) }
  const hub = { connected: false, since: 1, why: 'no\u001b[2J '.repeat(90) }
  const wide = picture({ ...view, hub }, seen, samples, [long, long])
  for (const row of wide) assert.ok([...row].length <= 80, row)
  assert.ok(!wide.join('').includes('\u001b'))
})

test('the rate is that of the last ten seconds; a stall and another installation are seen', () => {
  let samples: readonly Sample[] = []
  for (let uptime = 0; uptime <= 20; uptime++) samples = sampled(samples, { uptime, bytes: Math.min(uptime, 10) })
  assert.equal(samples[0]?.uptime, 10)
  assert.equal(rateOf(samples), 0)
  samples = sampled(samples, { uptime: 21, bytes: 3 })
  assert.equal(rateOf(samples), undefined)
  assert.equal(rateOf(sampled(samples, { uptime: 23, bytes: 7 })), 2)
})

test('every event has its words', () => {
  const events: readonly AgentEvent[] = [
    { event: 'reboot', why: 'trial' },
    { event: 'install.end', slot: 'b', ms: 65_000 },
    { event: 'result', workflowId: 'W', resultCode: 0, extendedResultCodes: '32100004', resultDetails: 'why' },
  ]
  const words = events.map(event => eventText({ ...event, n: 1, time: '', uptime: 0 }))
  assert.deepEqual(words, ['reboot into the new system', 'installed to slot b in 1 min 5 s', 'result 0, 32100004: why'])
})

test('watch prints JSON lines, over restarts of the agent, until it is stopped', async t => {
  const first = await aServer(t)
  const config = await configFor(first.path)
  const watching = execa('node', [PROGRAM, 'watch', '--json', '--config', config], { reject: false, timeout: 60_000 })
  let text = ''
  watching.stdout.on('data', chunk => (text += chunk))
  first.publisher.tell({ event: 'activated', slot: 'b' })
  await until(() => text.includes('"view"'), 'the view')
  first.close()
  const second = await aServer(t, { dir: dirname(first.path) })
  second.publisher.tell({ event: 'committed', slot: 'b', version: '2.0' })
  await until(() => text.includes('committed'), 'the next agent')
  watching.kill('SIGINT')
  const { exitCode } = await watching
  assert.equal(exitCode, 0)
  const names = text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line).event ?? 'view')
  assert.equal(names.filter(name => name === 'activated').length, 1)
})

test('on a terminal of 80 columns the picture is drawn in place, and Ctrl-C leaves it', async t => {
  const { path, publisher } = await aServer(t)
  const config = await configFor(path)
  publisher.saw(look)
  publisher.tell({ event: 'install.begin', slot: 'b', file: 'a.swu', size: 60 * MIB })
  const command = `stty rows 40 cols 80; exec node ${PROGRAM} watch --config ${config}`
  const running = execa('script', ['-qec', command, '/dev/null'], { stdin: 'pipe', reject: false, timeout: 60_000 })
  let text = ''
  running.stdout.on('data', chunk => (text += chunk))
  await until(() => text.includes('0 %'), 'the bar')
  publisher.tell({ event: 'install.progress', bytes: 30 * MIB, of: 60 * MIB })
  await until(() => text.includes('50 %'), 'the bar to move')
  running.stdin.write('\x03')
  const { exitCode } = await running
  assert.equal(exitCode, 0)
  const terminal = new xterm.Terminal({ cols: 80, rows: 40, allowProposedApi: true })
  await new Promise<void>(done => terminal.write(text, done))
  const rows = Array.from(
    { length: 40 },
    (_, row) => terminal.buffer.active.getLine(row)?.translateToString(true) ?? '',
  )
  terminal.dispose()
  const screen = rows.join('\n')
  assert.equal(screen.match(/^agent {7}running for/gm)?.length, 1, screen)
  assert.match(screen, /\ndoing {7}installing: 30\.0 MiB of 60\.0 MiB, 50 %\n {12}█{15}░{15} {2}50 %/)
  assert.match(screen, /\n\d\d:\d\d:\d\d {4}a\.swu is installed to slot b, 60\.0 MiB\n/)
})
