import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { execa } from 'execa'
import { COMPLETION_FILE, completion } from '../../image/builder/completion.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { seconds } from '../../src/cli/order/seconds.ts'
import type { CommandName } from '../../src/domain/command.ts'
import { aServer, configFor, until } from './support.ts'

const PROGRAM = join(repositoryRoot(), 'dist/src/main.js')

async function ordered(config: string, ...args: string[]) {
  const run = await execa('node', [PROGRAM, ...args, '--config', config], { reject: false, timeout: 120_000 })
  const { exitCode, stdout, stderr } = run
  return { exitCode, stdout, stderr }
}

/** An agent whose loop does as it is told, and what it was told. */
async function anAgent(t: TestContext) {
  const asked: CommandName[] = []
  const ask = async (command: CommandName) => {
    asked.push(command)
    return command === 'rollback' ? ({ is: 'refused', why: 'no other system' } as const) : ({ is: 'begun' } as const)
  }
  const server = await aServer(t, { engine: { ask } })
  return { ...server, asked, config: await configFor(server.path) }
}

test('a lock from the command line stays when the command has ended', async t => {
  const { config, gates, conditions } = await anAgent(t)
  const why = 'stock-taking'
  const { stdout, exitCode } = await ordered(config, 'lock', 'till', '--for', '2h', '--why', why, '--gate', 'reboot')
  assert.equal(exitCode, 0)
  assert.match(stdout, /^locked by till: reboot; for 7200 s/)
  assert.deepEqual(gates.held, [{ name: 'till', gates: ['reboot'], until: undefined, why }])
  assert.deepEqual(await ordered(config, 'unlock', 'till'), {
    exitCode: 0,
    stdout: 'the lock till is removed',
    stderr: '',
  })
  assert.deepEqual((await conditions.read()).locks, [])
})

test('a command that is done, one that is refused, and both as JSON', async t => {
  const { config, asked } = await anAgent(t)
  const done = 'the deployment is cancelled'
  assert.deepEqual(await ordered(config, 'cancel'), { exitCode: 0, stdout: done, stderr: '' })
  assert.deepEqual(await ordered(config, 'rollback'), { exitCode: 1, stdout: '', stderr: 'pi-adu: no other system' })
  const asJson = await ordered(config, 'rollback', '--json')
  assert.deepEqual(asJson, { exitCode: 1, stdout: '{"error":"no other system"}', stderr: '' })
  const commit = await ordered(config, 'commit', '--json')
  assert.deepEqual(JSON.parse(commit.stdout), {
    done: 'the new system is committed, without waiting for its health checks',
  })
  assert.deepEqual(asked, ['cancel', 'rollback', 'rollback', 'commit'])
})

test('without an agent, without permission, and with words that nobody understands: one line and a code each', async t => {
  const { config, close, path } = await anAgent(t)
  if (process.getuid?.() !== 0) {
    chmodSync(path, 0)
    const denied = await ordered(config, 'retry')
    assert.equal(denied.exitCode, 77)
    assert.match(denied.stderr, /^pi-adu: this user may not ask the agent at \S+: run it as root or as a member/)
  }
  close()
  const absent = await ordered(config, 'consent')
  assert.equal(absent.exitCode, 69)
  assert.match(
    absent.stderr,
    /^pi-adu: no agent listens at \S+: start it, systemctl status pi-adu-agent says why [^\n]+$/,
  )
  for (const args of [
    ['lock', 'till'],
    ['lock', 'till', '--for', 'ever'],
    ['lock', 'till', '--for', '1h', '--gate', 'lunch'],
    ['identify', '--for', '-1'],
  ]) {
    const { exitCode, stderr, stdout } = await ordered(config, ...args)
    assert.equal(exitCode, 64, args.join(' '))
    assert.match(stderr, /^pi-adu: [^\n]+$/)
    assert.equal(stdout, '')
  }
})

test('times', () => {
  for (const [text, expected] of [
    ['90', 90],
    ['90s', 90],
    ['15min', 900],
    ['15m', 900],
    ['2h', 7200],
    ['1d', 86_400],
  ]) {
    assert.equal(seconds(String(text)), expected)
  }
  for (const bad of ['', 'h', '1.5h', '2 h', '1w', '-1s', '99999999'])
    assert.throws(() => seconds(bad), /is not a time/)
})

