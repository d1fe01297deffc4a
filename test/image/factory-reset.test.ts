import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { linesOf } from '../../image/builder/data.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { factoryReset } from '../../src/cli/factory-reset.ts'
import { EVERY, FIRST } from '../every.ts'

// image/initramfs/reset-data and the program that orders it, on a folder in place of the data partition.

const home = mkdtempSync(join(tmpdir(), 'factory-reset-'))
after(() => rmSync(home, { recursive: true, force: true }))

const KEPT = [
  'adu/du-config.json',
  'adu/device.key',
  'adu/token.pin',
  'adu/.folder/of the owner',
  'iwd/Corp.8021x',
  'certs/wlan-ca.pem',
  'keys/passphrase',
  'product/authority.pem',
  'adu/state/identity/current.pem',
  'adu/state/slots.json',
  'ssh/authorized_keys',
  'machine-id',
]
const SECRET = 'hello/token'
const LOST = [
  'adu/state/journal.json',
  'adu/state/a',
  'keys/other',
  'named/folder/file',
  'log/journal/1/system.journal',
  'hello/starts',
  'home/owner/.profile',
  '.hidden/a',
  '..odd',
  '-rf',
  'a b\nc/d',
  'ssh2/key',
  'reset.new',
]

class Partition {
  readonly dir = mkdtempSync(join(home, 'data-'))
  readonly bin = mkdtempSync(join(home, 'bin-'))
  readonly outside = mkdtempSync(join(home, 'outside-'))

  constructor() {
    for (const file of [...KEPT, SECRET, ...LOST]) {
      mkdirSync(dirname(join(this.dir, file)), { recursive: true })
      writeFileSync(join(this.dir, file), file)
    }
    const named = ['keys/passphrase', 'named/folder', 'keys/../keys/other', 'not/there']
    writeFileSync(join(this.dir, 'adu/du-config.json'), JSON.stringify(named.map(path => `/data/${path}`)))
    writeFileSync(join(this.dir, 'iwd/Corp.8021x'), '[Security]\nEAP-PEAP-CACert=/data/certs/wlan-ca.pem\n')
    writeFileSync(join(home, 'du-config.defaults.json'), '{"hub": "/data/product/authority.pem"}')
    mkdirSync(join(this.dir, 'lost+found'))
    writeFileSync(join(this.outside, 'file'), 'x')
    symlinkSync(this.outside, join(this.dir, 'adu/state/link'))
    symlinkSync('nowhere', join(this.dir, 'dangling'))
    this.trial('echo none')
    writeFileSync(join(this.dir, '../secrets'), `token ${SECRET} 0400 hello\n`)
  }

  /** What the boot state says. */
  trial(command: string): void {
    writeFileSync(join(this.bin, 'fw_printenv'), `#!/bin/sh\n${command}\n`, { mode: 0o755 })
  }

  /** Runs the program that orders it. Returns what it complained about. */
  order(what: string, restart = 'true'): string {
    const program = join(repositoryRoot(), 'image/rootfs/usr/lib/pi-adu/factory-reset')
    return spawnSync('sh', [program, what, this.dir, restart], {
      encoding: 'utf8',
      env: { ...process.env, PATH: `${this.bin}:${process.env.PATH}` },
    }).stderr.trim()
  }

  /** A start. `before`: shell text in front of the function. */
  start(before = ''): string {
    const image = join(repositoryRoot(), 'image/initramfs')
    const script = `${before}\n. "$0/reset-data"; reset_data "$@"`
    const argv = ['-c', script, image, join(image, 'reset-keeps.txt'), this.dir, join(this.dir, '../secrets')]
    return spawnSync('sh', argv, { encoding: 'utf8' }).stdout
  }

  get files(): readonly string[] {
    const found = readdirSync(this.dir, { recursive: true, withFileTypes: true })
    const files = found.filter(entry => !entry.isDirectory())
    return files.map(entry => join(entry.parentPath, entry.name).slice(this.dir.length + 1)).sort()
  }
}

test('without an order nothing is touched', () => {
  const data = new Partition()
  const before = data.files
  assert.equal(data.start(), '')
  assert.deepEqual(data.files, before)
})

test('identity, keys, network and the files of layers stay, and nothing else; links are not followed', () => {
  const data = new Partition()
  assert.equal(data.order('identity'), '')
  assert.equal(data.start(), 'factory reset: the identity is kept\nfactory reset: done\n')
  assert.deepEqual(data.files, [...KEPT, SECRET].sort())
  assert.equal(readFileSync(join(data.dir, 'keys/passphrase'), 'utf8'), 'keys/passphrase')
  assert.ok(existsSync(join(data.dir, 'lost+found')))
  assert.deepEqual(readdirSync(data.outside), ['file'])
  assert.equal(data.start(), '', 'once')
})

