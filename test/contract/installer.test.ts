import assert from 'node:assert/strict'
import { exec } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before, suite } from 'node:test'
import { promisify } from 'node:util'
import { systemStorage } from '../../src/adapters/slot/storage.ts'
import { confinement } from '../../src/adapters/swupdate/confine.ts'
import { Swupdate } from '../../src/adapters/swupdate/swupdate.ts'
import type { Allowance } from '../../src/bundle/allowance.ts'
import { writeSwDescription } from '../../src/bundle/write-description.ts'
import { type BundleSource, createBundle } from '../../src/operator/bundle/create.ts'
import { measured, packBundle } from '../../src/operator/bundle/pack.ts'
import type { Bundle, Installer } from '../../src/ports/installer.ts'
import { openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { slotVersion } from '../bench/workbench/device-folder.ts'
import { SLOT_BYTES } from '../bench/workbench/image.ts'
import { HARDWARE } from '../bench/workbench/root-tree.ts'
import { buildBundle } from '../bench/workbench/swu.ts'
import { FakeDevice } from '../workflow/fake-device.ts'
import { stopGroup } from './stop-group.ts'

interface Subject {
  readonly installer: Installer
  /** A good one of version 2.0.0. */
  readonly bundle: Buffer
  /** Of the system in slot b, when there is a whole one. */
  version(): Promise<string | undefined>
}

const never = new AbortController().signal

/** In a buffer that is used over and over, as by the network: a piece is gone when the next is asked for. */
async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  const piece = Buffer.alloc(50_000)
  for (let at = 0; at < bytes.length; at += 50_000) {
    const length = bytes.copy(piece.fill(0), 0, at)
    yield piece.subarray(0, length)
  }
}

const asBundle = (bytes: AsyncIterable<Buffer>): Bundle => bytes as unknown as Bundle

/** What holds for every Installer: the fake of the power-cut tests, and the one over the real program. */
function contract(name: string, subject: () => Promise<Subject>): void {
  suite(name, () => {
    test('a good bundle is in the slot when it resolves', async () => {
      const { installer, bundle, version } = await subject()
      await installer.install(asBundle(pieces(bundle)), 'b', never)
      assert.equal(await version(), '2.0.0')
    })

    test('an error of the bundle comes through as it is', async () => {
      const { installer, bundle } = await subject()
      const broken = new Error('the gate says no')
      async function* withheld(): AsyncGenerator<Buffer> {
        yield* pieces(bundle.subarray(0, -65_536))
        throw broken
      }
      await assert.rejects(installer.install(asBundle(withheld()), 'b', never), error => error === broken)
    })

    test('abort ends it with the reason, also while the bundle makes no progress', async () => {
      const { installer, bundle } = await subject()
      const stop = new AbortController()
      const enough = new Error('enough')
      async function* slow(): AsyncGenerator<Buffer> {
        yield* pieces(bundle.subarray(0, 100_000))
        setTimeout(() => stop.abort(enough), 50)
        await new Promise((_, reject) => stop.signal.addEventListener('abort', () => reject(enough)))
      }
      await assert.rejects(installer.install(asBundle(slow()), 'b', stop.signal), error => error === enough)
    })
  })
}

const dir = await mkdtemp(join(tmpdir(), 'installer-'))
after(() => rm(dir, { recursive: true }))
process.env.PATH += ':/usr/sbin:/sbin'
// From here the longest name of a folder is short enough for a socket.
process.chdir(dir)
await mkdir('slots')
const slot = join(dir, 'slots/b.img')
const signer = await openBundleSigner(join(dir, 'keys'))
const lines: string[] = []
const note = (event: string, fields?: object): void => void lines.push(`${event} ${JSON.stringify(fields)}`)
const log = { debug: note, info: note, warn: note, error: note }
const confine = await confinement('auto', log)

const swupdate = ({
  certificate = signer.certificate,
  compare = true,
  device = slot,
  storage = systemStorage,
  allow = [] as Allowance[],
  keyFile = undefined as string | undefined,
  stall = 60_000,
} = {}): Installer =>
  new Swupdate(
    {
      certificate,
      hardware: HARDWARE,
      selection: { a: 'stable,a', b: 'stable,b' },
      device: { a: join(dir, 'slots/a.img'), b: device },
      compare,
      keyFile,
      writable: [],
      confine,
      allow,
      stall,
    },
    log,
    storage,
  )

