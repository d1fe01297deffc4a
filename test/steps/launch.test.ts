import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { groupLauncher } from '../../src/steps/launch.ts'
import { settingsIn } from '../../src/steps/settings.ts'
import { unitCommand } from '../../src/steps/unit.ts'
import { unitEnding } from '../../src/steps/unit-ending.ts'
import { NEVER } from './support.ts'

const { limits } = settingsIn('{}', 'x')

async function aFolder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'launch-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  return dir
}

/** One that nobody has waited for yet has ended (proc_pid_stat(5)). */
const isAlive = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

test('a program gets its input and says how it ended, line by line', async t => {
  const launch = groupLauncher(await aFolder(t), limits)
  const lines: string[] = []
  const onLine = (line: string, from: string): number => lines.push(`${from} ${line}`)
  const script = 'cat; echo wrong >&2; exit 3'
  const ending = await launch(['/bin/sh', '-c', script], {
    signal: NEVER,
    writes: 'folder',
    input: 'one\ntwo\n',
    onLine,
  })
  assert.deepEqual(lines.sort(), ['stderr wrong', 'stdout one', 'stdout two'])
  assert.deepEqual([ending.exitCode, ending.complaint], [3, 'failed with exit code 3'])
  const absent = await launch(['/nonexistent'], { signal: NEVER, writes: 'folder' })
  assert.deepEqual([absent.exitCode, absent.complaint], [undefined, 'is not installed'])
})

test('a program that hangs, ignores SIGTERM and has children ends at its time limit, with all of them', async t => {
  const dir = await aFolder(t)
  const launch = groupLauncher(dir, { ...limits, seconds: 1 })
  const script = `trap '' TERM; echo $$ > pids; sh -c 'trap "" TERM; echo $$ >> pids; sleep 300' & sleep 300; sleep 300`
  const ending = await launch(['/bin/sh', '-c', script], { signal: NEVER, writes: 'folder', timeout: 3_600_000 })
  assert.deepEqual([ending.timedOut, ending.complaint], [true, 'did not end within 1 s'])
  const pids = (await readFile(join(dir, 'pids'), 'utf8')).trim().split('\n').map(Number)
  assert.equal(pids.length, 2)
  for (let turn = 0; pids.some(isAlive) && turn < 100; turn++) await sleep(50)
  assert.deepEqual(pids.filter(isAlive), [])
})

test('a program may open its output by name, as scripts do; a daemon that holds it does not keep the step from ending', async t => {
  const launch = groupLauncher(await aFolder(t), limits)
  const user = process.getuid?.() === 0 ? { user: 'nobody' } : {}
  const script = 'echo one >/dev/stderr; echo two >/dev/stdout; echo three; setsid sleep 2 & exit 0'
  const { exitCode, tail } = await launch(['/bin/sh', '-c', script], {
    ...user,
    signal: NEVER,
    writes: 'folder',
    cwd: '/',
  })
  assert.deepEqual([exitCode, tail.split('\n').sort()], [0, ['', 'one', 'three', 'two']])
})

test('a program that systemd could not start is said so, with the reason; one that has printed something has failed by itself', async t => {
  const file = join(await aFolder(t), 'ending')
  const ended = (status: number, tail: string) => {
    writeFileSync(file, `exit-code ${status}\n`)
    return unitEnding(file, { ending: { exitCode: status }, tail }, 1)
  }
  const { exitCode, words } = await ended(203, '\n')
  assert.equal(exitCode, 203)
  assert.match(words ?? '', /^could not be started \(203\/EXEC: its interpreter is missing/)
  assert.equal((await ended(226, '')).words, 'could not be started (226, see systemd.exec(5))')
  assert.deepEqual(await ended(203, 'no motor'), { exitCode: 203 })
  assert.deepEqual(await ended(3, ''), { exitCode: 3 })
})

test('abort ends a program, also one that has not begun', async t => {
  const launch = groupLauncher(await aFolder(t), limits)
  const control = new AbortController()
  setTimeout(() => control.abort(), 100)
  for (let turn = 0; turn < 2; turn++) {
    const ending = await launch(['/bin/sleep', '300'], { signal: control.signal, writes: 'folder' })
    assert.equal(ending.complaint, 'was cancelled')
  }
})

test('the unit of a step’s user gets its limits, and its words exactly as they are', () => {
  const options = {
    unit: 'u.service',
    service: 'pi-adu-steps.service',
    folder: '/f',
    limits,
    seconds: 60,
    env: { A: 'b c' },
    ending: '/w/0.u.service',
  }
  // biome-ignore lint/suspicious/noTemplateCurlyInString: systemd must not expand it
  const words = ['/f/a.sh', '--x', '$HOME', '${PATH}', '%n', 'a b', '', ';', '--uid=0']
  const command = unitCommand(['/f/a.sh', ...words.slice(1)], { ...options, user: 'adu-steps', writes: 'folder' })
  const end = command.indexOf('--')
  assert.deepEqual(
    command.slice(end + 1),
    words.map(word => word.replace('$', '$$$$')),
  )
  const given = command.slice(0, end)
  for (const each of [
    ...['--pipe', '--wait', '--collect', '--setenv=A=b c', '--working-directory=/f', '--unit=u.service'],
    ...[
      'Before=pi-adu-steps.service',
      'ConditionPathExists=/w/0.u.service.once',
      'RuntimeMaxSec=60',
      'KillMode=control-group',
      'MemoryMax=512M',
      'TasksMax=256',
    ].map(property => `--property=${property}`),
    ...[
      'User=adu-steps',
      'NoNewPrivileges=yes',
      'CapabilityBoundingSet=',
      'ProtectSystem=strict',
      'ReadWritePaths=/f',
    ].map(property => `--property=${property}`),
  ]) {
    assert.ok(given.includes(each), each)
  }
  const apt = unitCommand(['apt-get'], { ...options, service: undefined, writes: 'system', cwd: '/' })
  assert.doesNotMatch(apt.join(' '), /User=|ProtectSystem|Before=|NoNewPrivileges/)
})
