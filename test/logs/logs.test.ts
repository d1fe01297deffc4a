import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import tar from 'tar-stream'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { type Entry, writeArchive } from '../../src/cli/logs/archive.ts'
import { output } from '../../src/cli/logs/contents.ts'
import { linesOf, PIECE, pieces } from '../../src/cli/logs/pieces.ts'
import { KEY, least } from '../config/examples.ts'

const dir = await mkdtemp(join(tmpdir(), 'pi-adu-logs-'))
after(() => rm(dir, { recursive: true }))

/** Programs that stand in front of the machine's own. */
const bin = join(dir, 'bin')
async function program(name: string, script: string): Promise<void> {
  await mkdir(bin, { recursive: true })
  await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`)
  await chmod(join(bin, name), 0o755)
}

async function entriesOf(file: string): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>()
  const extract = Readable.from([gunzipSync(await readFile(file))]).pipe(tar.extract())
  for await (const entry of extract) {
    const chunks: Buffer[] = []
    for await (const chunk of entry) chunks.push(chunk as Buffer)
    found.set(entry.header.name.replace(/^pi-adu-\d{8}T\d{6}\//, ''), Buffer.concat(chunks).toString())
  }
  return found
}

const configFile = join(dir, 'config.json')
await writeFile(
  configFile,
  JSON.stringify({
    ...least(),
    dataFolder: join(dir, 'data'),
    piAdu: { versionFile: configFile, flightFolder: join(dir, 'flight'), health: { failedUnits: false } },
  }),
)
await chmod(configFile, 0o600)
await mkdir(join(dir, 'data'))
await mkdir(join(dir, 'flight'))
const BOOT = '0123456789abcdef0123456789abcdef'
await writeFile(join(dir, 'flight/boots'), `pi-adu-flight 1 ab-1\nboot ${BOOT} 0\ninit 7.00\n`)
await writeFile(join(dir, 'flight/kernel'), `Panic#1 SharedAccessKey=${KEY}\n\u001b[31mend\n`)
await writeFile(join(dir, 'data/journal.json'), `{"url":"https://files/x.swu?sig=SECRETSIGNATURE&se=1"}`)

const run = (...args: string[]) =>
  spawnSync(process.execPath, [join(repositoryRoot(), 'dist/src/main.js'), 'logs', '--config', configFile, ...args], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${bin}:${process.env.PATH}` },
    timeout: 300_000,
  })

test('a support bundle has logs, state, settings and doctor’s findings, in small pieces and without any key', async () => {
  await program(
    'journalctl',
    `case "$*" in
  *--unit=*) i=4000; while [ $i -gt 0 ]; do echo "line $i SharedAccessKey=${KEY} of a log that goes on"; i=$((i-1)); done; echo "args $*" ;;
  *--boot=*) echo "trial $*" ;;
  *TRANSPORT*) printf 'kernel \\033[31mred\\n' ;;
  *) exit 3 ;;
