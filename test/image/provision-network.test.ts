import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { EVERY, FIRST } from '../every.ts'

// The files for network and first start, from the boot partition to the data partition (image/rootfs/usr/lib/pi-adu/provision).

const PROGRAM = join(repositoryRoot(), 'image/rootfs/usr/lib/pi-adu/provision')
// In memory where that is possible: the program waits for the disk after each step.
const home = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'provision-network-'))
after(() => rmSync(home, { recursive: true, force: true }))

const psk = (password: string): string => `[Security]\nPassphrase=${password}\n`
const KEY = `ssh-ed25519 ${Buffer.concat([Buffer.from([0, 0, 0, 11]), Buffer.from('ssh-ed25519'), Buffer.from([0, 0, 0, 32]), Buffer.alloc(32, 7)]).toString('base64')} me`
const TOML = `[system]\nhostname = "pi-7"\n[ssh]\nauthorized_keys = ["${KEY}"]\n[wlan]\nssid = "Büro"\npassword = "12345678"\n[locale]\ntimezone = "Europe/Berlin"\n[user]\nname = "me"\n`

class Card {
  readonly dir = mkdtempSync(join(home, 'card-'))
  readonly boot = join(this.dir, 'boot')
  readonly data = join(this.dir, 'data')
  readonly bin = join(this.dir, 'bin')
  constructor() {
    for (const folder of ['boot', 'data/adu', 'data/ssh', 'data/iwd', 'bin', 'zones/Europe'])
      mkdirSync(join(this.dir, folder), { recursive: true })
    for (const name of ['epoch', 'iwd', 'zones/Europe/Berlin', 'kernel-name']) writeFileSync(join(this.dir, name), '')
    // The users of the image do not exist here.
    this.program('chown', 'exit 0')
    this.program('pi-adu', `exec ${process.execPath} ${join(repositoryRoot(), 'dist/src/main.js')} "$@"`)
  }
  program(name: string, text: string): void {
    writeFileSync(join(this.bin, name), `#!/bin/sh\n${text}\n`)
    chmodSync(join(this.bin, name), 0o755)
  }
  put(files: Readonly<Record<string, string | Buffer>>): this {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(this.boot, name), content, { mode: 0o660 })
    return this
  }
  start(before: readonly string[] = []): {
    readonly code: number | null
    readonly said: string
    readonly refusals: readonly string[]
  } {
    const here = (name: string) => join(this.dir, name)
    const argv = [
      this.boot,
      this.data,
      here('run'),
      here('epoch'),
      here('secrets'),
      here('iwd'),
      here('zones'),
      here('kernel-name'),
    ]
    const env = { ...process.env, PATH: `${this.bin}:${process.env.PATH}`, LC_ALL: 'C' }
    const [program = PROGRAM, ...args] = [...before, PROGRAM, ...argv]
    const { status, stdout, stderr } = spawnSync(program, args, { env, encoding: 'utf8' })
    const said = `${stdout}${stderr}`
    return { code: status, said, refusals: said.split('\n').filter(line => line.startsWith('<3>')) }
  }
  onData(name: string): string | undefined {
    return existsSync(join(this.data, name)) ? readFileSync(join(this.data, name), 'utf8') : undefined
  }
  get onBoot(): readonly string[] {
    return readdirSync(this.boot).sort()
  }
}

test('networks, country and an Imager preseed are taken, wiped, and leave nothing in /run', () => {
  const card = new Card().put({
    'Pi Net.psk': psk('a password'),
    'Café ☕.psk': psk('another1'),
    'country.txt': 'de\n',
    'rpi-preseed.toml': TOML,
  })
  const { code, said, refusals } = card.start()
  assert.deepEqual([code, refusals], [0, []], said)
  assert.deepEqual(card.onBoot, [])
  assert.equal(card.onData('iwd/Pi Net.psk'), psk('a password'))
  assert.equal(card.onData('iwd/=436166c3a920e29895.psk'), psk('another1'))
  assert.equal(card.onData('iwd/=42c3bc726f.psk'), psk('12345678'))
  assert.equal(statSync(join(card.data, 'iwd/Pi Net.psk')).mode & 0o777, 0o600)
  assert.equal(card.onData('adu/wlan-country'), 'DE\n')
  assert.equal(card.onData('adu/hostname'), 'pi-7\n')
  assert.equal(readFileSync(join(card.dir, 'kernel-name'), 'utf8'), 'pi-7\n')
  assert.equal(card.onData('ssh/authorized_keys'), `${KEY}\n`)
  assert.equal(readlinkSync(join(card.data, 'adu/localtime')), join(card.dir, 'zones/Europe/Berlin'))
  assert.match(said, /^<4>rpi-preseed\.toml: this system does not have, and leaves out: user\.name$/m)
  assert.doesNotMatch(said, /password|12345678/)
  assert.deepEqual(readdirSync(join(card.dir, 'run')), [])
  assert.equal(existsSync(join(card.data, 'adu/wiping')), false)
  assert.equal(card.start().said, '')
})

