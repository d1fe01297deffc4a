import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { guarded } from '../../src/bundle/archive-guard.ts'
import { firstPlainImage } from '../../src/bundle/head.ts'
import { inspect } from '../../src/bundle/policy.ts'
import type { AgentError } from '../../src/domain/errors.ts'
import { runProgram } from '../bench/workbench/program.ts'
import { pseudoRandom } from '../bench/workbench/root-tree.ts'
import { archiveOf, bundleOf, descriptionOf, imageOf, type Member, pieces } from './archive.ts'

/** So much of a file is held back until another follows. */
const HELD = 65_536

const image = pseudoRandom(150_000, 'guard')
const listed = imageOf('rootfs', image)
const description = descriptionOf(`images: ( ${listed} );`)
const plain = bundleOf(description, ['rootfs', image])
/** Where the image begins. */
const first = plain.indexOf(image)
const packed = await runProgram(['zstd', '-q', '-c', '--stream-size=150000'], { input: image })
const zstdText = descriptionOf(`images: ( ${imageOf('r.zst', packed, 'compressed = "zstd"; ')} );`)
const zstd = bundleOf(zstdText, ['r.zst', packed])

const terms = { slot: 'b', device: '/dev/b', selection: 'stable,b', board: 'pi', allow: new Set<never>() } as const

/** What SWUpdate would have got, and the error that ended it. */
async function through(source: AsyncIterable<Buffer>, room?: number) {
  const seen: Buffer[] = []
  let error: Partial<AgentError> = {}
  try {
    for await (const piece of guarded(source, { check: bytes => inspect(bytes, terms), room, device: '/dev/b' })) {
      seen.push(Buffer.from(piece))
    }
  } catch (caught) {
    error = caught as AgentError
  }
  return { seen: Buffer.concat(seen), code: error.code, message: error.message }
}

test('a good bundle passes as it is, in whatever pieces', async () => {
  const whole = [plain, zstd, Buffer.from(plain.toString('latin1').replaceAll('070702', '070701'), 'latin1')]
  for (const each of whole) {
    for (const size of [5, 110, 4096, 65_536, 1 << 20]) {
      const { seen, message } = await through(pieces(each, size))
      assert.equal(message, undefined)
      assert.ok(seen.equals(each), `pieces of ${size}`)
    }
  }
})

test('files of every length pass, and blocks of 5120 bytes', async () => {
  for (const length of [1, 2, 3, 4, 100, HELD - 1, HELD, HELD + 1]) {
    const content = pseudoRandom(length, 'short')
    const other = imageOf('other', content, '', 'pi-adu/a')
    const text = description.replace('stable = {', `stable = { a = { images: ( ${other} ); };`)
    const whole = bundleOf(text, ['other', content], ['rootfs', image])
    const { seen, message } = await through(
      pieces(Buffer.concat([whole, Buffer.alloc(5120 - (whole.length % 5120))]), 5000),
    )
    assert.equal(message, undefined)
    assert.ok(seen.subarray(0, whole.length).equals(whole))
  }
})

/** The source gives all of `bytes`, and fails instead of ending. */
async function* unproven(bytes: Buffer, size = 10_000): AsyncGenerator<Buffer> {
  yield* pieces(bytes, size)
  throw Object.assign(new Error('the hash is wrong'), { code: 'FILE_HASH' })
}

test('the end of the last file and the trailer wait until the source ends, whatever its length', async () => {
  for (const more of [0, 512, 9_000]) {
    for (const size of [777, 10_000, 1 << 20]) {
      const { seen, code } = await through(unproven(Buffer.concat([plain, Buffer.alloc(more)]), size))
      assert.equal(code, 'FILE_HASH')
      assert.equal(seen.length, first + image.length - HELD)
      assert.ok(seen.equals(plain.subarray(0, seen.length)))
    }
  }
})

test('whatever is behind the archive is refused at once, and the trailer never passes', async () => {
  const cases = { zeros: Buffer.alloc(131_072), 'another archive': plain, 'one byte': Buffer.from('x') }
  for (const [name, more] of Object.entries(cases)) {
    for (const size of [777, 1 << 20]) {
      async function* endless(): AsyncGenerator<Buffer> {
        yield* pieces(Buffer.concat([plain, more]), size)
        assert.fail('it was read to its end')
      }
      const { seen, code, message } = await through(
        name === 'one byte' ? pieces(Buffer.concat([plain, more]), size) : endless(),
      )
      assert.equal(code, 'BUNDLE_BEHIND', message)
      assert.ok(seen.length <= first + image.length - HELD, name)
    }
  }
})