test('files that the configuration names stay, however it is written', () => {
  const paths = ['my keys/pass phrase', 'keys/passphrase']
  const text = `${JSON.stringify({ a: paths.map(path => `/data/${path}`), b: 'tool --key /data/keys/other -x' })}\r\n`
  for (const written of [text, text.replaceAll('/', '\\/'), Buffer.from(`\ufeff${text}`, 'utf16le')]) {
    const data = new Partition()
    mkdirSync(join(data.dir, 'my keys'))
    writeFileSync(join(data.dir, paths[0]!), 'x')
    writeFileSync(join(data.dir, 'adu/du-config.json'), written)
    data.order('identity')
    data.start()
    assert.deepEqual(data.files, [...KEPT, SECRET, paths[0]!, 'keys/other'].sort())
  }
})

test('"all" leaves nothing', () => {
  const data = new Partition()
  data.order('all')
  assert.equal(data.start(), 'factory reset: nothing is kept\nfactory reset: done\n')
  assert.deepEqual(readdirSync(data.dir), [])
})

test('what cannot be removed is named and stays, the rest goes, and the next start does not begin again', () => {
  const data = new Partition()
  data.order('identity')
  const stuck = `rm() { case "$*" in *"/hello/starts" | *"/log") return 1 ;; esac; command rm "$@"; }`
  const said = data.start(stuck)
  assert.match(said, /^factory reset: hello\/starts cannot be removed$/m)
  assert.match(said, /^factory reset: log cannot be removed$/m)
  assert.match(said, /^factory reset: done$/m)
  assert.deepEqual(data.files, [...KEPT, SECRET, 'hello/starts', 'log/journal/1/system.journal'].sort())
  assert.equal(data.start(), '')
})

test('after a power cut at any command the next start completes the reset, and what is kept was never away', () => {
  for (const [what, left] of [
    ['identity', [...KEPT, SECRET].sort()],
    ['all', []],
  ] as const) {
    for (let at = FIRST + 1, ended = false; !ended; at += EVERY) {
      const data = new Partition()
      data.order(what)
      const calls = `${data.dir}.calls`
      const counted = ['rm', 'sync'].map(
        name =>
          `${name}() { echo >>${calls}; [ "$(wc -l <${calls})" -lt ${at} ] || kill -9 $$; command ${name} "$@"; }`,
      )
      ended = data.start(counted.join('\n')).includes('done')
      for (const file of left) assert.ok(data.files.includes(file), `${what}, command ${at}: ${file}`)
      data.start()
      assert.deepEqual(data.files, left, `${what}, command ${at}`)
      assert.ok(at < 100)
    }
  }
})

test('what is kept has everything that the image puts onto the data partition as identity', () => {
  const provision = readFileSync(join(repositoryRoot(), 'image/rootfs/usr/lib/pi-adu/provision'), 'utf8')
  const taken = [...provision.matchAll(/^# {3}\S+ .*-> \/data\/(\w+)/gm)].map(([, folder]) => folder!)
  assert.ok(taken.length >= 8)
  for (const folder of taken) assert.ok(['adu', ...linesOf('initramfs/reset-keeps.txt')].includes(folder), folder)
})

test('an order is refused in a trial, for a wrong word, and by a data partition that cannot be written', () => {
  const data = new Partition()
  assert.match(data.order('everything'), /^usage/)
  data.trial('echo pending')
  assert.match(data.order('all'), /a new system is on trial/)
  data.trial('echo "Cannot open /boot/firmware/boot.env" >&2; exit 1')
  assert.match(data.order('all'), /the boot state cannot be read: Cannot open/)
  assert.equal(existsSync(join(data.dir, 'reset')), false)
})

test('a restart that fails is said, and the order stays for the next start', () => {
  const data = new Partition()
  assert.match(data.order('all', 'no-such-program'), /no-such-program/)
  assert.ok(existsSync(join(data.dir, 'reset')))
})

test('pi-adu factory-reset asks for --yes where nobody can be asked, and does nothing off the image', async () => {
  const main = join(repositoryRoot(), 'dist/src/main.js')
  const { status, stderr } = spawnSync(process.execPath, [main, 'factory-reset'], { encoding: 'utf8', input: '' })
  assert.equal(status, 64)
  assert.match(stderr, /this is not the image/)
  const data = new Partition()
  const program = join(data.outside, 'order')
  writeFileSync(program, `#!/bin/sh\necho "$1" >${data.outside}/ordered\nexit 3\n`, { mode: 0o755 })
  await assert.rejects(factoryReset({ all: false, yes: false }, program), /needs --yes/)
  await factoryReset({ all: true, yes: true }, program)
  assert.equal(process.exitCode, 3)
  process.exitCode = undefined
  assert.equal(readFileSync(join(data.outside, 'ordered'), 'utf8'), 'all\n')
})
