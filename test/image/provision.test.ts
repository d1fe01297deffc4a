import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { EVERY, FIRST } from '../every.ts'

// image/rootfs/usr/lib/pi-adu/provision as a program, on folders in place of the two partitions.

const PROGRAM = join(repositoryRoot(), 'image/rootfs/usr/lib/pi-adu/provision')
const home = mkdtempSync(join(tmpdir(), 'provision-'))
/** For what is made by the hundred: the program waits for the disk after each step. */
const fast = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'provision-'))
after(() => {
  for (const dir of [home, fast]) rmSync(dir, { recursive: true, force: true })
})

const BUILT = Date.UTC(2026, 0, 1) / 1000
const YEAR = 31_557_600

const inHome = (...argv: [string, ...string[]]): string =>
  execFileSync(argv[0], argv.slice(1), { cwd: home, encoding: 'utf8', stdio: 'pipe' })
inHome('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', 'key')
const KEYS = readFileSync(join(home, 'key.pub'), 'utf8')
// Longer than one sector, as a power cut can end between two.
inHome(
  'openssl',
  'req',
  '-x509',
  '-newkey',
  'rsa:2048',
  '-nodes',
  '-keyout',
  'ca.key',
  '-subj',
  '/CN=ca',
  '-out',
  'ca.pem',
)
const CERTIFICATE = readFileSync(join(home, 'ca.pem'), 'utf8')
const AES_KEY = `${'6b'.repeat(32)} ${'1f'.repeat(16)}\n`
const CONFIG = JSON.stringify({
  schemaVersion: '1.1',
  manufacturer: 'contoso',
  model: 'pi',
  agents: [
    {
      name: 'main',
      manufacturer: 'contoso',
      model: 'pi',
      connectionSource: {
        connectionType: 'string',
        connectionData: `HostName=hub.azure-devices.net;DeviceId=pi1;SharedAccessKey=${'a2V5'.repeat(8)}`,
      },
    },
  ],
})

interface Ran {
  readonly code: number | null
  readonly said: string
  /** Arguments of `date -s`. */
  readonly clock: string
}

class Card {
  readonly dir: string
  readonly boot: string
  readonly data: string
  readonly run: string
  /** Programs that the program finds before the real ones. */
  readonly bin = mkdtempSync(join(home, 'bin-'))
  constructor(where = home) {
    this.dir = mkdtempSync(join(where, 'card-'))
    this.boot = join(this.dir, 'boot')
    this.data = join(this.dir, 'data')
    this.run = join(this.dir, 'run')
    for (const folder of ['boot', 'data/adu', 'data/ssh']) mkdirSync(join(this.dir, folder), { recursive: true })
    writeFileSync(join(this.dir, 'epoch'), '')
    utimesSync(join(this.dir, 'epoch'), BUILT, BUILT)
    // The users of the image do not exist here, and this machine's clock is not ours.
    this.program('chown', 'exit 0')
    this.program('date', `[ "$1" != -s ] || { echo "$2" >>${this.dir}/clock; exit 0; }\nexec ${real('date')} "$@"`)
    this.program('pi-adu', `exec ${process.execPath} ${join(repositoryRoot(), 'dist/src/main.js')} "$@"`)
  }
  program(name: string, text: string): void {
    writeFileSync(join(this.bin, name), `#!/bin/sh\n${text}\n`)
    chmodSync(join(this.bin, name), 0o755)
  }
  put(name: string, content: string | Buffer): void {
    // As fstab has it: mode 0660.
    writeFileSync(join(this.boot, name), content, { mode: 0o660 })
  }
  onBoot(name: string): string | undefined {
    return text(join(this.boot, name))
  }
  onData(name: string): string | undefined {
    return text(join(this.data, name))
  }
  get argv(): [string, ...string[]] {
    return [PROGRAM, this.boot, this.data, this.run, join(this.dir, 'epoch'), join(this.dir, 'secrets.txt')]
  }
  get env(): NodeJS.ProcessEnv {
    return { ...process.env, PATH: `${this.bin}:${process.env.PATH}`, LC_ALL: 'C' }
  }
  start(before: readonly string[] = []): Ran {
    // An earlier start left files that nobody may write, which is nothing to root; this test may be somebody else.
    if (process.getuid?.() !== 0 && existsSync(this.boot)) {
      for (const name of readdirSync(this.boot)) {
        const file = join(this.boot, name)
        if (statSync(file).isFile()) chmodSync(file, statSync(file).mode | 0o200)
      }
    }
    const [program, ...args] = [...before, ...this.argv]
    const { status, stdout, stderr } = spawnSync(program!, args, { env: this.env, encoding: 'utf8' })
    return { code: status, said: `${stdout}${stderr}`, clock: text(join(this.dir, 'clock')) ?? '' }
  }
}

