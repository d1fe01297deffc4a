import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { execa } from 'execa'
import { processesOf, root, tempDir } from './support.ts'

/** A quick demo, whose folder is below `dir`. */
async function demo(t: TestContext, ...args: string[]) {
  const dir = await tempDir(t)
  const quick = ['--image-mib', '8', '--download-seconds', '2', ...args]
  const options = { env: { TMPDIR: dir }, reject: false, stdin: 'ignore', timeout: 240_000 } as const
  return { dir, run: execa(join(root, 'scripts/demo'), quick, options) }
}

async function leavesNothing(dir: string): Promise<void> {
  assert.deepEqual(processesOf(dir), [])
  assert.deepEqual(await readdir(dir), [])
}

const VARIANTS: readonly (readonly [args: readonly string[], says: readonly RegExp[]])[] = [
  [[], [/version before → after +1\.0\.0 → 2\.0\.0/, /✔ it runs system 2\.0\.0 from slot b/]],
  [['--bad-image'], [/✔ it runs system 1\.0\.0 from slot a/, /state 255, result 0, extended 3210000D/]],
  [['--tampered'], [/extended 80300001/, /extended 4000000C/, /extended 30101001/]],
  [
    ['--power-cut', '--download-seconds', '4'],
    [/✔ the first cut was in mid-install/, /system 2\.0\.0 from slot b/],
  ],
  [
    ['--cancel', '--download-seconds', '4'],
    [/✔ the twin says: cancelled/, /✔ it runs system 2\.0\.0 from slot b/],
  ],
]
for (const [args, says] of VARIANTS) {
  test(`the demo ${args[0] ?? 'as such'} ends well and leaves nothing behind`, async t => {
    const { dir, run } = await demo(t, '--plain', ...args)
    const { exitCode, stdout, stderr } = await run
    assert.equal(exitCode, 0, `${stdout}\n${stderr}`)
    for (const words of says) assert.match(stdout, words)
    assert.doesNotMatch(stdout, /✘/)
    assert.equal(stripVTControlCharacters(stdout), stdout)
    await leavesNothing(dir)
  })
}

test('the demo of a device that cannot succeed does not end with 0', async t => {
  const { dir, run } = await demo(t, '--plain', '--distrust')
  const { exitCode, stdout } = await run
  assert.equal(exitCode, 1)
  assert.match(stdout, /✘ the twin says: applied, installed 2\.0\.0: state 255, result 0, A0200006/)
  await leavesNothing(dir)
})

test('Ctrl-C ends the demo at once, and all of it', async t => {
  const { dir, run } = await demo(t, '--plain', '--download-seconds', '60')
  for await (const line of run.iterable()) {
    if (!line.includes('begin   download')) continue
    assert.ok(processesOf(dir).length > 0)
    run.kill('SIGINT')
  }
  const { exitCode } = await run
  assert.equal(exitCode, 130)
  await leavesNothing(dir)
})

test('in a terminal it is a picture that moves', async t => {
  const dir = await tempDir(t)
  const command = `stty cols 80 rows 24; ${join(root, 'scripts/demo')} --image-mib 4 --download-seconds 1`
  const env = { TMPDIR: dir, TERM: 'xterm-256color' }
  const { stdout, exitCode } = await execa('script', ['-qec', command, '/dev/null'], {
    env,
    reject: false,
    timeout: 240_000,
  })
  assert.equal(exitCode, 0, stdout)
  const text = stripVTControlCharacters(stdout)
  assert.match(text, /╭─ slot a ─+╮ {2}╭─ slot b ─+╮/)
  assert.match(text, /▾ writing/)
  assert.match(text, /◐ on trial/)
  assert.match(text, /✔ the twin says: applied, installed 2\.0\.0/)
  await leavesNothing(dir)
})

test('--help tells the variants, and two at a time are refused', async t => {
  const help = await (await demo(t, '--help')).run
  assert.equal(help.exitCode, 0)
  for (const option of ['--bad-image', '--tampered', '--power-cut', '--cancel']) assert.ok(help.stdout.includes(option))
  const both = await (await demo(t, '--cancel', '--tampered')).run
  assert.equal(both.exitCode, 1)
  assert.match(both.stderr, /^demo: one of --bad-image/m)
})