test('a newer file replaces an older network; the other networks stay', () => {
  const card = new Card().put({ 'Home.psk': psk('new password') })
  writeFileSync(join(card.data, 'iwd/Home.psk'), 'of before, rewritten by iwd')
  writeFileSync(join(card.data, 'iwd/Work.psk'), psk('12345678'))
  assert.equal(card.start().code, 0)
  assert.equal(card.onData('iwd/Home.psk'), psk('new password'))
  assert.equal(card.onData('iwd/Work.psk'), psk('12345678'))
})

test('a file that cannot be used stays, writable, and costs one line; the others are taken', () => {
  const bad: Readonly<Record<string, string | Buffer>> = {
    'Bad.psk': psk('short'),
    'Big.psk': Buffer.alloc(2 ** 20, 'x'),
    'Wide.psk': Buffer.from(psk('12345678'), 'utf16le'),
    'country.txt': 'UK',
    'custom.toml': '[wlan]\nssid = "Home',
    'firstrun.sh': '#!/bin/sh\ntouch /tmp/owned\n',
    'rpi-preseed.toml.txt': '[wlan]\nssid = "Home"\n',
  }
  const card = new Card().put({ ...bad, 'Good.psk': psk('12345678') })
  mkdirSync(join(card.boot, 'Folder.psk'))
  const { refusals, said } = card.start()
  assert.deepEqual(card.onBoot, [...Object.keys(bad), 'Folder.psk'].sort())
  assert.equal(refusals.length, card.onBoot.length, said)
  for (const name of card.onBoot)
    assert.equal(
      refusals.filter(line => line.startsWith(`<3>${name} on the boot partition is refused and stays there: `)).length,
      1,
      said,
    )
  assert.deepEqual(readdirSync(join(card.data, 'iwd')), ['Good.psk'])
  assert.equal(statSync(join(card.boot, 'Bad.psk')).mode & 0o200, 0o200)
})

test('files that contradict each other stay, also at the next start; authorized_keys is one of them', () => {
  const other = KEY.replace(' me', ' you').replace('BwcH', 'CAgI')
  const card = new Card().put({ authorized_keys: `${other}\n`, 'rpi-preseed.toml': TOML, 'Home.psk': psk('12345678') })
  writeFileSync(join(card.data, 'ssh/authorized_keys'), 'of before')
  for (let start = 0; start < 2; start++) {
    assert.equal(card.start().refusals.length, 2)
    assert.deepEqual(card.onBoot, ['authorized_keys', 'rpi-preseed.toml'])
    assert.equal(card.onData('ssh/authorized_keys'), 'of before')
    chmodSync(join(card.boot, 'authorized_keys'), 0o660)
  }
  assert.equal(card.onData('iwd/Home.psk'), psk('12345678'))
})

/** What `pi-adu preseed` says of these two files, without the time that Node needs. */
const CANNED = `out=$5
said() { [ -s "$3/$2" ] && ! head -c 8 "$3/$2" | tr -d '\\000' | cmp -s - /dev/null; }
if said x Home.psk "$3"; then
  printf '[Security]\\nPassphrase=12345678\\n' >$out/1
  printf 'put\\tHome.psk\\t1\\tiwd/Home.psk\\t0600\\ntaken\\tHome.psk\\t-\\n'
fi
if said x custom.toml "$3"; then
  echo Europe/Berlin >$out/2
  printf 'put\\tcustom.toml\\t2\\tadu/timezone\\t0644\\ntaken\\tcustom.toml\\t-\\n'
fi
for name in Home.psk custom.toml; do
  [ ! -e "$3/$name" ] || said x $name "$3" || printf 'refuse\\t%s\\tit begins with zeros\\n' $name
done`