const text = (path: string): string | undefined =>
  existsSync(path) && statSync(path).isFile() ? readFileSync(path, 'utf8') : undefined
const real = (name: string): string =>
  execFileSync('/bin/sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim()
/** Root reads everything; without its capabilities it is like anybody else. */
const PLAIN = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] : []

const TAKEN: readonly [name: string, target: string, content: string, mode: number][] = [
  ['hub-ca.pem', 'adu/hub-ca.pem', CERTIFICATE, 0o640],
  ['content-ca.pem', 'adu/content-ca.pem', CERTIFICATE, 0o640],
  ['swupdate.pem', 'adu/swupdate.pem', CERTIFICATE, 0o640],
  ['authorized_keys', 'ssh/authorized_keys', KEYS, 0o644],
  ['du-config.json', 'adu/du-config.json', CONFIG, 0o600],
  ['swupdate.key', 'adu/swupdate.key', AES_KEY, 0o640],
  ['device.pem', 'adu/device.pem', CERTIFICATE, 0o640],
  ['device.key', 'adu/device.key', readFileSync(join(home, 'ca.key'), 'utf8'), 0o600],
  ['dps.key', 'adu/dps.key', `${Buffer.alloc(64, 7).toString('base64')}\n`, 0o600],
]

test('everything is taken, and wiped from the boot partition; the owner can come in', () => {
  const card = new Card()
  for (const [name, , content] of TAKEN) card.put(name, content)
  card.put('extra.env', 'extra=quiet\n')
  const { code, said } = card.start()
  assert.equal(code, 0, said)
  for (const [name, target, content, mode] of TAKEN) {
    assert.equal(card.onData(target), content)
    assert.equal(card.onBoot(name), undefined)
    assert.equal(statSync(join(card.data, target)).mode & 0o777, mode)
    assert.match(said, new RegExp(`^<6>${name} taken`, 'm'))
  }
  assert.match(card.onData('ssh/ssh_host_ed25519_key') ?? '', /PRIVATE KEY/)
  assert.equal(statSync(join(card.boot, 'extra.env')).mode & 0o222, 0)
  assert.equal(card.start().said, '')
})

