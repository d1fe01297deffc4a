import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type BundleSigner, openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { buildImage } from '../bench/workbench/image.ts'
import { runProgram, swupdateProgram } from '../bench/workbench/program.ts'
import { operator } from './support.ts'

let dir: string
let signer: BundleSigner
let image: string

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'operator-'))
  signer = await openBundleSigner(dir)
  await mkdir(at('swupdate'))
  image = at('rootfs.ext4')
  await buildImage(image, { version: '2.0.0' })
})

after(() => rm(dir, { recursive: true }))

const at = (name: string): string => join(dir, name)
const usual = () => [
  ...['--update-version', '2.0.0', '--hardware', 'pi-workbench:1.0'],
  ...['--cert', signer.certificate, '--key', signer.key],
]

async function created(name: string, ...args: string[]): Promise<string> {
  const { exitCode, stderr } = await operator(['bundle', 'create', '--out', at(name), ...usual(), ...args])
  assert.equal(stderr, '')
  assert.equal(exitCode, 0)
  return at(name)
}

async function shown(file: string, ...args: string[]) {
  const { exitCode, stdout } = await operator(['bundle', 'show', file, '--json', ...args])
  return { exitCode, ...JSON.parse(stdout) }
}

/** As the agent runs it, into plain files. It empties its folder for temporary files of all that is named as in the bundle. */
async function install(file: string, slot: string): Promise<void> {
  await runProgram(
    [
      ...(await swupdateProgram()),
      ...['-M', '-m', '-k', signer.certificate, '-H', 'pi-workbench:1.0', '-e', `stable,${slot}`, '-i', file],
    ],
    { cwd: dir, env: { TMPDIR: at('swupdate') } },
  )
}

test('SWUpdate installs what was made: one image, compressed on the way, into either slot', async () => {
  const devices = ['--device-a', at('slot-a'), '--device-b', at('slot-b')]
  const file = await created('one.swu', '--image', image, '--zstd', ...devices)
  for (const slot of ['a', 'b']) {
    await writeFile(at(`slot-${slot}`), Buffer.alloc(4 << 20))
    await install(file, slot)
    assert.ok((await readFile(at(`slot-${slot}`))).equals(await readFile(image)), `slot ${slot}`)
  }
  const { version, files, images, signature, findings, exitCode, sha256 } = await shown(
    file,
    '--cert',
    signer.certificate,
  )
  for (const hash of [sha256, ...[...files, ...images].map(each => each.sha256)]) assert.match(hash, /^[0-9a-f]{64}$/)
  assert.equal(
    sha256,
    createHash('sha256')
      .update(await readFile(file))
      .digest('hex'),
  )
  assert.deepEqual([exitCode, version, signature, findings], [0, '2.0.0', 'good', []])
  assert.deepEqual(
    files.map((each: { name: string }) => each.name),
    ['sw-description', 'sw-description.sig', 'rootfs.ext4.zst'],
  )
  assert.deepEqual(
    images.map((each: { selection: string; device: string; compressed: string }) => [
      each.selection,
      each.device,
      each.compressed,
    ]),
    [
      ['stable.a.images', at('slot-a'), 'zstd'],
      ['stable.b.images', at('slot-b'), 'zstd'],
    ],
  )
})

test('another image for each slot, compressed beforehand or not', async () => {
  await runProgram(['zstd', '-q', '-f', image, '-o', at('b.zst')])
  const devices = ['--device-a', at('slot-a'), '--device-b', at('slot-b')]
  const file = await created('two.swu', '--image-a', image, '--image-b', at('b.zst'), ...devices)
  for (const slot of ['a', 'b']) {
    await writeFile(at(`slot-${slot}`), Buffer.alloc(4 << 20))
    await install(file, slot)
    assert.ok((await readFile(at(`slot-${slot}`))).equals(await readFile(image)), `slot ${slot}`)
  }
})

test('cpio reads the archive, and reads of ours what cpio wrote', async () => {
  const file = await created('plain.swu', '--image', image)
  await mkdir(at('unpacked'), { recursive: true })
  await runProgram(['cpio', '--quiet', '-id', '--no-absolute-filenames', '-F', file], { cwd: at('unpacked') })
  assert.ok((await readFile(at('unpacked/rootfs.ext4'))).equals(await readFile(image)))
  const input = 'sw-description\nsw-description.sig\nrootfs.ext4\n'
  for (const format of ['crc', 'newc']) {
    await runProgram(['cpio', '--quiet', '-o', '-H', format, '-F', at('theirs.swu')], { cwd: at('unpacked'), input })
    const { findings, signature } = await shown(at('theirs.swu'), '--cert', signer.certificate)
    assert.deepEqual([format, findings, signature], [format, [], 'good'])
  }
})