esac`,
  )
  await program('fw_printenv', 'echo primary=a')
  const file = join(dir, 'support.tar.gz')
  const { status, stderr, stdout } = run('--bundle', file, '--since', '-2h')
  assert.equal(status, 0, stderr)
  assert.equal(stdout, '')
  assert.match(stderr, /support\.tar\.gz: \d+ files, \d+ KiB\n$/)
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.deepEqual(
    (await readdir(dir)).filter(name => name.endsWith('.part')),
    [],
  )
  const entries = await entriesOf(file)
  assert.match(entries.get('trial/boots.txt') ?? '', /\ninit 7\.00\n/)
  assert.match(entries.get('trial/kernel.txt') ?? '', /^Panic#1 .*\n\\u001b\[31mend\n$/)
  assert.match(entries.get('trial/log.log') ?? '', new RegExp(`^trial .*--boot=${BOOT}`))
  for (const [name, text] of entries) {
    assert.ok(Buffer.byteLength(text) <= PIECE || !name.startsWith('log/'), `${name}: ${text.length}`)
    assert.doesNotMatch(text, new RegExp(`${KEY}|SECRETSIGNATURE`), name)
  }
  const text = (name: string): string => entries.get(name) ?? assert.fail(`${name} is not in ${[...entries.keys()]}`)
  assert.match(text('log/agent.log'), /\nline 4000 SharedAccessKey=… of a log that goes on\n$/)
  assert.match(text('log/agent-4.log'), /^args .*--since=-2h.* --reverse\nline 1 SharedAccessKey=…/)
  assert.equal(entries.has('log/agent-5.log'), false)
  const log = [...entries]
    .filter(([name]) => name.startsWith('log/agent'))
    .map(([, part]) => part)
    .reverse()
    .join('')
  assert.ok(log.indexOf('line 1000 ') < log.indexOf('line 3000 '))
  assert.equal(log.split('\n').length, 4002)
  assert.match(text('log/kernel.log'), /^kernel \\u001b\[31mred\n$/)
  assert.match(text('log/warnings.log.failed'), /journalctl .* failed with exit code 3/)
  assert.equal(text('boot-state.txt'), 'primary=a\n')
  assert.match(text('state/journal.json'), /sig=…&se=1/)
  assert.match(text('configuration.json'), /hub\.example\.com/)
  assert.equal(JSON.parse(text('about.json')).node, process.version)
  assert.ok(JSON.parse(text('doctor.json')).length > 5)
})

test('a configuration that is refused is named in the bundle, which is made all the same', async () => {
  const bad = join(dir, 'bad.json')
  await writeFile(bad, '{')
  await chmod(bad, 0o600)
  const file = join(dir, 'bad.tar.gz')
  assert.equal(run('--config', bad, '--bundle', file).status, 0)
  assert.match((await entriesOf(file)).get('configuration.json') ?? '', /"refused": ".*bad\.json/)
})

test('without --bundle the log itself is printed; without a journal the reason', async () => {
  await program('journalctl', 'echo "one"; echo "two sig=abcdefgh"')
  const { stdout, status } = run()
  assert.equal(stdout, 'one\ntwo sig=…\n')
  assert.notEqual(status, 1)
  await program('journalctl', 'exit 4')
  const failed = run()
  assert.equal(failed.status, 64)
  assert.equal(failed.stderr, 'pi-adu: journalctl failed with exit code 4\n')
})

test('a reader who has seen enough ends it without a stack', async () => {
  await program('journalctl', 'i=0; while [ $i -lt 20000 ]; do echo "line $i of a log"; i=$((i+1)); done')
  const script = `"${process.execPath}" "${join(repositoryRoot(), 'dist/src/main.js')}" logs | head -n 2`
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` }
  const { stdout, stderr } = spawnSync('sh', ['-c', script], { encoding: 'utf8', env, timeout: 60_000 })
  assert.equal(stdout, 'line 0 of a log\nline 1 of a log\n')
  assert.equal(stderr, '')
})

test('a file that cannot be written is one line, and nothing half made stays', async () => {
  const { status, stderr } = run('--bundle', join(dir, 'nowhere/x.tar.gz'))
  assert.equal(status, 64)
  assert.match(stderr, /^pi-adu: the support bundle .*nowhere\/x\.tar\.gz cannot be written: ENOENT[^\n]*\n$/)
})

async function* many(count: number, line: string): AsyncGenerator<string> {
  for (let i = 0; i < count; i++) yield line
}

test('10 GB of logs: the bundle ends at its limit, and what produces them is not read on', async () => {
  let read = 0
  async function* endless(): AsyncGenerator<string> {
    for (;;) {
      read += 1
      yield 'x'.repeat(1000)
    }
  }
  let bytes = 0
  let last = ''
  for await (const piece of pieces(endless(), [], 1 << 20)) {
    assert.ok(piece.length <= PIECE)
    bytes += piece.length
    last = piece.toString()
  }
  assert.ok(bytes <= (1 << 20) + PIECE, `${bytes}`)
  assert.ok(read < 1100, `${read}`)
  assert.match(last, /… cut off after \d+ bytes\n$/)
})

