import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { aServer, configFor, until } from './support.ts'

/** The example of the page in this language. */
function example(language: string): string {
  const page = readFileSync(join(repositoryRoot(), 'src/control/README.md'), 'utf8')
  const [, code] = new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 's').exec(page) ?? []
  assert.ok(code && code.trim().split('\n').length <= 20, `${language}: an example of at most 20 lines`)
  return code
}

const look = {
  ...({
    boot: { booted: 'a', primary: 'a', trial: 'none', tries: 0 },
    version: '1.0',
    attempt: undefined,
    journalDamage: undefined,
  } as const),
  waitsFor: undefined,
}

const python = spawnSync('python3', ['-c', '']).status === 0
test('the example in Python', { skip: !python && 'no python3 here' }, async t => {
  const { path, publisher } = await aServer(t)
  const program = spawn('python3', ['-', path], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.after(() => program.kill())
  program.stdin.end(example('python'))
  const said = text(program.stdout)
  let told = false
  program.stdout.once('data', () => {
    told = true
  })
  // Until it listens, nobody is told.
  const telling = setInterval(() => publisher.tell({ event: 'activated', slot: 'b' }), 50)
  t.after(() => clearInterval(telling))
  await until(() => told, 'the example to print an event')
  publisher.saw({ ...look, phase: 'idle' })
  assert.match(await said, /^(\S+Z activated\n)+nothing is going on\n$/)
})

test('the example in shell', async t => {
  const { path, publisher } = await aServer(t)
  const dir = dirname(path)
  await mkdir(join(dir, 'bin'))
  const program = async (name: string, text: string): Promise<void> => {
    await writeFile(join(dir, 'bin', name), `#!/bin/sh\n${text}\n`)
    await chmod(join(dir, 'bin', name), 0o755)
  }
  await program('pi-adu', `exec '${process.execPath}' '${join(repositoryRoot(), 'dist/src/main.js')}' "$@"`)
  await program('notify', 'echo "reboot: $1"')
  await program('example', example('sh'))
  const running = spawn(join(dir, 'bin/example'), ['notify', await configFor(path)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: `${join(dir, 'bin')}:/usr/bin:/bin` },
    detached: true,
  })
  t.after(() => process.kill(-(running.pid ?? 0), 'SIGKILL'))
  let said = ''
  running.stdout.on('data', chunk => (said += chunk))
  publisher.tell({ event: 'activated', slot: 'b' })
  publisher.tell({ event: 'reboot', why: 'trial' })
  await until(() => said.includes('\n'), 'the program of the example')
  assert.equal(said, 'reboot: trial\n')
})