async function emptySlot(bytes = SLOT_BYTES): Promise<void> {
  await writeFile(slot, '')
  await truncate(slot, bytes)
}

await buildBundle(join(dir, 'good.swu'), { tree: { version: '2.0.0' } }, signer)
const good = await readFile(join(dir, 'good.swu'))

contract('the fake', async () => {
  const device = new FakeDevice()
  const { installer } = device.plainPorts()
  const bundle = Buffer.concat([Buffer.from(`${JSON.stringify({ version: '2.0.0' })}\n`), Buffer.alloc(200_000, 7)])
  const version = async () => (device.slots.b === 'broken' ? undefined : device.slots.b.version)
  return { installer, bundle, version }
})

for (const compare of [true, false]) {
  contract(compare ? 'swupdate, compared before it is written' : 'swupdate', async () => {
    await emptySlot()
    return { installer: swupdate({ compare }), bundle: good, version: () => slotVersion(dir, 'b') }
  })
}

test('a bundle that somebody else signed is refused, with the reason', async () => {
  await emptySlot()
  const other = await openBundleSigner(join(dir, 'keys'), 'other')
  const install = swupdate({ certificate: other.certificate }).install(asBundle(pieces(good)), 'b', never)
  await assert.rejects(install, {
    code: 'SWUPDATE_FAILED',
    message: /swupdate failed: .*[Ss]ignature/,
  })
  assert.equal(await slotVersion(dir, 'b'), undefined)
})

async function running(): Promise<number[]> {
  const children = await readFile(`/proc/self/task/${process.pid}/children`, 'utf8')
  const found: number[] = []
  for (const child of (children.match(/\d+/g) ?? []).map(Number)) {
    if ((await readFile(`/proc/${child}/comm`, 'utf8')).trim() === 'swupdate') found.push(child)
  }
  return found
}

test('abort ends a SWUpdate that hangs while it is written to', async () => {
  await emptySlot()
  const stop = new AbortController()
  const enough = new Error('enough')
  async function* halfway(): AsyncGenerator<Buffer> {
    yield* pieces(good.subarray(0, 1_000_000))
    // With its helpers, which have the same connection.
    for (const child of await running()) await stopGroup(child)
    setTimeout(() => stop.abort(enough), 100)
    yield* pieces(good.subarray(1_000_000))
    assert.fail('all of it was taken')
  }
  await assert.rejects(swupdate().install(asBundle(halfway()), 'b', stop.signal), error => error === enough)
  assert.deepEqual(await running(), [])
})

test('a SWUpdate that is killed is named so', async () => {
  await emptySlot()
  async function* halfway(): AsyncGenerator<Buffer> {
    yield* pieces(good.subarray(0, 1_000_000))
    for (const child of await running()) process.kill(child, 'SIGKILL')
    yield* pieces(good.subarray(1_000_000))
  }
  const install = swupdate().install(asBundle(halfway()), 'b', never)
  await assert.rejects(install, { code: 'CHILD_KILLED', message: /^swupdate was killed by SIGKILL/ })
})

test('a SWUpdate that does not start is named so', async () => {
  await emptySlot()
  const path = process.env.PATH
  process.env.PATH = ''
  try {
    const install = swupdate({ compare: false }).install(asBundle(pieces(good)), 'b', never)
    await assert.rejects(install, { code: 'SWUPDATE_FAILED', message: /^swupdate is not installed/ })
  } finally {
    process.env.PATH = path
  }
})