test('nothing of a bundle passes whose files are not those of its description', async () => {
  const stranger: Member = ['stranger', Buffer.alloc(10)]
  const rootfs: Member = ['rootfs', image]
  const cases: readonly (readonly [Buffer, string, RegExp])[] = [
    [bundleOf(description, stranger, rootfs), 'BUNDLE_FILE', /"stranger" in the bundle is not named/],
    [bundleOf(description, ['sw-description', image], rootfs), 'BUNDLE_FILE', /"sw-description" .* is not named/],
    [archiveOf([['sw-description', Buffer.from(description)], rootfs]), 'BUNDLE_UNSIGNED', /not signed/],
    [archiveOf([['sw-description', Buffer.from(description)]]), 'BUNDLE_UNSIGNED', /not signed/],
    [archiveOf([rootfs]), 'BUNDLE_FORMAT', /begins with "rootfs"/],
    [archiveOf([]), 'BUNDLE_FORMAT', /no sw-description/],
    [Buffer.alloc(0), 'BUNDLE_FORMAT', /ends early, at byte 0/],
    [Buffer.alloc(1000, 'not an archive '), 'BUNDLE_FORMAT', /no cpio header at byte 0/],
    [bundleOf(description), 'BUNDLE_FILE', /"rootfs".* is not in the bundle/],
    [bundleOf('software = {', rootfs), 'BUNDLE_DESCRIPTION', /sw-description ends .*line 1/],
    [bundleOf(`${description}${'#'.repeat(200_000)}`, rootfs), 'BUNDLE_DESCRIPTION', /sw-description has 200\d+ bytes/],
    [bundleOf(`{ "software": {} }`, rootfs), 'BUNDLE_DESCRIPTION', /JSON/],
  ]
  for (const [bundle, code, message] of cases) {
    for (const size of [777, 1 << 20]) {
      const found = await through(pieces(bundle, size))
      assert.equal(found.code, code, found.message)
      assert.match(found.message ?? '', message)
      assert.equal(found.seen.length, 0, found.message)
    }
  }
})

test('a file that comes twice or out of order, and an archive that ends early: no file is whole', async () => {
  const twice = await through(pieces(bundleOf(description, ['rootfs', image], ['rootfs', image]), 777))
  assert.equal(twice.code, 'BUNDLE_FILE', twice.message)
  const two = description.replace(
    'stable = {',
    `stable = { a = { images: ( ${imageOf('other', image, '', 'pi-adu/a')} ); };`,
  )
  const later = await through(pieces(bundleOf(two, ['rootfs', image], ['other', image]), 777))
  assert.match(later.message ?? '', /"other" in the bundle comes later/)
  assert.ok(later.seen.length < first + image.length)
  for (const length of [first + 1, first + image.length - 1, first + image.length + 50]) {
    const cut = await through(pieces(plain.subarray(0, length), 777))
    assert.equal(cut.code, 'BUNDLE_FORMAT')
    assert.match(cut.message ?? '', /ends early/)
  }
})

test('an image that does not fit is refused before its first byte, with both numbers', async () => {
  for (const [bundle, name] of [
    [plain, 'rootfs'],
    [zstd, 'r.zst'],
  ] as const) {
    for (const size of [13, 1 << 20]) {
      const { seen, code, message } = await through(pieces(bundle, size), image.length - 1)
      assert.equal(code, 'SPACE')
      assert.match(message ?? '', new RegExp(`^${name} has 150000 bytes.* room for 149999$`))
      assert.equal(seen.length, 0)
      assert.equal((await through(pieces(bundle, size), image.length)).code, undefined)
    }
  }
})

test('where one plain image begins is known from its head, and of no other bundle', () => {
  for (let length = 0; length < first; length += 7) assert.equal(firstPlainImage(plain.subarray(0, length)), 'more')
  assert.equal(firstPlainImage(plain.subarray(0, first)), first)
  assert.equal(firstPlainImage(zstd), undefined)
  const encrypted = bundleOf(description.replace('type =', 'encrypted = true; type ='), ['rootfs', image])
  assert.equal(firstPlainImage(encrypted), undefined)
  assert.equal(firstPlainImage(Buffer.alloc(1000, 'no archive')), undefined)
  assert.equal(firstPlainImage(archiveOf([])), undefined)
})

test('of a head that is changed anywhere nothing passes that was not meant, and nothing breaks', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: first + 200 }), fc.integer({ min: 1, max: 255 }), async (at, bits) => {
      const wrong = Buffer.from(plain)
      wrong[at] = (wrong[at] ?? 0) ^ bits
      const { seen, code } = await through(unproven(wrong, 50_000))
      assert.ok(code === 'FILE_HASH' || /^BUNDLE_|SPACE/.test(code ?? ''), code)
      assert.ok(seen.length <= first + image.length - HELD)
      firstPlainImage(wrong)
    }),
    { numRuns: 300, seed: 1 },
  )
})