for (const [name, target, content] of TAKEN) {
  test(`${name}: what cannot be taken stays, costs one line, and the others are taken`, () => {
    const other = name === 'authorized_keys' ? TAKEN[0]! : TAKEN[3]!
    const stays = (why: RegExp, prepare: (card: Card) => void, before: readonly string[] = []): void => {
      const card = new Card()
      card.put(other[0], other[2])
      writeFileSync(join(card.data, target), 'of before')
      prepare(card)
      const { said } = card.start(before)
      const lines = said.split('\n').filter(line => line.startsWith('<3>'))
      assert.equal(lines.length, 1, said)
      assert.match(lines[0]!, why)
      assert.ok(existsSync(join(card.boot, name)), said)
      assert.equal(card.onData(target), 'of before')
      assert.equal(card.onData(other[1]), other[2], said)
      assert.equal(card.onBoot(other[0]), undefined)
      assert.equal(existsSync(join(card.run, 'config-refused')), name === 'du-config.json')
    }
    stays(/not a regular file/, card => mkdirSync(join(card.boot, name)))
    stays(
      /cannot be read.*Permission denied/,
      card => {
        card.put(name, content)
        chmodSync(join(card.boot, name), 0)
      },
      PLAIN,
    )
    stays(/is empty/, card => card.put(name, ''))
    stays(/larger than 1 MiB/, card => card.put(name, Buffer.alloc(2 ** 20 + 1, content)))
    stays(/PEM certificate|SSH key|hexadecimal|not valid JSON|private key|base64/, card =>
      card.put(name, content.slice(0, content.length / 3)),
    )
    // As a card has it that was pulled out before all was written.
    const hole = Buffer.concat([Buffer.alloc(512), Buffer.from(content)])
    stays(/begins with zeros/, card => card.put(name, hole))
  })

  test(`${name}: what a power cut left of the wiping is wiped, and only that`, () => {
    const card = new Card()
    const left = Buffer.from(content)
    left.fill(0, 0, Math.min(512, left.length))
    card.put(name, left)
    writeFileSync(join(card.data, target), content)
    assert.match(card.start().said, new RegExp(`<6>${name} taken`))
    assert.equal(card.onBoot(name), undefined)
    assert.equal(card.onData(target), content)
  })

  test(`${name}: a data partition that cannot take it leaves it where it is`, () => {
    const card = new Card()
    card.put(name, content)
    mkdirSync(join(card.data, target, 'in-the-way'), { recursive: true })
    const { code, said } = card.start()
    assert.equal(code, 1)
    assert.match(said, new RegExp(`<3>${name} cannot be taken to .*${target} and stays`))
    assert.equal(card.onBoot(name), content)
  })
}

test('a card that gives back something else than was written keeps the original', () => {
  const card = new Card()
  card.put('hub-ca.pem', CERTIFICATE)
  writeFileSync(join(card.data, 'adu/hub-ca.pem'), 'of before')
  card.program(
    'sync',
    `for last; do :; done; case $last in *.new) printf X | dd of="$last" conv=notrunc status=none ;; esac`,
  )
  const { code, said } = card.start()
  assert.equal(code, 1)
  assert.match(said, /<3>hub-ca\.pem cannot be taken .* differ/)
  assert.equal(card.onBoot('hub-ca.pem'), CERTIFICATE)
  assert.equal(card.onData('adu/hub-ca.pem'), 'of before')
})

/** Puts the files on a file system where block `index` of each is `block`, which the disk, cut short, no longer has. */
function brokenDisk(card: Card, index: number, block: number): boolean {
  const image = join(card.dir, 'disk')
  const from = join(card.dir, 'from')
  mkdirSync(from)
  for (const [name, , content] of TAKEN) writeFileSync(join(from, name), content.padEnd(3000, '\n'))
  execFileSync('truncate', ['-s', '4M', image])
  execFileSync('mke2fs', ['-q', '-t', 'ext2', '-b', '1024', '-d', from, image])
  for (const [name] of TAKEN)
    execFileSync('debugfs', ['-w', '-R', `sif ${name} block[${index}] ${block}`, image], { stdio: 'ignore' })
  if (spawnSync('mount', ['-o', 'loop,ro', image, card.boot]).status !== 0) return false
  execFileSync('truncate', ['-s', '3M', image])
  return true
}

const BROKEN: readonly [what: string, index: number, block: number][] = [
  ['the beginning of each file', 0, 4000],
  ['the middle of each file', 1, 4000],
  // Outside of the file system: the kernel refuses the inode as a whole.
  ['each directory entry', 0, 0xffffff],
]
for (const [what, index, block] of BROKEN) {
  test(`${what} cannot be read: all stay`, t => {
    const card = new Card()
    if (!brokenDisk(card, index, block)) return t.skip('needs the right to mount')
    try {
      const { said } = card.start()
      for (const [name, target] of TAKEN) {
        // The certificate and its key share one line.
        const line = name.startsWith('device.') ? `<3>.*\\b${name}: it` : `<3>${name} .*`
        assert.match(said, new RegExp(`${line} cannot be read: .*(error|clean)`))
        assert.equal(card.onData(target), undefined)
      }
      assert.doesNotMatch(said, /taken/)
    } finally {
      execFileSync('umount', [card.boot])
    }
  })
}

