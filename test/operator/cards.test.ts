import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { IMAGE } from '../../image/builder/data.ts'
import { BLOCK, openBaseImage } from '../../src/operator/cards/base-image.ts'
import { blockMapText, readBlockMap, runsOf } from '../../src/operator/cards/block-map.ts'
import { BootPartition } from '../../src/operator/cards/boot-partition.ts'
import { CARD_FILES, overlayFlaws } from '../../src/operator/cards/card-files.ts'
import { csvOf } from '../../src/operator/cards/card-record.ts'
import { type BlockDevice, diskFlaw } from '../../src/operator/cards/disk.ts'
import { writeDisk } from '../../src/operator/cards/write-disk.ts'
import { selfSignedDevice } from '../bench/dps/authority.ts'
import { configOf, makeDevices, makeImage, onBoot, privateKey, tableOf } from './card-image.ts'
import { OPERATOR, operator, operatorOptions } from './support.ts'

const MIB = 2 ** 20

async function aPlace(t: TestContext, options: Parameters<typeof makeImage>[1] = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'cards-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  const image = makeImage(dir, options)
  const [devices, out] = [join(dir, 'batch'), join(dir, 'out')]
  mkdirSync(devices)
  const usual = ['--image', image, '--devices', devices]
  return { dir, image, devices, out, usual, cards: (...more: string[]) => operator(['cards', ...usual, ...more]) }
}

const modeOf = (path: string): number => statSync(path).mode & 0o777
const rowsIn = (out: string) => JSON.parse(readFileSync(join(out, 'report.json'), 'utf8')).cards

/** The image with the mapped blocks of a difference, as bmaptool writes it over the image on a card. */
function applied(image: string, difference: string): Buffer {
  const [card, other] = [readFileSync(image), readFileSync(difference)]
  const ranges = readBlockMap(readFileSync(`${difference}.bmap`, 'utf8'), card.length) ?? []
  assert.ok(ranges.length > 0)
  for (const { first, last } of ranges) other.copy(card, first * BLOCK, first * BLOCK, (last + 1) * BLOCK)
  return card
}