test('a power cut at any command: the next start takes and wipes what is left', () => {
  let cuts = 0
  for (const command of ['cp', 'mv', 'sync', 'dd', 'rm', 'ln']) {
    for (let nth = FIRST + 1; ; nth += EVERY) {
      assert.ok(nth < 60)
      const card = new Card().put({
        'Home.psk': psk('12345678'),
        'custom.toml': '[locale]\ntimezone = "Europe/Berlin"\n',
      })
      card.program('pi-adu', CANNED)
      // The nth call of this command is the last thing that happens.
      card.program(
        command,
        `n=$(($(cat ${card.dir}/n 2>/dev/null || echo 0) + 1)); echo $n >${card.dir}/n
PATH=${process.env.PATH}
[ $n -ne ${nth} ] || { ${command === 'dd' ? 'dd "$@"; ' : ''}kill -9 0; }
exec ${command === 'chown' ? 'true' : command} "$@"`,
      )
      const cut = card.start(['setsid'])
      if (cut.code === 0) break
      cuts++
      rmSync(join(card.bin, command))
      card.program('chown', 'exit 0')
      const { code, said, refusals } = card.start()
      assert.deepEqual([code, refusals], [0, []], `${command} ${nth}: ${said}`)
      assert.deepEqual(card.onBoot, [], `${command} ${nth}`)
      assert.equal(card.onData('iwd/Home.psk'), psk('12345678'))
      assert.equal(readlinkSync(join(card.data, 'adu/localtime')), join(card.dir, 'zones/Europe/Berlin'))
    }
  }
  if (EVERY === 1) assert.ok(cuts > 20, `${cuts} cuts`)
})

test('what a power cut left of the wiping is wiped although iwd has rewritten the network', () => {
  const card = new Card()
  const text = psk('12345678')
  card.put({ 'Home.psk': Buffer.alloc(text.length) })
  writeFileSync(join(card.data, 'adu/wiping'), `${text.length}\nHome.psk\n`)
  writeFileSync(join(card.data, 'iwd/Home.psk'), 'rewritten')
  assert.match(card.start().said, /^<6>Home\.psk taken/m)
  assert.deepEqual(card.onBoot, [])
  assert.equal(card.onData('iwd/Home.psk'), 'rewritten')
})

test('a wiping that fails a second time is tried again at the next start', () => {
  const card = new Card()
  const text = psk('12345678')
  card.put({ 'Home.psk': Buffer.alloc(text.length) })
  writeFileSync(join(card.data, 'adu/wiping'), `${text.length}\nHome.psk\n`)
  card.program('rm', `case "$*" in *boot/Home.psk) exit 1 ;; esac\nPATH=\${PATH#*:} exec rm "$@"`)
  assert.match(card.start().said, /^<3>Home\.psk was taken, but cannot be wiped/m)
  assert.deepEqual(card.onBoot, ['Home.psk'])
  rmSync(join(card.bin, 'rm'))
  assert.match(card.start().said, /^<6>Home\.psk taken/m)
  assert.deepEqual(card.onBoot, [])
})

test('a data partition that cannot take one part leaves the file where it is', () => {
  const card = new Card().put({ 'rpi-preseed.toml': TOML, 'Home.psk': psk('12345678') })
  mkdirSync(join(card.data, 'adu/hostname/in-the-way'), { recursive: true })
  const { code, said } = card.start()
  assert.equal(code, 1)
  assert.match(said, /^<3>rpi-preseed\.toml cannot be taken to .*adu\/hostname and stays/m)
  assert.deepEqual(card.onBoot, ['rpi-preseed.toml'])
  assert.equal(card.onData('iwd/Home.psk'), psk('12345678'))
})

test('a reader that fails costs one line, and the other files are taken', () => {
  const card = new Card().put({ 'Home.psk': psk('12345678'), authorized_keys: `${KEY}\n` })
  card.program('pi-adu', 'echo "pi-adu: broken" >&2; exit 70')
  const { code, refusals } = card.start()
  assert.equal(code, 1)
  assert.deepEqual(refusals, ['<3>the files for the network on the boot partition cannot be read: pi-adu: broken'])
  assert.deepEqual(card.onBoot, ['Home.psk'])
})

test('a system without WLAN keeps the network and says so', () => {
  const card = new Card().put({ 'Home.psk': psk('12345678') })
  rmSync(join(card.dir, 'iwd'))
  assert.match(card.start().said, /^<4>Home\.psk: this system has no WLAN; its network waits/m)
  assert.deepEqual(card.onBoot, [])
})