test('a boot partition that cannot be read is one line, and not an empty one', () => {
  const card = new Card()
  rmSync(card.boot, { recursive: true })
  const { code, said } = card.start()
  assert.equal(code, 1)
  assert.match(said, /^<3>the boot partition cannot be read: .*\n$/)
})

test('the clock follows the file only to a time that can be', () => {
  const written = (seconds: number): string => {
    const card = new Card()
    card.put('du-config.json', CONFIG)
    utimesSync(join(card.boot, 'du-config.json'), seconds, seconds)
    const { said, clock } = card.start()
    assert.equal(card.onData('adu/du-config.json'), CONFIG, said)
    assert.equal(/the clock is not set/.test(said), seconds > BUILT + 15 * YEAR)
    return clock
  }
  const later = Math.round(Date.now() / 1000) + 86_400
  assert.equal(written(later), `@${later}\n`)
  assert.equal(written(Date.UTC(2020, 0, 1) / 1000), '')
  assert.equal(written(Date.UTC(2107, 11, 31) / 1000), '')
})

test('a refused configuration does not move the clock', () => {
  const card = new Card()
  card.put('du-config.json', '{')
  const later = Date.now() / 1000 + 86_400
  utimesSync(join(card.boot, 'du-config.json'), later, later)
  assert.equal(card.start().clock, '')
  assert.match(text(join(card.run, 'config-refused')) ?? '', /not valid JSON/)
})

const PROGRAMS = [
  'cat',
  'chmod',
  'chown',
  'cmp',
  'cp',
  'dd',
  'dirname',
  'find',
  'grep',
  'head',
  'ls',
  'mv',
  'openssl',
  'rm',
  'ssh-keygen',
  'stat',
  'sync',
  'tr',
]

const [KEY_FILE, KEY_TARGET] = TAKEN[3]!
/** Several sectors. */
const MANY_KEYS = KEYS.repeat(12)

/** The shell has no function of the one name, and the other is run by find(1). */
const NO_FUNCTIONS = ['ssh-keygen', 'chmod']

/** A card on which the `at`-th command that the program runs does not do what it should. */
function disturbed(at: number, how: string, files: Readonly<Record<string, string>>): Card {
  const card = new Card(fast)
  for (const [name, content] of Object.entries(files)) card.put(name, content)
  const count = join(card.dir, 'count')
  const functions: string[] = []
  for (const name of PROGRAMS) {
    const path = name === 'chown' ? '/bin/true' : real(name)
    // Commands of a pipe run at the same time: each adds its line. Counted by the shell itself: that is quick.
    const text = `echo >>${count}; n=0; while read -r _; do n=$((n + 1)); done <${count}; real=${path}\n[ "$n" != ${at} ] || { ${how}; }\nexec $real "$@"`
    if (NO_FUNCTIONS.includes(name)) card.program(name, text)
    else functions.push(`${name}() (\n${text}\n)`)
  }
  // A function saves the start of a shell, of which there would be ten thousands.
  writeFileSync(join(card.dir, 'functions'), functions.join('\n'))
  return card
}

/** Runs the program on such a card, in a process group of its own: that is what is cut. Then without the disturbance. */
async function runDisturbed(card: Card, at: number): Promise<boolean> {
  const [program, ...args] = card.argv
  const argv = ['-c', `. ${join(card.dir, 'functions')}; . ${program}`, program, ...args]
  await once(spawn('sh', argv, { env: card.env, detached: true, stdio: 'ignore' }), 'exit')
  for (const name of NO_FUNCTIONS) rmSync(join(card.bin, name))
  return readFileSync(join(card.dir, 'count'), 'utf8').length >= at
}