test('a folder whose name is too long for a socket does as well', async () => {
  await emptySlot()
  const before = process.env.TMPDIR
  process.env.TMPDIR = join(dir, 'x'.repeat(75))
  try {
    await mkdir(process.env.TMPDIR)
    await swupdate().install(asBundle(pieces(good)), 'b', never)
    assert.equal(await slotVersion(dir, 'b'), '2.0.0')
  } finally {
    if (before === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = before
  }
})

test('an image that is compressed streams as well, and its size is known before its first byte', async () => {
  await buildBundle(join(dir, 'packed.swu'), { tree: { version: '2.0.0' }, zstd: 3 }, signer)
  const packed = await readFile(join(dir, 'packed.swu'))
  assert.ok(packed.length < good.length / 2)
  await emptySlot()
  await swupdate().install(asBundle(pieces(packed)), 'b', never)
  assert.equal(await slotVersion(dir, 'b'), '2.0.0')
  await emptySlot(SLOT_BYTES - 512)
  const install = swupdate().install(asBundle(pieces(packed)), 'b', never)
  await assert.rejects(install, { code: 'SPACE', message: new RegExp(`${SLOT_BYTES} bytes`) })
})

test('a slot that is too small is not touched', async () => {
  await emptySlot(SLOT_BYTES - 512)
  await assert.rejects(swupdate().install(asBundle(pieces(good)), 'b', never), { code: 'SPACE' })
  assert.ok((await readFile(slot)).equals(Buffer.alloc(SLOT_BYTES - 512)))
})

/** What the last installation wrote and left alone, in bytes. */
function compared(): unknown {
  const line = lines.findLast(each => each.startsWith('slot.compared '))
  return line && JSON.parse(line.slice('slot.compared '.length))
}

test('what the slot holds already is not written again', async () => {
  await emptySlot()
  await swupdate().install(asBundle(pieces(good)), 'b', never)
  const image = await readFile(slot)
  await swupdate().install(asBundle(pieces(good)), 'b', never)
  assert.deepEqual(compared(), { slot: 'b', written: 0, kept: image.length })
  // The first and the last byte of a block, and one somewhere.
  const spoiled = Buffer.from(image)
  for (const at of [0, 4095, image.length / 2]) spoiled[at] = (spoiled[at] ?? 0) ^ 1
  await writeFile(slot, spoiled)
  await swupdate().install(asBundle(pieces(good)), 'b', never)
  assert.deepEqual(compared(), { slot: 'b', written: 2 * 4096, kept: image.length - 2 * 4096 })
  assert.ok((await readFile(slot)).equals(image))
})

test('a bundle that names the device itself is written by SWUpdate', async () => {
  await emptySlot()
  const path = join(dir, 'direct.swu')
  await writeFile('image', (await readFile(slot)).fill(7))
  const slots = { b: { image: 'image', device: slot } }
  await createBundle(path, { version: '2.0.0', hardware: ['1.0'], slots }, signer)
  lines.length = 0
  await swupdate().install(asBundle(pieces(await readFile(path))), 'b', never)
  assert.ok((await readFile(slot)).equals(await readFile('image')))
  assert.equal(compared(), undefined)
})

test('a bundle with two images for one slot is refused', async () => {
  await emptySlot()
  await writeFile('one', Buffer.alloc(3_000_000, 1))
  const image = await measured('one', 'one')
  const entry = { fileName: 'one', sha256: image.sha256, device: 'pi-adu/b' }
  const two = writeSwDescription({ version: '2.0.0', hardware: ['1.0'], slots: { b: [entry, entry] } })
  await packBundle('two.swu', two, [image], signer)
  const install = swupdate().install(asBundle(pieces(await readFile('two.swu'))), 'b', never)
  await assert.rejects(install, { code: 'BUNDLE_DEVICE', message: /a second image for slot b/ })
})

test('a slot that takes no more ends the installation, with its reason', { timeout: 30_000 }, async () => {
  // From a pipe zstd does not know the size, and so neither does who looks at the bundle's first bytes.
  await promisify(exec)('head -c 50000000 /dev/urandom | zstd -q > endless.zst')
  const slots = { b: { image: 'endless.zst', device: 'pi-adu/b' } }
  await createBundle('endless.swu', { version: '2.0.0', hardware: ['1.0'], slots }, signer)
  const bundle = await readFile('endless.swu')
  const install = swupdate({ device: '/dev/full' }).install(asBundle(pieces(bundle)), 'b', never)
  await assert.rejects(install, { code: 'SLOT', message: /\/dev\/full cannot be written: ENOSPC/ })
})

test('a slot that is in use is refused before a byte is asked for', async () => {
  await emptySlot()
  const storage = { ...systemStorage, loops: async () => [{ name: '/dev/loop9', file: slot }] }
  const install = swupdate({ storage }).install(asBundle(unread()), 'b', never)
  await assert.rejects(install, { code: 'SLOT_IN_USE', message: /b\.img is in use \(the file behind \/dev\/loop9\)/ })

  async function* unread(): AsyncGenerator<Buffer> {
    yield assert.fail('a byte was asked for')
  }
})

test('a slot that cannot be opened for writing is named, before SWUpdate is asked', async () => {
  const install = swupdate({ device: dir }).install(asBundle(pieces(good)), 'b', never)
  await assert.rejects(install, { code: 'SLOT', message: /^the slot .* cannot be opened: EISDIR/ })
})

test('a slot that does not exist is named, and nothing is written by another name', async () => {
  const install = swupdate({ device: join(dir, 'slots/nowhere') }).install(asBundle(pieces(good)), 'b', never)
  await assert.rejects(install, { code: 'SLOT', message: /slots\/nowhere does not exist.*piAdu\.slots\.b\.device/ })
})

/** A bundle of one image for slot b, as the path says compressed or not. */
async function bundleWith(image: string, more: Partial<BundleSource> = {}): Promise<Buffer> {
  const slots = { b: { image, device: 'pi-adu/b' } }
  await createBundle('more.swu', { version: '2.0.0', hardware: ['1.0'], slots, ...more }, signer)
  return readFile('more.swu')
}

test('a compressed image that does not fit is refused as such, wherever its size is found out', async () => {
  await promisify(exec)('head -c 3000000 /dev/urandom > large; zstd -q < large > large.zst; gzip -k large')
  const small = 1 << 20
  for (const image of ['large.zst', 'large.gz']) {
    const bundle = await bundleWith(image)
    await emptySlot(small)
    const install = swupdate().install(asBundle(pieces(bundle)), 'b', never)
    await assert.rejects(install, {
      code: 'SPACE',
      message: /^the image has more than 1048576 bytes, the slot .*b\.img/,
    })
    assert.equal((await readFile(slot)).length, small)
  }
})

const loop = await promisify(exec)('truncate -s 1M card && losetup --find --show card').then(
  ({ stdout }) => stdout.trim(),
  () => undefined,
)
after(() => loop && promisify(exec)(`losetup --detach ${loop}`))
test('so it is where SWUpdate writes the device itself', { skip: loop ? false : 'no loop devices' }, async () => {
  const bundle = await bundleWith('large.gz')
  const install = swupdate({ device: loop ?? '', compare: false }).install(asBundle(pieces(bundle)), 'b', never)
  await assert.rejects(install, { code: 'SPACE', message: `large.gz does not fit into the slot ${loop}` })
})

suite('encrypted images', () => {
  const [key, other, vector] = ['6b'.repeat(32), '0c'.repeat(32), '1f'.repeat(16)]
  const encrypted = async (more: Partial<BundleSource> = {}): Promise<Buffer> =>
    bundleWith('system', { ...more, key: { key: Buffer.from(key, 'hex') } })
  const install = async (bundle: Buffer, content: string | undefined): Promise<void> => {
    await emptySlot()
    if (content !== undefined) await writeFile('aes.key', content, { mode: 0o600 })
    const keyFile = content === undefined ? undefined : join(dir, 'aes.key')
    await swupdate({ keyFile }).install(asBundle(pieces(bundle)), 'b', never)
  }
  const image = Buffer.alloc(1_000_000, 'a system')
  before(() => writeFile('system', image))

  for (const more of [{}, { zstd: 3 }]) {
    test(`with the key they are in the slot, ${more.zstd ? '' : 'not '}compressed`, async () => {
      await install(await encrypted(more), `${key} ${vector}\n`)
      assert.ok((await readFile(slot)).subarray(0, image.length).equals(image))
    })
  }

  test('the same device takes bundles that are not encrypted', async () => {
    await install(good, `${key} ${vector}\n`)
    assert.equal(await slotVersion(dir, 'b'), '2.0.0')
  })

  const refused: readonly [what: string, content: string | undefined, says: RegExp][] = [
    [
      'without a key',
      undefined,
      /: system\.enc is encrypted, and this device has no key for it: set piAdu\.swupdate\.keyFile$/,
    ],
    ['with another key', `${other} ${vector}\n`, /: system\.enc cannot be decrypted: .* another key than \S+aes\.key/],
    ['with a file that has no key', 'no key\n', /: \S+aes\.key \(piAdu\.swupdate\.keyFile\) .* is not an AES key/],
  ]
  for (const [what, content, message] of refused) {
    test(`${what} they are refused, with the reason`, async () => {
      await assert.rejects(install(await encrypted(), content), { code: 'SWUPDATE_FAILED', message })
    })
  }
})

test('what SWUpdate says is in the log', () => {
  assert.ok(lines.some(line => line.startsWith('swupdate ') && line.includes('SWUPDATE successful')))
})