test('of a log that is too long, the oldest lines are missing; entries of several lines stay whole', async () => {
  // As `journalctl --reverse` has them.
  async function* reversed(): AsyncGenerator<string> {
    for (let i = 5000; i > 0; i--) yield* [`entry ${i} ${'x'.repeat(50)}`, `    more of ${i}`]
  }
  const all: string[] = []
  for await (const piece of pieces(reversed(), [], 3 * PIECE, true)) all.unshift(piece.toString())
  assert.ok(all.length > 2)
  const [first, ...lines] = all.join('').trimEnd().split('\n')
  assert.match(first!, /^… what is older is cut off after \d+ bytes$/)
  const from = Number(/^entry (\d+) /.exec(lines.find(line => line.startsWith('entry'))!)?.[1])
  assert.ok(from > 1000 && from < 5000)
  assert.equal(lines.at(-1), '    more of 5000')
  const order = lines.filter(line => line.startsWith('entry')).map(line => Number(line.split(' ')[1]))
  assert.deepEqual(
    order,
    Array.from({ length: order.length }, (_, index) => from + index),
  )
})

test('a log of one endless line keeps only its end, and a secret at a border is still masked', async () => {
  async function* chunks(): AsyncGenerator<Buffer> {
    for (let i = 0; i < 100; i++) yield Buffer.from('y'.repeat(1000))
    yield Buffer.from(' Password=hun')
    yield Buffer.from('ter2hunter2\nnext\n')
  }
  const all: string[] = []
  for await (const piece of pieces(linesOf(chunks()), [], PIECE)) all.push(piece.toString())
  assert.match(all.join(''), /Password=…\nnext\n$/)
  assert.ok(all.join('').length < 10_000)
})

test('a disk that is full ends it with its error', async () => {
  async function* entries(): AsyncGenerator<Entry> {
    for await (const content of many(10_000, 'z'.repeat(60_000)))
      yield { name: `log/${Math.random()}`, content: content + Math.random() }
  }
  const full = new Writable({
    write: (_chunk, _encoding, callback) => callback(new Error('ENOSPC: no space left on device')),
  })
  await assert.rejects(writeArchive(entries(), 'x', full, new Date()), /ENOSPC/)
})

test('a slow writer is waited for: only little of the logs is in memory', async () => {
  let made = 0
  let taken = 0
  let most = 0
  async function* entries(): AsyncGenerator<Entry> {
    // Random, so that it cannot be compressed.
    const { randomBytes } = await import('node:crypto')
    for (let i = 0; i < 100; i++) {
      made += PIECE
      most = Math.max(most, made - taken)
      yield { name: `log/${i}`, content: randomBytes(PIECE) }
    }
  }
  const slow = new Writable({
    highWaterMark: 16_384,
    write: (chunk: Buffer, _encoding, callback) => {
      taken += chunk.length
      setImmediate(callback)
    },
  })
  assert.equal(await writeArchive(entries(), 'x', slow, new Date()), 100)
  assert.ok(most < 16 * PIECE, `${most}`)
})

const outputOf = async (script: string, patience: number, pause: number) => {
  const entries: string[] = []
  const names: string[] = []
  for await (const { name, content } of output('log.txt', ['sh', '-c', script], [], 8 << 20, patience)) {
    names.push(name)
    entries.push(String(content))
    if (entries.length === 1) await sleep(pause)
  }
  return { names, text: entries.join('') }
}

test('a program that does not end is ended, and the bundle says that its output is not whole', async () => {
  const { names, text } = await outputOf('echo first; exec sleep 60', 700, 0)
  assert.deepEqual(names, ['log.txt', 'log.txt.failed'])
  assert.match(text, /^first\n.*did not end within 1 s\n$/s)
  const trapped = await outputOf("trap 'exit 0' TERM; sleep 60 & wait", 700, 0)
  assert.deepEqual(trapped.names, ['log.txt.failed'])
})

test('a slow upload costs the program no time: the newest lines of the log are there', async () => {
  const { names, text } = await outputOf('exec seq 199999', 2_000, 2_500)
  assert.equal(names.at(-1)?.includes('failed'), false, names.join())
  assert.match(text, /\n199999\n$/)
})