test('cards have the files of their device, as whole images or as the blocks that differ', async t => {
  const { dir, image, devices, out, cards } = await aPlace(t, { secrets: ['app.token'] })
  const common = join(dir, 'everywhere')
  mkdirSync(join(common, 'overlays'), { recursive: true })
  writeFileSync(join(common, 'authorized_keys'), 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ owner\n')
  writeFileSync(join(common, 'usercfg.txt'), 'dtoverlay=clock\n')
  writeFileSync(join(common, 'overlays/clock.dtbo'), 'overlay')
  makeDevices(devices, {
    'pi-0001': { 'app.token': 'secret 1' },
    'pi-0002': {
      'usercfg.txt': 'dtoverlay=board,speed=2\n',
      'Pi Net.psk': '[Security]\nPassphrase=the password\n',
      'Hall.open': '',
      'Café ☕.open': '',
      'My [5G].open': '',
    },
    'Pi-0003': {},
  })
  writeFileSync(join(devices, 'report.json'), '{}')
  execFileSync('bmaptool', ['-q', 'create', '-o', `${image}.bmap`, image])

  const whole = await cards('--common', common, '--out', join(out, 'whole'))
  assert.equal(whole.exitCode, 0, whole.stderr)
  assert.match(whole.stdout, /3 of 3 written/)
  assert.match(whole.stderr, /warning: app\.token.* missing for 2 of 3: Pi-0003, pi-0002/)
  const difference = await cards('--common', common, '--out', join(out, 'difference'), '--form', 'difference')
  assert.equal(difference.exitCode, 0, difference.stderr)

  for (const name of ['pi-0001', 'pi-0002', 'Pi-0003']) {
    const card = join(out, 'whole', `${name}.img`)
    assert.equal(onBoot(card, 'du-config.json').toString(), configOf(name))
    assert.deepEqual(onBoot(card, 'dps.key'), readFileSync(join(devices, name, 'dps.key')))
    assert.equal(onBoot(card, 'overlays/clock.dtbo').toString(), 'overlay')
    assert.equal(
      onBoot(card, 'usercfg.txt').toString(),
      name === 'pi-0002' ? 'dtoverlay=board,speed=2\n' : 'dtoverlay=clock\n',
    )
    const small = join(out, 'difference', `${name}.diff.img`)
    // FAT has the second in which a file was made.
    const [one, two] = [applied(image, small), readFileSync(card)]
    assert.ok(one.filter((byte, i) => byte !== two[i]).length < 60, 'both forms are the same card')
    assert.ok(statSync(small).blocks * 512 < 200_000, 'little disk')
    for (const file of [card, `${card}.bmap`, small, `${small}.bmap`]) {
      assert.equal(modeOf(file), 0o600)
      if (file.endsWith('.bmap')) continue
      // It checks the checksums of the map and of each range.
      const copy = join(dir, 'copy')
      execFileSync('bmaptool', ['-q', 'copy', '--bmap', `${file}.bmap`, file, copy])
      if (file === card) assert.ok(readFileSync(copy).equals(readFileSync(card)))
    }
  }
  assert.match(onBoot(join(out, 'whole/pi-0002.img'), 'Pi Net.psk').toString(), /Passphrase=the password/)
  assert.equal(onBoot(join(out, 'whole/pi-0002.img'), 'Hall.open').length, 0)
  // In the pieces of five and six characters that FAT has, whatever mtools makes of them in the locale of this machine.
  const names = readFileSync(join(out, 'whole/pi-0002.img'))
  for (const part of ['Café ', '☕.open', 'My [5', 'G].ope'])
    assert.ok(names.includes(Buffer.from(part, 'utf16le')), part)
  assert.equal(onBoot(join(out, 'whole/pi-0001.img'), 'app.token').toString(), 'secret 1')
  assert.equal(modeOf(join(out, 'whole')), 0o700)
  const report = readFileSync(join(out, 'difference/report.csv'), 'utf8')
  assert.match(report, /^device,state,file,bytes,files,missing,reason\r\n/)
  assert.match(report, /\r\npi-0001,written,pi-0001\.diff\.img,\d+,authorized_keys .*dps\.key/)
  assert.equal(report.includes('secret 1'), false)
  assert.deepEqual(
    readdirSync(join(out, 'whole')).filter(name => !/\.img(\.bmap)?$/.test(name)),
    ['report.csv', 'report.json'],
  )
})

test('each mistake in the folders costs a line, and nothing is written', async t => {
  const { dir, devices, out, cards } = await aPlace(t, { secrets: ['app.token'] })
  const pair = await selfSignedDevice('x')
  const string = (id: string) =>
    JSON.stringify({
      ...{ schemaVersion: '1.1', manufacturer: 'c', model: 'm' },
      agents: [
        {
          ...{ name: 'main', manufacturer: 'c', model: 'm' },
          connectionSource: {
            connectionType: 'string',
            connectionData: `HostName=h.example.com;DeviceId=${id};SharedAccessKey=c2VjcmV0c2VjcmV0`,
          },
        },
      ],
    })
  const cases: Readonly<Record<string, readonly [Readonly<Record<string, string | Buffer>>, RegExp]>> = {
    'no-config': [{ 'du-config.json': '-' }, /no-config: there is no du-config\.json/],
    'bad-json': [{ 'du-config.json': '{' }, /bad-json: du-config\.json .*line 1/],
    'one-pin': [
      { 'du-config.json': configOf('one-pin', { leds: { green: 5 }, button: { gpio: 5 } }) },
      /one-pin: .*piAdu\.button\.gpio: a light has this pin/,
    ],
    'bad-setting': [{ 'du-config.json': configOf('bad-setting', { nothing: 1 }) }, /bad-setting: .*nothing/],
    'no-key': [{ 'dps.key': '-' }, /no-key: du-config\.json names \/data\/adu\/dps\.key, and there is no dps\.key/],
    'bad-key': [{ 'dps.key': 'short' }, /bad-key: dps\.key: it is not a key of 16 to 64 bytes/],
    empty: [{ 'extra.env': '' }, /empty: extra\.env: it is empty/],
    large: [{ 'extra.env': Buffer.alloc(MIB + 1, 'x') }, /large: extra\.env: it is larger than 1 MiB/],
    wlan: [{ 'Net.psk': '[Security]\nPassphrase=short\n' }, /wlan: Net\.psk: .*8 to 63/],
    contradiction: [
      { 'country.txt': 'DE', 'rpi-preseed.toml': '[wlan]\ncountry = "FR"\n' },
      /contradiction: country\.txt: rpi-preseed\.toml says something else/,
    ],
    cloud: [{ 'user-data': 'x' }, /cloud: user-data: cloud-init is not supported/],
    zeros: [{ 'extra.env': Buffer.alloc(600) }, /zeros: extra\.env: it begins with zeros/],
    unknown: [{ 'notes.txt': 'x' }, /unknown: notes\.txt: the system takes no file of this name/],
    reset: [{ 'factory-reset': '' }, /reset: factory-reset: a new card has nothing to reset/],
    letters: [{ 'App.Token': 'x' }, /letters: App\.Token: its name must be app\.token/],
    fat: [{ 'a:b.psk': 'x' }, /fat: a:b\.psk: a card cannot have .* name it =613a62\.psk/],
    emoji: [{ 'Pi 🍓.psk': 'x' }, /emoji: .*: a card cannot have .* name it =506920f09f8d93\.psk/],
    capitals: [
      { 'Home.open': '', 'home.open': '' },
      /capitals: home\.open: the boot partition takes it for Home\.open/,
    ],
    folder: [{ 'more/x': 'x' }, /folder: more: it is not a regular file/],
    overlay: [{ 'overlays/x.dts': 'x' }, /overlay: overlays\/x\.dts: an overlay has a name/],
    'no-overlay': [
      { 'usercfg.txt': '# dtoverlay=y\r\ndtoverlay=disable-bt\r\ndtoverlay=board.dtbo\r\n' },
      /no-overlay: usercfg\.txt: dtoverlay=disable-bt: neither the device nor the image has overlays\/disable-bt\.dtbo/,
    ],
    authority: [{ 'hub-ca.pem': 'x' }, /authority: hub-ca\.pem: it has no PEM certificate/],
    mismatch: [
      { 'device.pem': pair.cert, 'device.key': privateKey() },
      /mismatch: device\.key does not belong to device\.pem/,
    ],
    'twice-a': [{ 'du-config.json': configOf('twice'), 'dps.key': `${Buffer.alloc(32, 1).toString('base64')}\n` }, /x/],
    'twice-b': [{ 'du-config.json': configOf('Twice') }, /twice-b: it has the id "twice" of twice-a/],
    'twice-c': [
      { 'dps.key': `${Buffer.alloc(32, 1).toString('base64')}\n` },
      /twice-c: it has the dps\.key of twice-a/,
    ],
    'twice-d': [{ 'du-config.json': string('d'), 'dps.key': '-' }, /x/],
    'twice-e': [{ 'du-config.json': string('e'), 'dps.key': '-' }, /twice-e: it has the key of twice-d/],
    'Pi-1': [{}, /x/],
    'pi-1': [{}, /pi-1: there is a folder Pi-1 too/],
    'pi-2.NEW~': [{}, /pi-2\.NEW~: enrol was interrupted there/],
    'pi\n3': [{}, /pi 3: this is not the name of a device/],
    refused: [{}, /refused: enrol has not enrolled it/],
  }
  writeFileSync(join(devices, 'report.json'), '{"devices":[{"registrationId":"refused","state":"failed"}]}')
  const names = Object.keys(cases)
  // As many as one call shows, and those that belong together.
  for (const group of [names.slice(0, 9), names.slice(9, 19), names.slice(19)]) {
    makeDevices(devices, Object.fromEntries(group.map(name => [name, cases[name]![0]])))
    const { exitCode, stderr } = await cards('--out', out)
    assert.equal(exitCode, 64, stderr)
    const patterns = group.map(name => cases[name]![1]).filter(({ source }) => source !== 'x')
    for (const pattern of patterns) assert.match(stderr, pattern)
    const problems = Number(stderr.match(/: nothing was written: (\d+) problems in/)?.[1])
    // Of two files that contradict each other both are named.
    assert.equal(problems, patterns.length + (group.includes('contradiction') ? 1 : 0))
    assert.equal(stderr.trim().split('\n').length, problems + 1)
    assert.doesNotMatch(stderr, /c2VjcmV0/)
    for (const name of group) await rm(join(devices, name), { recursive: true })
  }
  const common = join(dir, 'everywhere')
  mkdirSync(common)
  writeFileSync(join(common, 'home.open'), '')
  makeDevices(devices, { 'pi-1': { 'Home.open': '' } })
  const twin = await cards('--common', common, '--out', out)
  assert.deepEqual([twin.exitCode, /pi-1: Home\.open: .* takes it for home\.open/.test(twin.stderr)], [64, true])
  await rm(join(devices, 'pi-1'), { recursive: true })
  assert.equal(existsSync(out), false)
  const { exitCode, stderr } = await cards('--out', out)
  assert.deepEqual([exitCode, /has no folder of a device/.test(stderr)], [64, true])
  makeDevices(devices, { 'pi-1': {} })
  symlinkSync('nowhere', join(devices, 'pi-8'))
  const dangling = await cards('--out', out)
  assert.deepEqual([dangling.exitCode, /pi-8: it is a link that leads nowhere/.test(dangling.stderr)], [64, true])
  await rm(join(devices, 'pi-8'))
  // A device may lie elsewhere.
  makeDevices(dir, { 'pi-9': {} })
  symlinkSync(join(dir, 'pi-9'), join(devices, 'pi-9'))
  assert.match((await cards('--out', out, '--form', 'difference')).stdout, /2 of 2 written/)
  await rm(out, { recursive: true })
  for (const [args, pattern] of [
    [[], /one of --out and --to/],
    [['--to', '/dev/null'], /name it with --device/],
    [['--to', '/dev/null', '--device', 'pi-1'], /\/dev\/null is not a disk/],
    [['--to', join(dir, 'none'), '--device', 'pi-1'], /cannot use .*none/],
    [['--out', devices], /--out must not lie in/],
    [['--out', join(devices, 'x')], /--out must not lie in/],
    [['--out', out, '--device', 'pi-2'], /has no folder pi-2/],
    [['--out', out, '--devices', join(dir, 'none')], /cannot read/],
  ] as const) {
    const result = await cards(...args)
    assert.equal(result.exitCode, 64)
    assert.match(result.stderr, pattern)
  }
})

test('lines about overlays that the firmware would pass over', () => {
  const place = { isThere: (path: string) => path === 'overlays/board.dtbo', nobody: 'nobody has', hasOverlay: false }
  const lines =
    'dtparam=spi=on\r\n#dtoverlay=x\r\ndtoverlay=Board,speed=2\r\ndtparam=a=1\r\ndtoverlay=other.dtbo\r\ndtoverlay=\r\n'
  const [params, overlays] = [
    /^dtparam=spi=on: no dtoverlay= comes before it, /,
    /^dtoverlay=other\.dtbo: nobody has overlays\/other\.dtbo$/,
  ]
  const flaws = overlayFlaws(lines, place)
  assert.equal(flaws.length, 2)
  assert.match(flaws[0]!, params)
  assert.match(flaws[1]!, overlays)
  // Its parameter may be for the overlay of a layer.
  assert.deepEqual(overlayFlaws(lines, { ...place, hasOverlay: true }), [flaws[1]])
  assert.equal(overlayFlaws('dtparam=a=1\ndtparam=b=2\n', place).length, 2)
})

test('an image that cards cannot be made of is refused', async t => {
  const { dir, devices, out } = await aPlace(t)
  makeDevices(devices, { 'pi-1': {} })
  const three = [[0x0c, 1], [0x83, 1], [0x83, 1]] as const // biome-ignore format: a table
  for (const [content, bytes, pattern] of [
    [Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), MIB, /compressed: unpack it first/],
    [Buffer.alloc(100), MIB, /no partition table/],
    [Buffer.alloc(10), 10, /no partition table/],
    [tableOf([[0xee, 3]]), 4 * MIB, /GPT/],
    [tableOf([[0x83, 1], [0x83, 1], [0x83, 1]]), 4 * MIB, /first partition is not FAT/], // biome-ignore format: a table
    [tableOf([[0x0c, 1]]), 4 * MIB, /partitions 2 and 3 are not slots/],
    [tableOf([...three, [0x83, 1]]), 4 * MIB, /shorter than its partition table says/],
    [tableOf(three), 3 * MIB, /shorter than its partition table says/],
  ] as const) {
    const image = join(dir, 'bad.img')
    writeFileSync(image, content)
    truncateSync(image, bytes)
    const { exitCode, stderr } = await operator(['cards', '--image', image, '--devices', devices, '--out', out])
    assert.equal(exitCode, 64)
    assert.match(stderr, pattern)
    assert.equal(stderr.trim().split('\n').length, 1)
  }
  assert.equal(existsSync(out), false)
})

