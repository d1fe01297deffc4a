import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import xterm from '@xterm/headless'
import { execa } from 'execa'
import { taken } from '../every.ts'
import { processesOf, root, tempDir } from './support.ts'

const { Terminal } = xterm

/** A quick demo, whose folder is below `dir`. */
async function demo(t: TestContext, ...args: string[]) {
  const dir = await tempDir(t)
  const quick = ['--image-mib', '8', '--download-seconds', '2', ...args]
  const options = { env: { TMPDIR: dir }, reject: false, stdin: 'ignore', timeout: 240_000 } as const
  return { dir, run: execa(join(root, 'scripts/demo'), quick, options) }
}

/** What a terminal of 80 columns shows of `output` in the end, with all that has scrolled away. */
async function onScreen(output: string): Promise<string> {
  const terminal = new Terminal({ cols: 80, rows: 24, scrollback: 1000, allowProposedApi: true })
  await new Promise<void>(written => terminal.write(output, written))
  const { active } = terminal.buffer
  const lines = Array.from({ length: active.length }, (_, row) => active.getLine(row)?.translateToString(true) ?? '')
  terminal.dispose()
  return lines.join('\n')
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
    [
      /✔ the first cut was in mid-install/,
      /system 2\.0\.0 from slot b/,
      /install +resumes: \d+\.\d of \d+\.\d MiB are in slot b/,
    ],
  ],
  [
    ['--cancel', '--download-seconds', '4'],
    [/✔ the twin says: cancelled/, /✔ it runs system 2\.0\.0 from slot b/],
  ],
  [
    ['--steps'],
    [
      /step +1 of 3: microsoft\/script:1/,
      /step +3 of 3: microsoft\/script:1/,
      /✔ the twin says it of each of the three steps/,
      /✔ it runs system 2\.0\.0 from slot b/,
    ],
  ],
  [
    ['--firmware-update'],
    [
      /✔ the call is answered with "FirmwareUpdate started"/,
      /✔ the twin showed waiting, downloading, downloadComplete, applying, rebooting, applyComplete/,
      /✔ it runs system 2\.0\.0 from slot b/,
    ],
  ],
  [
    ['--contract', '2021'],
    [
      /hub +orders action 0: download/,
      /hub +orders action 1: install; the URLs are gone/,
      /hub +orders action 2: apply/,
      /✔ it runs system 1\.0 from slot b/,
      /✔ the twin showed the states 0, 2, 4, 0, and then installed 2020\.611\.534\.16/,
    ],
  ],
  [
    ['--dps', '--devices', '2'],
    [
      /2 of 2 enrolled/,
      /pi-0002 {3}registered, assigned to localhost:\d+, connected/,
      /✔ pi-0001: has no connection string/,
      /✔ pi-0001: its certificate was renewed/,
      /✔ pi-0002: registered once, and is in its group/,
      /✔ pi-0002: runs system 2\.0\.0 from slot b/,
    ],
  ],
]
for (const [args, says] of [VARIANTS[0]!, ...taken(VARIANTS.slice(1))]) {
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

test('a reader who has seen enough ends it without a stack, and nothing stays', async t => {
  const dir = await tempDir(t)
  const command = `${join(root, 'scripts/demo')} --plain --image-mib 8 --download-seconds 2 | head -n 3`
  const { stdout, stderr } = await execa('sh', ['-c', command], { env: { TMPDIR: dir }, timeout: 240_000 })
  assert.equal(stdout.split('\n').length, 3)
  assert.equal(stderr, '')
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
  // The last picture says what the verdict below it says. Only lines that change are drawn again.
  const last = await onScreen(stdout)
  assert.equal(last.match(/╭─ slot a/g)?.length, 1, last)
  assert.match(last, /│ system 1\.0\.0 +│ {2}│ system 2\.0\.0 +│/)
  assert.match(last, /│ – +│ {2}│ ● booted {3}▸ primary +│/)
  assert.match(last, /updated\s+Twin +connected · state 0 \(idle\), result 700/)
  assert.doesNotMatch(last, /on trial|writing/)
  await leavesNothing(dir)
})

test('--help tells the variants, and two at a time are refused', async t => {
  const help = await (await demo(t, '--help')).run
  assert.equal(help.exitCode, 0)
  for (const option of ['--bad-image', '--tampered', '--power-cut', '--cancel', '--firmware-update', '--contract'])
    assert.ok(help.stdout.includes(option))
  const both = await (await demo(t, '--cancel', '--tampered')).run
  assert.equal(both.exitCode, 64)
  assert.match(both.stderr, /^demo: one of --bad-image/m)
})