/** What a terminal of 80 columns is sent, without its line ends. */
async function onTerminal(command: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const wide = `stty rows 40 cols 80; ${command}`
  const { stdout } = await execa('script', ['-qec', wide, '/dev/null'], { reject: false, timeout: 120_000, env })
  return stdout.replaceAll('\r', '')
}

test('on a terminal the answer has a colour, unless the user wants none', async t => {
  const { config } = await anAgent(t)
  const command = `node ${PROGRAM} cancel --config ${config}; node ${PROGRAM} rollback --config ${config}`
  assert.equal(
    await onTerminal(command),
    '\u001b[32mthe deployment is cancelled\u001b[0m\n\u001b[31mpi-adu: no other system\u001b[0m',
  )
  assert.equal(await onTerminal(command, { NO_COLOR: '1' }), 'the deployment is cancelled\npi-adu: no other system')
})

test('the completion is made from the commands', () => {
  assert.equal(
    readFileSync(COMPLETION_FILE, 'utf8'),
    completion(),
    `${COMPLETION_FILE} is out of date: run npm run docs`,
  )
})

/** What bash offers for the words, of which the last one is being typed. */
function offered(...words: string[]): readonly string[] {
  const script = `set -eu
compopt() { :; }
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_pi_adu
printf '%s\\n' "\${COMPREPLY[@]}"`
  const args = ['--norc', '-c', script, 'bash', COMPLETION_FILE, 'pi-adu', ...words]
  const { stdout, stderr } = spawnSync('bash', args, { encoding: 'utf8', cwd: repositoryRoot() })
  assert.equal(stderr, '')
  return stdout.split('\n').filter(Boolean)
}

test('bash completes commands, options, gates and files', () => {
  assert.deepEqual(offered('ro'), ['rollback'])
  assert.deepEqual(offered('--v'), ['--version'])
  assert.ok(offered('').includes('unlock'))
  assert.deepEqual(offered('lock', 'till', '--g'), ['--gate'])
  assert.deepEqual(offered('lock', 'till', '--gate', ''), ['download', 'install', 'reboot'])
  assert.deepEqual(offered('lock', 'till', '--for', ''), [])
  assert.deepEqual(offered('status', '--config', 'package.js'), ['package.json'])
  assert.deepEqual(offered('verify', 'READ'), ['README.md'])
  assert.deepEqual(offered('install', 'READ'), ['README.md'])
  assert.deepEqual(offered('verify', '--de'), ['--detached-manifest', '--device-properties'])
  assert.deepEqual(offered('nothing', ''), [])
})

test('a login shell of the image has the completion, and another shell is not disturbed', () => {
  const profile = join(repositoryRoot(), 'image/rootfs/etc/profile.d/pi-adu.sh')
  const text = readFileSync(profile, 'utf8').replace('/usr/share/bash-completion/completions/pi-adu', COMPLETION_FILE)
  const said = (shell: string) =>
    spawnSync(shell, ['-uec', `${text}\ncomplete -p pi-adu 2>&1 || echo none`], { encoding: 'utf8' })
  assert.equal(said('bash').stdout, 'complete -F _pi_adu pi-adu\n')
  assert.equal(said('dash').stdout.split('\n').at(-2), 'none')
})

test('a person who presses Tab in bash gets the command', async t => {
  const home = await mkdtemp(join(tmpdir(), 'completion-'))
  t.after(() => rm(home, { recursive: true, force: true }))
  const env = { PS1: '> ', HOME: home, TERM: 'dumb', PATH: process.env.PATH, INPUTRC: '/dev/null' }
  const options = { reject: false, timeout: 120_000, env, extendEnv: false, stdin: 'pipe' } as const
  const bash = execa('script', ['-qec', 'bash --norc --noprofile -i', '/dev/null'], options)
  let text = ''
  bash.stdout.on('data', chunk => {
    text += chunk
  })
  bash.stdin.write(`source ${COMPLETION_FILE}; pi-adu() { echo "typed: $*"; }; echo re''ady\n`)
  await until(() => text.includes('ready'), 'the shell')
  bash.stdin.write('pi-adu ident\tf\t--f\t2min\n')
  await until(() => text.includes('typed: i'), 'the command')
  assert.match(text, /typed: identify --for 2min/)
  bash.stdin.write('exit\n')
  await bash
})