/** The moment before a command is that after the one before. */
const HOW: Readonly<Record<string, string>> = {
  'a power cut after': '$real "$@"; kill -9 0',
  'a failure of': 'echo broken >&2; exit 5',
}
for (const [what, how] of Object.entries(HOW)) {
  test(`${what} each command loses nothing, and the next boot completes it`, async () => {
    let at = FIRST + 1
    for (let reached = true; reached; at += EVERY) {
      const card = disturbed(at, how, { [KEY_FILE]: MANY_KEYS })
      reached = await runDisturbed(card, at)
      const isSafe = card.onBoot(KEY_FILE) === MANY_KEYS || card.onData(KEY_TARGET) === MANY_KEYS
      assert.ok(isSafe, `lost at command ${at}`)
      const { code, said } = card.start()
      assert.equal(code, 0, said)
      assert.ok(card.onBoot(KEY_FILE) === undefined, `command ${at}: ${said}`)
      assert.ok(card.onData(KEY_TARGET) === MANY_KEYS, `command ${at}: ${said}`)
      assert.ok(card.onData('ssh/ssh_host_ed25519_key'))
      assert.deepEqual(execFileSync('find', [card.data, '-name', '*new*'], { encoding: 'utf8' }), '')
      rmSync(card.dir, { recursive: true })
    }
    assert.ok(at > 30, `${at} commands`)
  })
}