test('a work file that cannot be completed is not left', async t => {
  const { dir, image } = await aPlace(t)
  const base = await openBaseImage(image)
  // In place of a full disk.
  truncateSync(image, 2 * MIB)
  const work = join(dir, 'work')
  await assert.rejects(BootPartition.open(base, work), /cannot write .*work: it is shorter than before/)
  assert.equal(existsSync(work), false)
})

test('a card that does not fit fails alone', async t => {
  const { devices, out, cards } = await aPlace(t, { bootMib: 2 })
  const large = Buffer.alloc(MIB, 'x')
  makeDevices(devices, { 'pi-1': {}, 'pi-2': { 'extra.env': large, 'usercfg.txt': large }, 'pi-3': {} })
  const { exitCode, stdout } = await cards('--out', out, '--form', 'difference')
  assert.equal(exitCode, 1)
  assert.match(stdout, /✘ pi-2 {2}the boot partition is full/)
  assert.deepEqual(
    readdirSync(out).filter(name => name.endsWith('.img')),
    ['pi-1.diff.img', 'pi-3.diff.img'],
  )
  await rm(join(devices, 'pi-2/extra.env'))
  const again = await cards('--out', out, '--form', 'difference')
  assert.equal(again.exitCode, 0, again.stdout)
})

test('a kill leaves no card that only looks complete, and the next call goes on', async t => {
  const { dir, image, devices, out, usual, cards } = await aPlace(t)
  const names = Array.from({ length: 30 }, (_, i) => `pi-${String(i).padStart(3, '0')}`)
  makeDevices(devices, Object.fromEntries(names.map(name => [name, {}])))
  const files = (): string[] => (existsSync(out) ? readdirSync(out).filter(name => name.endsWith('.img')) : [])
  for (const [count, how] of [
    [1, 'SIGKILL'],
    [5, 'SIGINT'],
    [10, 'SIGKILL'],
  ] as const) {
    const child = spawn('node', [OPERATOR, 'cards', ...usual, '--out', out, '--form', 'difference'], {
      stdio: 'ignore',
    })
    const ended = once(child, 'exit')
    while (files().length < count && child.exitCode === null) await sleep(5)
    child.kill(how)
    await ended
    // It holds a key.
    if (how === 'SIGINT')
      assert.equal(
        readdirSync(out)
          .filter(name => name.includes('work'))
          .join(),
        '',
      )
    for (const file of files()) assert.ok(applied(image, join(out, file)))
  }
  const kept = new Map(
    rowsIn(out)
      .filter((row: { state: string }) => row.state === 'written')
      .map((row: { file: string }) => [row.file, statSync(join(out, row.file)).ino]),
  )
  writeFileSync(join(devices, 'pi-000/dps.key'), `${Buffer.alloc(32, 7).toString('base64')}\n`)
  const done = await cards('--out', out, '--form', 'difference')
  assert.equal(done.exitCode, 0, done.stderr)
  assert.equal(files().length, 30)
  for (const [file, inode] of kept) {
    if (file !== 'pi-000.diff.img') assert.equal(statSync(join(out, String(file))).ino, inode, 'it was kept')
  }
  const card = join(dir, 'card.img')
  writeFileSync(card, applied(image, join(out, 'pi-000.diff.img')))
  assert.equal(onBoot(card, 'dps.key').toString(), `${Buffer.alloc(32, 7).toString('base64')}\n`)
  assert.deepEqual(
    readdirSync(out).filter(name => !/\.diff\.img(\.bmap)?$/.test(name)),
    ['report.csv', 'report.json'],
  )

  // What is not ours is left alone.
  makeDevices(devices, { 'pi-900': {} })
  writeFileSync(join(out, 'pi-900.diff.img'), 'mine')
  const refused = await cards('--out', out, '--form', 'difference')
  assert.equal(refused.exitCode, 64)
  assert.match(refused.stderr, /pi-900\.diff\.img is not from an earlier call/)
  assert.equal(await readFile(join(out, 'pi-900.diff.img'), 'utf8'), 'mine')
  writeFileSync(join(out, 'report.json'), '{"kind":"cards","cards":[null]}')
  assert.match((await cards('--out', out)).stderr, /not a report of cards/)
  writeFileSync(join(out, 'report.json'), '{"devices":[]}')
  assert.match((await cards('--out', out)).stderr, /not a report of cards/)
})

