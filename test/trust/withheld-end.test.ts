import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test from 'node:test'
import fc from 'fast-check'
import type { FileEntity, Verified } from '../../src/domain/deployment.ts'
import { WITHHELD_BYTES, withholdEnd } from '../../src/trust/withheld-end.ts'
import { pseudoRandom } from '../bench/workbench/root-tree.ts'

const entityOf = (bytes: Buffer): FileEntity => ({
  fileId: 'f1',
  fileName: 'a.swu',
  sizeInBytes: bytes.length,
  sha256: createHash('sha256').update(bytes).digest(),
})

const entity = (bytes: Buffer) => entityOf(bytes) as Verified<FileEntity>

/** In a buffer that is used over and over, as by the network: a piece is gone when the next is asked for. */
async function* chunked(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  const piece = Buffer.alloc(size)
  for (let at = 0; at < bytes.length; at += size) {
    yield piece.subarray(0, bytes.copy(piece.fill(0), 0, at))
  }
}

/** What a reader gets to see, and the error that ended it. */
async function through(source: AsyncIterable<Buffer>, good: Buffer) {
  const seen: Buffer[] = []
  let code: string | undefined
  try {
    for await (const chunk of withholdEnd(source, entity(good))) {
      seen.push(Buffer.from(chunk))
    }
  } catch (error) {
    code = (error as { code?: string }).code
  }
  return { seen: Buffer.concat(seen), code }
}

test('the right bytes pass, in whatever chunks', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 300_000 }),
      fc.integer({ min: 999, max: 200_000 }),
      async (size, chunk) => {
        const bytes = pseudoRandom(size, 'gate')
        const { seen, code } = await through(chunked(bytes, chunk), bytes)
        assert.equal(code, undefined)
        assert.ok(seen.equals(bytes))
      },
    ),
    { numRuns: 60, seed: 1 },
  )
})

test('of wrong bytes a reader never sees the end', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 300_000 }),
      fc.double({ min: 0, max: 0.9999999, noNaN: true }),
      fc.integer({ min: 999, max: 200_000 }),
      async (size, where, chunk) => {
        const good = pseudoRandom(size, 'gate')
        const wrong = Buffer.from(good)
        const at = Math.floor(where * size)
        wrong[at] = (wrong[at] ?? 0) ^ 1
        const { seen, code } = await through(chunked(wrong, chunk), good)
        assert.equal(code, 'FILE_HASH')
        assert.ok(seen.length <= Math.max(0, size - WITHHELD_BYTES))
      },
    ),
    { numRuns: 60, seed: 2 },
  )
})

for (const [name, made] of [
  ['one byte too few', (good: Buffer) => good.subarray(0, -1)],
  ['nothing', () => Buffer.alloc(0)],
  ['one byte too many', (good: Buffer) => Buffer.concat([good, Buffer.alloc(1)])],
] as const) {
  test(`${name}: wrong size, and the end is kept back`, async () => {
    const good = pseudoRandom(200_000, 'gate')
    const { seen, code } = await through(chunked(made(good), 10_000), good)
    assert.equal(code, 'FILE_SIZE')
    assert.ok(seen.length <= good.length - WITHHELD_BYTES)
  })
}

test('an endless file ends with the first byte too many', async () => {
  const good = pseudoRandom(1000, 'gate')
  let given = 0
  async function* endless(): AsyncGenerator<Buffer> {
    for (;;) {
      given += 100
      yield Buffer.alloc(100)
    }
  }
  assert.equal((await through(endless(), good)).code, 'FILE_SIZE')
  assert.equal(given, 1100)
})

test('an error of the source is passed on and keeps the end back', async () => {
  const good = pseudoRandom(200_000, 'gate')
  async function* broken(): AsyncGenerator<Buffer> {
    yield good
    throw Object.assign(new Error('gone'), { code: 'GONE' })
  }
  const { seen, code } = await through(broken(), good)
  assert.equal(code, 'GONE')
  assert.ok(seen.length < good.length)
})
