import assert from 'node:assert/strict'
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { programs } from '../../src/adapters/system/exec.ts'
import { describe, Program } from '../../src/adapters/system/program.ts'
import { ProcessError } from '../../src/domain/errors.ts'
import type { Runner } from '../../src/ports/runner.ts'

const { run, runQuietly }: Runner = programs

const folder = await mkdtemp(join(tmpdir(), 'program-'))
after(() => rm(folder, { recursive: true }))
const never = new AbortController().signal
let count = 0

/** A shell script as a file: its children are not exec'ed. */
async function script(text: string): Promise<string> {
  const file = join(folder, `script-${count++}`)
  await writeFile(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 })
  return file
}

async function timed<T>(work: Promise<T>): Promise<{ result: PromiseSettledResult<T>; ms: number }> {
  const begun = performance.now()
  const [result] = await Promise.allSettled([work])
  return { result: result as PromiseSettledResult<T>, ms: performance.now() - begun }
}

const reason = (result: PromiseSettledResult<unknown>): string =>
  result.status === 'rejected' ? String((result.reason as Error).message) : 'it ended well'

async function alive(pidFile: string): Promise<boolean> {
  const pid = Number(await readFile(pidFile, 'utf8'))
  const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // A zombie has ended; who adopted it has not looked yet.
  return state !== '' && !/\) [ZX] /.test(state)
}

/** A signal has been sent when it returns; the process ends when the kernel next runs it. */
async function ends(pidFile: string): Promise<boolean> {
  const limit = performance.now() + 5000
  while (await alive(pidFile)) {
    if (performance.now() > limit) return false
    await sleep(20)
  }
  return true
}

test('it gives stdout, with what the program was given: input, folder, environment, descriptors', async () => {
  const file = await script('cat; pwd; echo "$A-$B-$LC_ALL"; echo passed >&3; echo noise >&2')
  const target = await open(join(folder, 'passed'), 'w')
  const env = { A: '1', B: undefined }
  const options = { signal: never, code: 'HEALTH', input: 'in\n', cwd: '/usr', env, pass: [target.fd] } as const
  process.env.B = 'mine'
  assert.equal(await run([file], options), 'in\n/usr\n1--C')
  delete process.env.B
  await target.close()
  assert.equal(await readFile(join(folder, 'passed'), 'utf8'), 'passed\n')
})

test('every bad end is a ProcessError with the code of the caller; an abort is not', async () => {
  const failure = async (argv: [string, ...string[]]): Promise<ProcessError> => {
    const error = await run(argv, { signal: never, code: 'BOOT_STATE' }).catch(thrown => thrown)
    assert.ok(error instanceof ProcessError)
    assert.equal(error.code, 'BOOT_STATE')
    return error
  }
  assert.equal((await failure(['sh', '-c', 'exit 3'])).exitCode, 3)
  assert.equal((await failure(['sh', '-c', 'kill -9 $$'])).signal, 'SIGKILL')
  assert.equal((await failure(['no-such-program'])).message, 'no-such-program is not installed')
  const gone = AbortSignal.abort(new Error('stopped before'))
  const pid = join(folder, 'never-started')
  await assert.rejects(run(['touch', pid], { signal: gone, code: 'HEALTH' }), /stopped before/)
  await assert.rejects(readFile(pid), { code: 'ENOENT' })
})

test('a shell script around a child ends at its limit', async () => {
  const file = await script('sleep 25; exit 0')
  const { result, ms } = await timed(run([file], { signal: never, timeout: 200, code: 'HEALTH' }))
  assert.match(reason(result), /did not end within 0 s/)
  assert.ok(ms < 3000, `${ms} ms`)
})

test('what a program leaves running counts for nothing, and is killed', async () => {
  const pid = join(folder, 'left')
  const file = await script(`sleep 25 & echo $! > ${pid}; echo fine; exit 0`)
  const { result, ms } = await timed(run([file], { signal: never, timeout: 10_000, code: 'HEALTH' }))
  assert.deepEqual(result, { status: 'fulfilled', value: 'fine' })
  assert.ok(ms < 3000, `${ms} ms`)
  assert.ok(await ends(pid))
})

test('a process that left the group holds nobody up', async () => {
  const pid = join(folder, 'escaped')
  const file = await script(
    `setsid sh -c 'echo $$ > ${pid}; exec sleep 25' & while [ ! -s ${pid} ]; do :; done; exit 0`,
  )
  const { result, ms } = await timed(run([file], { signal: never, timeout: 10_000, code: 'HEALTH' }))
  assert.equal(result.status, 'fulfilled')
  assert.ok(ms < 3000, `${ms} ms`)
  process.kill(Number(await readFile(pid, 'utf8')), 'SIGKILL')
})

test('a program that does not obey SIGTERM is killed with all its children', async () => {
  const pid = join(folder, 'deaf')
  const file = await script(`trap '' TERM; sleep 60 & echo $! > ${pid}; while :; do sleep 1; done`)
  const { result, ms } = await timed(run([file], { signal: never, timeout: 300, code: 'HEALTH' }))
  assert.match(reason(result), /did not end within/)
  assert.ok(ms < 9000, `${ms} ms`)
  assert.ok(await ends(pid))
})

test('an abort does not wait for grandchildren', async () => {
  const abort = new AbortController()
  const file = await script('sleep 25; exit 0')
  setTimeout(() => abort.abort(new Error('stopped')), 200)
  const { result, ms } = await timed(run([file], { signal: abort.signal, code: 'HEALTH' }))
  assert.equal(reason(result), 'stopped')
  assert.ok(ms < 3000, `${ms} ms`)
})

test('what is told to leave others running does, as long as it ends by itself', async () => {
  const pid = join(folder, 'wanted')
  const file = await script(`sleep 25 > /dev/null 2>&1 & echo $! > ${pid}`)
  await runQuietly([file], { signal: never, timeout: 10_000, code: 'INTERNAL', leavesOthers: true })
  await sleep(100)
  assert.equal(await alive(pid), true)
  process.kill(Number(await readFile(pid, 'utf8')), 'SIGKILL')
})

test('stdout at the pace of its reader: of a program that is not installed there is none', async () => {
  const signal = new AbortController().signal
  const read = async (...argv: [string, ...string[]]) => {
    const program = new Program(argv, { signal, readSlowly: true })
    const pieces: Buffer[] = []
    for await (const piece of program.stdout) pieces.push(piece)
    return { text: Buffer.concat(pieces).toString(), ending: describe(await program.ended) }
  }
  assert.deepEqual(await read('no-such-program'), { text: '', ending: 'is not installed' })
  const { text } = await read('sh', '-c', 'i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done')
  assert.equal(text.split('\n').length, 20_001)
})

test('output is bounded: an error where it is read, no matter where it is not', async () => {
  const file = await script('head -c 30000000 /dev/zero | tr "\\0" x; echo end')
  const before = process.memoryUsage().rss
  await runQuietly([file], { signal: never, timeout: 60_000, code: 'HEALTH' })
  await assert.rejects(run([file], { signal: never, timeout: 60_000, code: 'BOOT_STATE' }), /printed more than/)
  assert.ok(process.memoryUsage().rss - before < 40_000_000)
})

test('a program that fails is quoted with the end of what it said', async () => {
  const file = await script('for i in $(seq 100); do echo line $i >&2; done; exit 3')
  const { result } = await timed(run([file], { signal: never, code: 'HEALTH' }))
  assert.match(reason(result), /failed with exit code 3: line 98 \| line 99 \| line 100$/)
})