test('of two calls on one folder the second writes nothing', async t => {
  const { devices, out, cards } = await aPlace(t)
  makeDevices(devices, { 'pi-1': {} })
  mkdirSync(out)
  const other = spawn('flock', [out, 'sh', '-c', 'echo held; read line'], { stdio: ['pipe', 'pipe', 'ignore'] })
  await once(other.stdout, 'data')
  const ended = once(other, 'exit')
  const refused = await cards('--out', out)
  assert.equal(refused.exitCode, 3, refused.stderr)
  assert.match(refused.stderr, /another call writes to .*: wait for its end/)
  assert.deepEqual(readdirSync(out), [])
  other.stdin.end()
  await ended
  assert.equal((await cards('--out', out)).exitCode, 0)
})

test('a card without its files, or with another device’s, counts as failed and is not there', async t => {
  const { dir, devices, out, usual, cards } = await aPlace(t)
  makeDevices(devices, { 'pi-1': {}, 'pi-2': {}, 'pi-3': {} })
  const bin = join(dir, 'bin')
  mkdirSync(bin)
  const mcopy = execFileSync('which', ['mcopy']).toString().trim()
  writeFileSync(
    join(bin, 'mcopy'),
    `#!/bin/sh\ncase "$*" in */pi-2/*) exit 0;; esac\nexec ${mcopy} $(echo "$@" | sed s,/pi-3/,/pi-1/,g)\n`,
    { mode: 0o755 },
  )
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` }
  for (const form of ['whole', 'difference']) {
    const { exitCode, stdout } = await operator(['cards', ...usual, '--out', out, '--form', form], undefined, { env })
    assert.equal(exitCode, 1, stdout)
    assert.match(stdout, /✘ pi-2 {2}its files did not get onto the boot partition/)
    assert.match(stdout, /✘ pi-3 {2}the card does not hold the files of its device/)
    const file = form === 'whole' ? 'pi-1.img' : 'pi-1.diff.img'
    // No card of the other form is left either.
    assert.deepEqual(
      readdirSync(out).filter(name => !name.startsWith('report.')),
      form === 'whole' ? [file] : [file, `${file}.bmap`],
    )
  }
  assert.equal((await cards('--out', out, '--form', 'difference')).exitCode, 0)
  // What is not ours is left alone, also after a change of the form.
  writeFileSync(join(out, 'pi-2.img'), 'mine')
  const refused = await cards('--out', out)
  assert.equal(refused.exitCode, 64)
  assert.match(refused.stderr, /pi-2\.img is not from an earlier call/)
  assert.equal(readFileSync(join(out, 'pi-2.img'), 'utf8'), 'mine')
  assert.ok(existsSync(join(out, 'pi-1.diff.img')))
})

test('a disk is written with the card and read back, without the zeros of slot b', async t => {
  const { dir, image } = await aPlace(t)
  const base = await openBaseImage(image)
  const disk = join(dir, 'disk')
  const old = Buffer.alloc(base.size + MIB, 0xee)
  writeFileSync(disk, old)
  const content = Buffer.alloc(BLOCK, 1)
  await writeDisk(disk, base, [{ block: 300, content }], () => {})
  const wanted = Buffer.concat([readFileSync(image), old.subarray(base.size)])
  content.copy(wanted, 300 * BLOCK)
  wanted.fill(0xee, base.slotB.start + MIB, base.slotB.start + base.slotB.size)
  assert.ok(readFileSync(disk).equals(wanted))

  // Over an older card of ours, whose partition table is the same: it must not start before the new one is whole.
  const startsWith = (bytes: Buffer): boolean => readFileSync(disk).subarray(0, MIB).equals(bytes)
  const damage = (at: number): void => {
    const file = openSync(disk, 'r+')
    writeSync(file, 'damage', at)
    closeSync(file)
  }
  for (const [phase, at, act] of [
    ['writing', 0, () => assert.fail('pulled')],
    ['reading back', 0, () => assert.fail('pulled')],
    ['writing', 100, () => damage(2 * MIB)],
    ['reading back', 100, () => damage(446)],
  ] as const) {
    writeFileSync(disk, wanted)
    let last = -1
    const look = (what: string, percent: number): void => {
      if (percent < 100) assert.ok(startsWith(Buffer.alloc(MIB)), `${what} ${percent}`)
      if (what === phase && percent >= at && last < at) act()
      if (what === phase) last = percent
    }
    await assert.rejects(
      writeDisk(disk, base, [], look),
      at === 0 ? /is not complete: pulled/ : /is not complete: .* reads back as/,
    )
    assert.ok(startsWith(Buffer.alloc(MIB)), `${phase} ${at}`)
  }

  truncateSync(image, base.size - MIB)
  await assert.rejects(
    writeDisk(disk, base, [], () => {}),
    /the card in .* is not complete: it ends too early/,
  )
})

test('without mtools the command says what to install', async t => {
  const { dir, image, devices, out } = await aPlace(t)
  makeDevices(devices, { 'pi-1': {} })
  const programs = join(dir, 'programs')
  mkdirSync(programs)
  const flock = (await execa('which', ['flock'])).stdout
  symlinkSync(process.execPath, join(programs, 'node'))
  symlinkSync(flock, join(programs, 'flock'))
  const flags = ['cards', '--image', image, '--devices', devices, '--out', out, '--form', 'difference']
  const run = await operator(flags, undefined, { ...operatorOptions(), env: { ...process.env, PATH: programs } })
  assert.match(run.stderr, /pi-adu-operator: mdir is not installed: install the package mtools/)
  assert.equal(run.exitCode, 64)
})

test('a card is written to a loop device, as to a disk', async t => {
  const { dir, image, devices, cards } = await aPlace(t)
  makeDevices(devices, { 'pi-1': {} })
  const disk = join(dir, 'disk')
  for (const [bytes, pattern] of [
    [statSync(image).size - MIB, /less than the image/],
    [statSync(image).size + MIB, undefined],
  ] as const) {
    writeFileSync(disk, Buffer.alloc(bytes))
    const made = await execa('losetup', ['--find', '--show', disk], { reject: false })
    if (made.exitCode !== 0) return t.skip('needs the right to make a loop device')
    const loop = made.stdout
    try {
      const asked = await cards('--to', loop, '--device', 'pi-1')
      assert.match(asked.stderr, pattern ?? /nobody can be asked.*--yes/)
      assert.equal(asked.exitCode, 64)
      if (pattern) continue
      // What is read back without it may be the kernel's copy.
      const programs = join(dir, 'programs')
      mkdirSync(programs)
      writeFileSync(join(programs, 'blockdev'), '#!/bin/sh\nexit 1\n', { mode: 0o755 })
      const env = { ...process.env, PATH: `${programs}:${process.env.PATH}` }
      const flags = ['cards', '--image', image, '--devices', devices, '--to', loop, '--device', 'pi-1', '--yes']
      const unsettled = await operator(flags, undefined, { ...operatorOptions(), env })
      assert.equal(unsettled.exitCode, 3, unsettled.stdout)
      assert.match(unsettled.stderr, /is not complete: blockdev --flushbufs .*failed/)
      const { exitCode, stderr, stdout } = await cards('--to', loop, '--device', 'pi-1', '--yes')
      assert.equal(exitCode, 0, stderr)
      assert.match(stdout, /pi-1 is on the card/)
    } finally {
      await execa('losetup', ['--detach', loop])
    }
  }
  assert.equal(onBoot(disk, 'du-config.json').toString(), configOf('pi-1'))
})

test('a disk in use is refused', () => {
  const disk: BlockDevice = { path: '/dev/sdb', type: 'disk', size: 100, ro: false, model: 'Card', mountpoints: [null] }
  const part: BlockDevice = { ...disk, path: '/dev/sdb1', type: 'part' }
  for (const [device, pattern] of [
    [disk, undefined],
    [{ ...disk, children: [part] }, undefined],
    [{ ...disk, type: 'loop' }, undefined],
    [part, /it is a part, not a whole disk/],
    [{ ...disk, type: 'rom' }, /it is a rom/],
    [{ ...disk, mountpoints: ['/'] }, /\/dev\/sdb is mounted on \//],
    [{ ...disk, children: [{ ...part, mountpoints: [null, '/boot'] }] }, /\/dev\/sdb1 is mounted on \/boot/],
    [{ ...disk, children: [{ ...part, mountpoints: ['[SWAP]'] }] }, /in use as swap/],
    [
      { ...disk, children: [{ ...part, children: [{ ...disk, path: '/dev/mapper/x', type: 'crypt' }] }] },
      /in use by \/dev\/mapper\/x/,
    ],
    [{ ...disk, ro: true }, /read-only/],
    [{ ...disk, size: 99 }, /it has 99 bytes, less than the image \(100 bytes\)/],
  ] as const) {
    const flaw = diskFlaw(device, 100)
    if (pattern) assert.match(flaw ?? '', pattern)
    else assert.equal(flaw, undefined)
  }
})

test('what cards may bring is what the system takes from them', async () => {
  const text = await readFile(join(IMAGE, 'rootfs/usr/lib/pi-adu/provision'), 'utf8')
  const loops = [...text.matchAll(/^for name in (.* .*); do$/gm)].flatMap(([, names]) => names!.split(' '))
  const single = [...text.matchAll(/^ *take_if ([\w.-]+) /gm)].map(([, name]) => name!)
  const taken = [...loops, ...single, 'device.pem', 'device.key', 'du-config.json', 'extra.env', 'usercfg.txt']
  assert.deepEqual([...CARD_FILES].sort(), [...new Set(taken)].sort())
})

test('runs, block maps and CSV', () => {
  assert.deepEqual(runsOf([]), [])
  assert.deepEqual(runsOf([1, 2, 4]), [
    { first: 1, last: 2 },
    { first: 4, last: 4 },
  ])
  const ranges = [
    { first: 0, last: 0, sha256: 'a'.repeat(64) },
    { first: 3, last: 9, sha256: 'b'.repeat(64) },
  ]
  const text = blockMapText(10 * BLOCK, ranges)
  assert.deepEqual(readBlockMap(text, 10 * BLOCK), ranges)
  assert.equal(readBlockMap(text, 11 * BLOCK), undefined)
  assert.equal(readBlockMap('', 0), undefined)
  const row = {
    device: 'a',
    state: 'failed',
    file: 'f',
    files: ['x', 'y'],
    missing: [],
    inputs: '',
    reason: 'a "b", c',
  } as const
  assert.equal(csvOf([row]), 'device,state,file,bytes,files,missing,reason\r\na,failed,f,,x y,,"a ""b"", c"\r\n')
})
