import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { SlotLeftovers } from '../../src/adapters/slot/leftovers.ts'
import { type Leftovers, noLeftovers } from '../../src/ports/leftovers.ts'
import { runProgram } from '../bench/workbench/program.ts'
import { pseudoRandom } from '../bench/workbench/root-tree.ts'
import { descriptionOf } from '../bundle/archive.ts'
import { FakeDevice } from '../workflow/fake-device.ts'

const dir = await mkdtemp(join(tmpdir(), 'leftovers-'))
after(() => rm(dir, { recursive: true }))
const log = { debug() {}, info() {}, warn() {}, error() {} }

const image = pseudoRandom(8 << 20, 'leftovers')
await writeFile(join(dir, 'sw-description'), descriptionOf('images: ( { filename = "image"; } );'))
await writeFile(join(dir, 'sw-description.sig'), Buffer.alloc(1500, 1))
await writeFile(join(dir, 'image'), image)
const bundle = await runProgram(['cpio', '--quiet', '-o', '-H', 'crc'], {
  cwd: dir,
  input: 'sw-description\nsw-description.sig\nimage',
})
const sha256 = createHash('sha256').update(bundle).digest()

/** In pieces that their producer uses over and over. */
async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  const piece = Buffer.alloc(100_000)
  for (let at = 0; at < bytes.length; at += piece.length) {
    yield piece.subarray(0, bytes.copy(piece.fill(0), 0, at))
  }
}

async function all(bytes: AsyncIterable<Buffer>): Promise<Buffer> {
  const copies: Buffer[] = []
  for await (const piece of bytes) copies.push(Buffer.from(piece))
  return Buffer.concat(copies)
}

let count = 0
/** With an image in slot b, as far as it goes. */
async function inFiles(): Promise<Leftovers> {
  count += 1
  const slot = join(dir, `slot-${count}`)
  await writeFile(slot, image)
  await truncate(slot, image.length)
  return new SlotLeftovers({ file: join(dir, `note-${count}`), device: { a: join(dir, 'none'), b: slot } }, log)
}

/** Passes the bundle through, of which `bytes` come. */
async function noted(leftovers: Leftovers, bytes: number): Promise<Buffer> {
  const hash = createHash('sha256')
  let passed = Buffer.alloc(0)
  for await (const piece of leftovers.noting(pieces(bundle.subarray(0, bytes)), sha256, 'b', () =>
    hash.copy().digest(),
  )) {
    hash.update(piece)
    passed = Buffer.concat([passed, piece])
  }
  return passed
}

for (const [name, make] of [
  ['the fake', async () => new FakeDevice().plainPorts().leftovers],
  ['a file and a slot', inFiles],
] as const) {
  describe(`Leftovers: ${name}`, () => {
    test('has nothing at first', async () => assert.equal(await (await make()).find(sha256, 'b'), undefined))

    test('passes the bundle on as it is, and has the part that came', async () => {
      const leftovers = await make()
      assert.deepEqual(await noted(leftovers, 6 << 20), bundle.subarray(0, 6 << 20))
      const left = await leftovers.find(sha256, 'b')
      assert.ok(left && left.first > 0 && left.first < left.end && left.end <= 6 << 20)
      const bytes = await all(left.bytes(bundle.subarray(0, left.first)))
      assert.deepEqual(bytes, bundle.subarray(left.first, left.end))
    })

    test('has nothing of another bundle or for another slot, and forgets for it', async () => {
      for (const [hash, slot] of [
        [Buffer.alloc(32), 'b'],
        [sha256, 'a'],
      ] as const) {
        const leftovers = await make()
        await noted(leftovers, 6 << 20)
        assert.equal(await leftovers.find(hash, slot), undefined)
        assert.equal(await leftovers.find(sha256, 'b'), undefined)
      }
    })

    test('forgets', async () => {
      const leftovers = await make()
      await noted(leftovers, 6 << 20)
      await leftovers.forget()
      assert.equal(await leftovers.find(sha256, 'b'), undefined)
    })
  })
}

test('no leftovers: passes the bundle on, and never has anything', async () => {
  assert.deepEqual(await noted(noLeftovers, bundle.length), bundle)
  assert.equal(await noLeftovers.find(sha256, 'b'), undefined)
})