/** Another certificate and its key. */
inHome(
  ...(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'] as const),
  ...['-keyout', 'new.key', '-subj', '/CN=new', '-out', 'new.pem'],
)
const OLD = { 'device.pem': CERTIFICATE, 'device.key': readFileSync(join(home, 'ca.key'), 'utf8') }
const NEW = {
  'device.pem': readFileSync(join(home, 'new.pem'), 'utf8'),
  'device.key': readFileSync(join(home, 'new.key'), 'utf8'),
}
type Pair = typeof OLD
const pairOnData = (card: Card): Partial<Pair> => ({
  'device.pem': card.onData('adu/device.pem')!,
  'device.key': card.onData('adu/device.key')!,
})
function withOldPair(card: Card): Card {
  for (const [name, content] of Object.entries(OLD)) writeFileSync(join(card.data, 'adu', name), content)
  return card
}

for (const [what, how] of Object.entries(HOW)) {
  test(`${what} each command leaves certificate and key together, and the next boot completes them`, async () => {
    let at = FIRST + 1
    for (let reached = true; reached; at += EVERY) {
      const card = withOldPair(disturbed(at, how, NEW))
      reached = await runDisturbed(card, at)
      const onData = pairOnData(card)
      for (const name of ['device.pem', 'device.key'] as const)
        assert.ok(card.onBoot(name) === NEW[name] || onData[name] === NEW[name], `${name} lost at command ${at}`)
      const isOne = [OLD, NEW].some(pair => isDeepStrictEqual(pair, onData))
      // Only a power cut can fall between the two, and then both are still there for the next boot.
      const isForNext = how.includes('kill') && Object.entries(NEW).every(([name, text]) => card.onBoot(name) === text)
      assert.ok(isOne || isForNext, `command ${at}: half a pair`)
      const { code, said } = card.start()
      assert.equal(code, 0, said)
      assert.deepEqual(pairOnData(card), NEW, `command ${at}: ${said}`)
      assert.deepEqual(readdirSync(card.boot), [], `command ${at}: ${said}`)
      assert.deepEqual(readdirSync(join(card.data, 'adu')).sort(), ['device.key', 'device.pem'])
      rmSync(card.dir, { recursive: true })
    }
    assert.ok(at > 60, `${at} commands`)
  })
}

const HOLE = Buffer.alloc(512)
const HALVES: readonly [what: string, files: Partial<Record<keyof Pair, string | Buffer>>, why: RegExp][] = [
  ['no private key', { ...NEW, 'device.key': 'x' }, /device\.key: it has no private key/],
  ['an empty key', { ...NEW, 'device.key': '' }, /device\.key: it is empty/],
  ['a key that begins with zeros', { ...NEW, 'device.key': HOLE }, /device\.key: it begins with zeros/],
  ['no certificate', { ...NEW, 'device.pem': 'x' }, /device\.pem: it has no PEM certificate/],
  ['neither', { 'device.pem': 'x', 'device.key': '' }, /device\.pem: it has no .*; device\.key: it is empty/],
  ['a key of another certificate', { ...NEW, 'device.key': OLD['device.key'] }, /the key does not belong/],
  ['a new certificate alone', { 'device.pem': NEW['device.pem'] }, /data partition.* does not belong.* together/],
  ['a new key alone', { 'device.key': NEW['device.key'] }, /data partition.* does not belong.* together/],
]
for (const [what, files, why] of HALVES) {
  test(`certificate and key are taken together or not at all: ${what}`, () => {
    const card = withOldPair(new Card())
    for (const [name, content] of Object.entries(files)) card.put(name, content)
    const { said } = card.start()
    assert.match(said, /^<3>[^\n]*\n$/)
    assert.match(said, why)
    assert.deepEqual(pairOnData(card), OLD)
    assert.deepEqual(readdirSync(card.boot).sort(), Object.keys(files).sort())
  })
}

for (const name of ['device.pem', 'device.key'] as const) {
  test(`certificate and key stay when the data partition cannot take ${name}`, () => {
    const other = name === 'device.pem' ? 'device.key' : 'device.pem'
    const card = withOldPair(new Card())
    for (const [file, content] of Object.entries(NEW)) card.put(file, content)
    const target = join(card.data, 'adu', name)
    rmSync(target)
    mkdirSync(join(target, 'in-the-way'), { recursive: true })
    const { code, said } = card.start()
    assert.equal(code, 1)
    assert.match(said, /^<3>device\.pem and device\.key cannot be taken to [^\n]*\n$/)
    assert.equal(card.onData(`adu/${other}`), OLD[other])
    assert.deepEqual(readdirSync(card.boot).sort(), ['device.key', 'device.pem'])
    assert.deepEqual(readdirSync(join(card.data, 'adu')).sort(), ['device.key', 'device.pem'])
  })
}

test('files of the boot partition and its overlays become read-only, those of other folders are left alone', () => {
  const card = new Card()
  for (const folder of ['overlays/more', 'photos']) mkdirSync(join(card.boot, folder), { recursive: true })
  const names = ['usercfg.txt', 'overlays/my.dtbo', 'overlays/more/x', 'photos/x', 'boot.env']
  for (const name of names) card.put(name, 'x')
  assert.equal(card.start().said, '')
  const isReadOnly = names.map(name => (statSync(join(card.boot, name)).mode & 0o222) === 0)
  assert.deepEqual(isReadOnly, [true, true, false, false, false])
})

test('a renewed certificate of the same key is taken alone, and a key that openssl cannot read with its certificate', () => {
  inHome('openssl', 'req', '-x509', '-key', 'ca.key', '-subj', '/CN=renewed', '-out', 'renewed.pem')
  const renewed = readFileSync(join(home, 'renewed.pem'), 'utf8')
  const card = withOldPair(new Card())
  card.put('device.pem', renewed)
  assert.equal(card.start().code, 0)
  assert.deepEqual(pairOnData(card), { ...OLD, 'device.pem': renewed })
  inHome('openssl', 'pkcs8', '-topk8', '-in', 'new.key', '-passout', 'pass:secret', '-out', 'encrypted.key')
  const encrypted = { ...NEW, 'device.key': readFileSync(join(home, 'encrypted.key'), 'utf8') }
  for (const [file, content] of Object.entries(encrypted)) card.put(file, content)
  assert.equal(card.start().code, 0)
  assert.deepEqual(pairOnData(card), encrypted)
})

test('a power cut between any two sectors of the wiping is completed', () => {
  for (let sectors = 1; sectors * 512 < MANY_KEYS.length + 512; sectors++) {
    const card = new Card()
    card.put(KEY_FILE, Buffer.from(MANY_KEYS).fill(0, 0, Math.min(sectors * 512, MANY_KEYS.length)))
    writeFileSync(join(card.data, KEY_TARGET), MANY_KEYS)
    const { said } = card.start()
    assert.ok(card.onBoot(KEY_FILE) === undefined, said)
    assert.ok(card.onData(KEY_TARGET) === MANY_KEYS, said)
  }
})

test('files that a layer names are taken from the card, others stay', () => {
  const card = new Card()
  writeFileSync(join(card.dir, 'secrets.txt'), 'app.token app/token 0400 0:0\napp.pem app/app.pem 0440 0:0\n')
  mkdirSync(join(card.data, 'app'))
  card.put('app.token', 'abc')
  card.put('other.token', 'def')
  const { code, said } = card.start()
  assert.equal(code, 0, said)
  assert.match(said, /app\.token taken/)
  assert.equal(card.onData('app/token'), 'abc')
  assert.equal(statSync(join(card.data, 'app/token')).mode & 0o777, 0o400)
  assert.equal(card.onBoot('app.token'), undefined)
  assert.equal(card.onBoot('other.token'), 'def')
  assert.equal(card.onData('app/app.pem'), undefined)
})

test('a file of a layer that cannot be taken stays, and does not keep the others', () => {
  const card = new Card()
  writeFileSync(join(card.dir, 'secrets.txt'), 'gone.token gone/token 0400 0:0\napp.token app/token 0400 0:0\n')
  mkdirSync(join(card.data, 'app'))
  card.put('gone.token', 'abc')
  card.put('app.token', '')
  card.put('hub-ca.pem', CERTIFICATE)
  const { said } = card.start()
  assert.match(said, /gone\.token cannot be taken/)
  assert.match(said, /app\.token on the boot partition is refused and stays there: it is empty/)
  assert.equal(card.onBoot('gone.token'), 'abc')
  assert.equal(card.onData('adu/hub-ca.pem'), CERTIFICATE)
})

/** With these programs in place of the one that orders a reset, and of the restart. */
function withReset(card: Card, order: string, trial = 'none'): Ran & { readonly restarted: boolean } {
  card.program('order-reset', order)
  writeFileSync(join(card.dir, 'cmdline'), `ro adu.slot=a adu.trial=${trial} quiet\n`)
  const { status, stdout, stderr } = spawnSync(
    PROGRAM,
    [
      ...card.argv.slice(1),
      ...['', '', '/dev/null', join(card.bin, 'order-reset'), `touch ${card.dir}/restarted`, `${card.dir}/cmdline`],
    ],
    { env: card.env, encoding: 'utf8' },
  )
  const restarted = existsSync(join(card.dir, 'restarted'))
  return { code: status, said: `${stdout}${stderr}`, clock: '', restarted }
}
const ORDERS = 'printf %s "$1" >"$2/reset"'

for (const [content, kind] of [
  ['', 'identity'],
  ['identity\n', 'identity'],
  ['\ufeffall\r\n', 'all'],
  ['all\n', 'all'],
] as const) {
  test(`a factory reset is ordered by a file with ${JSON.stringify(content)}; the other files are for after it`, () => {
    const card = new Card()
    card.put('factory-reset', content)
    card.put('hub-ca.pem', CERTIFICATE)
    const { code, said, restarted } = withReset(card, ORDERS)
    assert.deepEqual([code, restarted, card.onData('reset')], [0, true, kind], said)
    assert.equal(card.onBoot('factory-reset'), undefined)
    assert.equal(card.onBoot('hub-ca.pem'), CERTIFICATE)
    assert.match(said, /^<5>factory reset ordered/m)
  })
}

test('a factory reset that is not ordered stays as a file, costs one line, and the others are taken', () => {
  const refused = (why: RegExp, content: string, order: string): void => {
    const card = new Card()
    card.put('factory-reset', content)
    card.put('hub-ca.pem', CERTIFICATE)
    const { said, restarted } = withReset(card, order)
    assert.match(said, why)
    assert.equal(said.split('\n').filter(line => line.startsWith('<3>')).length, 1, said)
    assert.deepEqual([restarted, card.onData('reset'), card.onBoot('factory-reset')], [false, undefined, content])
    assert.equal(card.onData('adu/hub-ca.pem'), CERTIFICATE)
  }
  refused(/neither nothing, nor "identity", nor "all"/, 'please', ORDERS)
  refused(/a new system is on trial/, 'all', 'echo "a new system is on trial" >&2; exit 1')
})

test('a factory reset is judged by how the boot began: fw_printenv cannot be asked so early', () => {
  const card = new Card()
  const program = join(repositoryRoot(), 'image/rootfs/usr/lib/pi-adu/factory-reset')
  card.program('fw_printenv', 'exit 1')
  card.put('factory-reset', '')
  const pending = withReset(card, `exec sh ${program} "$@"`, 'pending')
  assert.match(pending.said, /^<3>factory-reset on the boot partition is refused .*: a new system is on trial/m)
  assert.deepEqual([pending.restarted, card.onData('reset')], [false, undefined])
  const failed = withReset(card, `exec sh ${program} "$@"`, 'failed')
  assert.deepEqual([failed.restarted, card.onData('reset')], [true, 'identity\n'], failed.said)
})

test('a factory reset whose file cannot be wiped is taken back: it would reset at each start', () => {
  const card = new Card()
  card.put('factory-reset', '')
  card.program('rm', `case "$*" in *boot/factory-reset) echo no >&2; exit 1 ;; esac\nexec ${real('rm')} "$@"`)
  const { code, said, restarted } = withReset(card, ORDERS)
  assert.deepEqual([code, restarted, card.onData('reset')], [1, false, undefined], said)
  assert.match(said, /cannot be wiped/)
})

test('a factory reset whose restart fails is an error, and the order waits', () => {
  const card = new Card()
  card.put('factory-reset', '')
  card.program('touch', 'echo "no restart" >&2; exit 1')
  const { code, said, restarted } = withReset(card, ORDERS)
  assert.deepEqual([code, restarted, card.onData('reset')], [1, false, 'identity'])
  assert.match(said, /^<3>the factory reset waits for the next start.*no restart/m)
})

test('factory-reset.txt is told its name, and a refused order stays easy to replace', () => {
  const card = new Card()
  card.put('factory-reset.txt', '')
  card.put('factory-reset', 'please')
  const { said, restarted } = withReset(card, ORDERS)
  assert.match(said, /^<3>factory-reset\.txt .*without \.txt/m)
  assert.equal(restarted, false)
  for (const name of ['factory-reset', 'factory-reset.txt'])
    assert.notEqual(statSync(join(card.boot, name)).mode & 0o200, 0, name)
})

test('a name to which an editor has added .txt is told', () => {
  const card = new Card()
  const names = ['du-config.json', 'authorized_keys', 'device.pem', 'extra.env', 'app.token']
  for (const name of [...names, 'NOTES']) card.put(`${name}.txt`, 'x')
  writeFileSync(join(card.dir, 'secrets.txt'), 'app.token app/token 0400 0:0\n')
  const { said } = card.start()
  for (const name of names)
    assert.match(
      said,
      new RegExp(`^<3>${name}\\.txt on the boot partition is refused .*must be ${name}, without \\.txt$`, 'm'),
    )
  assert.doesNotMatch(said, /NOTES/)
})