test('the same source gives the same images and description', async () => {
  const one = await shown(await created('1.swu', '--image', image, '--zstd', '3'))
  const two = await shown(await created('2.swu', '--image', image, '--zstd', '3'))
  const other = ({ name }: { name: string }) => name !== 'sw-description.sig'
  assert.deepEqual(one.files.filter(other), two.files.filter(other))
})

test('show finds what is wrong, and ends with 1', async () => {
  const good = await readFile(await created('good.swu', '--image', image))
  const broken = async (name: string, change: (bytes: Buffer) => Buffer) => {
    await writeFile(at(name), change(Buffer.from(good)))
    return shown(at(name), '--cert', signer.certificate)
  }
  const flipped = await broken('flipped.swu', bytes => {
    bytes[bytes.length - 100_000]! ^= 1
    return bytes
  })
  assert.equal(flipped.exitCode, 1)
  assert.match(flipped.findings.join(), /checksum in the archive is wrong.*its sha256 is another one/)

  const version = good.indexOf('"2.0.0"')
  const forged = await broken('forged.swu', bytes =>
    Buffer.concat([bytes.subarray(0, version), Buffer.from('"6"    '), bytes.subarray(version + 7)]),
  )
  assert.deepEqual([forged.exitCode, forged.signature], [1, 'bad'])

  const stranger = await openBundleSigner(dir, 'stranger')
  const foreign = await shown(at('good.swu'), '--cert', stranger.certificate)
  assert.deepEqual([foreign.exitCode, foreign.signature], [1, 'bad'])
})

test('what is no bundle is told in one line', async () => {
  await created('cut.swu', '--image', image)
  await truncate(at('cut.swu'), 5000)
  await writeFile(at('text.swu'), 'hello\n'.repeat(100))
  await writeFile(at('empty.swu'), '')
  const huge = await open(at('name.swu'), 'w')
  await huge.write(`070702${'f'.repeat(104)}`)
  await huge.close()
  const rows: readonly (readonly [string, number, RegExp])[] = [
    ['cut.swu', 1, /ends early, at byte 5000/],
    ['text.swu', 1, /is not a bundle: there is no cpio header at byte 0/],
    ['empty.swu', 1, /ends early, at byte 0/],
    ['name.swu', 1, /makes no sense/],
    ['missing.swu', 64, /cannot read .*missing\.swu/],
  ]
  for (const [name, code, line] of rows) {
    const { exitCode, stderr, stdout } = await operator(['bundle', 'show', at(name)])
    assert.deepEqual([name, exitCode, stdout], [name, code, ''])
    assert.match(stderr, line)
    assert.equal(stderr.trim().split('\n').length, 1)
  }
})

test('mistakes on the command line are told in one line, and leave no file', async () => {
  const out = ['bundle', 'create', '--out', at('never.swu')]
  const rows: readonly (readonly [readonly string[], number, RegExp])[] = [
    [[...out, ...usual()], 64, /needs an image for slot a or slot b/],
    [[...out, ...usual(), '--image', at('no-image')], 64, /cannot read .*no-image/],
    [[...out, ...usual(), '--image', dir], 64, /is not a file/],
    [[...out, ...usual(), '--image', image, '--zstd', '77'], 64, /level from 1 to 19/],
    [[...out, ...usual(), '--image', image, '--cert', at('no-cert')], 64, /cannot read .*no-cert/],
    [[...out, ...usual(), '--image', image, '--key', image], 64, /rootfs\.ext4 is not a PEM file/],
    [[...out, ...usual(), '--image', image, '--device-b', 'pi-adu/a'], 64, /both slots have the device pi-adu\/a/],
    [[...out, ...usual(), '--image', image, '--device-a', 'x\ny'], 64, /control character/],
    [['bundle', 'create', ...usual(), '--image', image, '--out', at('no/folder.swu')], 3, /cannot write .*folder\.swu/],
    [['bundle', 'create'], 64, /required option/],
    [['bundle', 'show', image, '--bad'], 64, /unknown option/],
  ]
  for (const [args, code, line] of rows) {
    const { exitCode, stderr } = await operator(args)
    assert.match(stderr, line)
    assert.equal(exitCode, code, args.join(' '))
  }
  await assert.rejects(readFile(at('never.swu')))
})
