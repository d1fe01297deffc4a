import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { StepService } from '../../src/adapters/steps/step-service.ts'
import { systemClock } from '../../src/adapters/system/clock.ts'
import { answerOf, NEVER, SETTINGS, sent, signed } from './support.ts'

const MAIN = join(repositoryRoot(), 'dist/src/steps/main.js')

/** Listens at a path and hands the socket to the program as systemd does (sd_listen_fds(3)), each time a client comes. */
const SYSTEMD = `
import os, select, socket, subprocess, sys
first = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
first.bind(sys.argv[1])
first.listen(16)
os.dup2(first.fileno(), 3)
while True:
    select.select([first], [], [])
    print('start', flush=True)
    command = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
    child = subprocess.Popen(['sh', '-c', command, 'sh'] + sys.argv[2:], pass_fds=(3,))
    print('end', child.wait(), flush=True)
`

async function aFolder(t: TestContext) {
  const dir = await mkdtemp(join(tmpdir(), 'steps-main-'))
  await chmod(dir, 0o711)
  t.after(() => rm(dir, { recursive: true, force: true }))
  await writeFile(join(dir, 'steps.json'), JSON.stringify(SETTINGS), { mode: 0o644 })
  const [socket, state] = [join(dir, 'socket'), join(dir, 'state')]
  const clock = { sleep: (_: number, signal: AbortSignal) => systemClock.sleep(1000, signal) }
  const client = new StepService({ socket, keyStore: { read: async () => undefined }, clock })
  return { dir, socket, state, client, args: ['--state', state, '--settings', join(dir, 'steps.json')] }
}

function aProcess(t: TestContext, ...argv: readonly [string, ...string[]]): ChildProcess & { said(): string } {
  const child = spawn(argv[0], argv.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', piece => {
      out += piece
    })
  }
  t.after(() => void child.kill('SIGKILL'))
  return Object.assign(child, { said: () => out })
}

async function until(what: () => Promise<unknown> | unknown): Promise<void> {
  for (let turn = 0; turn < 600; turn++) {
    if (await what()) return
    await sleep(50)
  }
  assert.fail('it did not come')
}

const isThere = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )

test('started by its socket, it takes an order, ends when idle, and is started again', async t => {
  const { dir, socket, client, args } = await aFolder(t)
  const systemd = aProcess(t, 'python3', '-c', SYSTEMD, socket, process.execPath, MAIN, ...args, '--idle', '1')
  await until(() => isThere(socket))
  await writeFile(join(dir, 'a.sh'), '#!/bin/sh\nexit 0\n')
  const update = { files: { 'a.sh': '#!/bin/sh\nexit 0\n' } }
  const order = { id: 'one', signed: signed(update), path: [0], verb: 'isInstalled', folder: dir } as const
  assert.doesNotMatch(systemd.said(), /start/)
  for (const starts of [1, 2]) {
    const answer = await answerOf(client.run(order, () => {}, NEVER))
    assert.ok(typeof answer === 'object' || /STEP_REFUSED/.test(answer), String(answer))
    await until(() => systemd.said().match(/end 0/g)?.length === starts)
    assert.equal(systemd.said().match(/start/g)?.length, starts)
    assert.match(systemd.said(), /steps\.idle/)
  }
})

test('killed while a step runs: the agent’s own call learns that the outcome is unknown, and the step runs no second time', async t => {
  const { dir, socket, state, client, args } = await aFolder(t)
  const start = () => aProcess(t, process.execPath, MAIN, '--socket', socket, ...args)
  const first = start()
  await until(() => isThere(socket))
  const script = `#!/bin/sh\necho $$ >> '${join(dir, 'ran')}'\nexec sleep 300\n`
  await writeFile(join(dir, 'ran'), '')
  await chmod(join(dir, 'ran'), 0o666)
  await writeFile(join(dir, 'a.sh'), script)
  const update = { files: { 'a.sh': script } }
  const order = { id: 'one', signed: signed(update), path: [0], verb: 'install', folder: dir } as const
  const running = answerOf(client.run(order, () => {}, NEVER))
  await until(async () => (await readFile(join(dir, 'ran'), 'utf8')) !== '')
  // Without systemd nothing ends what a killed service has started.
  const left = Number(await readFile(join(dir, 'ran'), 'utf8'))
  t.after(() => process.kill(left, 'SIGKILL'))
  first.kill('SIGKILL')
  await until(() => first.signalCode !== null)
  start()
  assert.match(String(await running), /STEP_UNKNOWN/)
  assert.match(String(await answerOf(client.run(order, () => {}, NEVER))), /STEP_UNKNOWN/)
  assert.equal((await readFile(join(dir, 'ran'), 'utf8')).split('\n').filter(Boolean).length, 1)
  assert.equal(await isThere(join(state, 'orders/one.json')), true)
})

test('only owner and group may connect; SIGTERM ends it at once when it is idle; without a socket it says what is missing', async t => {
  const { socket, args } = await aFolder(t)
  const service = aProcess(t, process.execPath, MAIN, '--socket', socket, ...args)
  await until(() => isThere(socket))
  await until(async () => ((await stat(socket)).mode & 0o777) === 0o660)
  assert.match((await sent(socket, '{}'))[0] ?? '', /STEP_REFUSED/)
  service.kill('SIGTERM')
  await until(() => service.exitCode === 0)
  const without = aProcess(t, process.execPath, MAIN)
  await until(() => without.exitCode === 64)
  assert.match(without.said(), /systemd passed no socket/)
})
