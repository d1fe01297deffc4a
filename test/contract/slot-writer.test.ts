import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { access, type FileHandle, mkdir, mkdtemp, open, readFile, rm, rmdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, beforeEach, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fromFifo, PIECE, type SlotFile, writeChanges } from '../../src/adapters/slot/slot-writer.ts'
import { Comparing } from '../../src/domain/comparing.ts'
import { runProgram } from '../bench/workbench/program.ts'
import { pseudoRandom } from '../bench/workbench/root-tree.ts'

const MIB = 1 << 20
const dir = await mkdtemp(join(tmpdir(), 'slot-writer-'))
after(() => rm(dir, { recursive: true }))

suite('writeChanges', () => {
  const path = join(dir, 'slot')
  let file: FileHandle
  const writes: { readonly at: number; readonly length: number }[] = []
  const unreadable: unknown[] = []
  /** The file, at which the writes are seen. */
  let slot: SlotFile

  beforeEach(() => {
    unreadable.length = 0
  })
  afterEach(() => file.close())

  async function holding(content: Buffer): Promise<void> {
    writes.length = 0
    await writeFile(path, content)
    file = await open(path, 'r+')
    slot = {
      read: file.read.bind(file),
      write: (async (bytes: Buffer, from: number, length: number, at: number) => {
        writes.push({ at, length })
        return file.write(bytes, from, length, at)
      }) as FileHandle['write'],
    }
  }

  const write = (image: Buffer) => writeChanges(pieces(image), slot, error => unreadable.push(error))

  async function* pieces(image: Buffer): AsyncGenerator<Buffer> {
    for (let at = 0; at < image.length; at += PIECE) yield image.subarray(at, at + PIECE)
  }

  for (const length of [0, 1, 4095, 4096, 4097, PIECE - 1, PIECE, PIECE + 1, 5 * MIB + 12_345]) {
    test(`${length} bytes that are there already, that are not, and that are in part`, async () => {
      const image = randomBytes(length)
      await holding(image)
      assert.deepEqual(await write(image), { written: 0, kept: length })
      assert.deepEqual(writes, [])
      await file.close()

      await holding(Buffer.alloc(length))
      assert.deepEqual(await write(image), { written: length, kept: 0 })
      assert.ok((await readFile(path)).equals(image))
      await file.close()

      // The slot ends before the image does.
      await holding(image.subarray(0, Math.floor(length / 2)))
      const { written, kept } = await write(image)
      assert.equal(written + kept, length)
      assert.ok((await readFile(path)).equals(image))
    })
  }

  test('only the blocks that differ are written, each run at once', async () => {
    const image = randomBytes(3 * MIB)
    const before = Buffer.from(image)
    for (const block of [0, 1, 2, 9, 128, 767]) before[block * 4096 + 77]! ^= 1
    await holding(before)
    assert.deepEqual(await write(image), { written: 6 * 4096, kept: 3 * MIB - 6 * 4096 })
    const expected = [
      { at: 0, length: 3 * 4096 },
      { at: 9 * 4096, length: 4096 },
      { at: PIECE, length: 4096 },
      { at: 767 * 4096, length: 4096 },
    ]
    assert.deepEqual(writes, expected)
    assert.ok((await readFile(path)).equals(image))
  })

  test('whatever is alike, the slot holds the image in the end', async () => {
    const dice = pseudoRandom(20 * 32 * 4, 'slot-writer')
    let thrown = 0
    const below = (limit: number): number => Math.floor((dice.readUInt32LE(4 * thrown++) / 2 ** 32) * limit)
    for (let round = 0; round < 20; round++) {
      const image = randomBytes(below(30 * MIB))
      const before = randomBytes(below(30 * MIB))
      for (let run = 0; run < 10; run++) {
        const at = below(image.length)
        image.copy(before, at, at, at + below(8 * MIB))
      }
      await holding(before)
      const { written, kept } = await write(image)
      assert.equal(written + kept, image.length)
      assert.ok((await readFile(path)).subarray(0, image.length).equals(image))
      assert.equal(
        writes.reduce((sum, { length }) => sum + length, 0),
        written,
      )
      await file.close()
    }
    await holding(Buffer.alloc(0))
  })

  test('what cannot be read is written, and told once', async () => {
    const image = randomBytes(3 * MIB)
    await holding(image)
    slot = {
      ...slot,
      read: () => Promise.reject(new Error('EIO')),
    }
    assert.deepEqual(await write(image), { written: 3 * MIB, kept: 0 })
    assert.equal(unreadable.length, 1)
  })

  test('a write that takes a part only goes on, one that fails is the end', async () => {
    const image = randomBytes(MIB)
    await holding(Buffer.alloc(MIB))
    const whole = slot
    slot = {
      ...slot,
      write: ((bytes: Buffer, from: number, length: number, at: number) =>
        whole.write(bytes, from, Math.min(length, 100_000), at)) as FileHandle['write'],
    }
    await write(image)
    assert.ok((await readFile(path)).equals(image))
    const broken = new Error('EIO')
    slot = { ...slot, write: () => Promise.reject(broken) }
    await assert.rejects(write(randomBytes(MIB)), error => error === broken)
  })
})

suite('fromFifo', () => {
  const fifo = join(dir, 'fifo')
  beforeEach(() => runProgram(['mkfifo', fifo]))
  afterEach(() => rm(fifo, { force: true }))

  async function read(pause = 0): Promise<Buffer> {
    const all: Buffer[] = []
    for await (const piece of fromFifo(fifo)) {
      assert.ok(piece.length <= PIECE)
      // Still the same after a while.
      const copy = Buffer.from(piece)
      if (pause > 0) await sleep(pause)
      assert.ok(piece.equals(copy))
      all.push(copy)
    }
    return Buffer.concat(all)
  }

  test('all bytes, in order, whoever is the slower', async () => {
    for (const length of [1, PIECE - 1, PIECE, PIECE + 1, 9 * MIB + 5]) {
      const bytes = randomBytes(length)
      const fast = read()
      createWriteStream(fifo).end(bytes)
      assert.ok((await fast).equals(bytes))
      await runProgram(['mkfifo', fifo])
      const slow = read(20)
      createWriteStream(fifo).end(bytes)
      assert.ok((await slow).equals(bytes))
      await runProgram(['mkfifo', fifo])
    }
    const bytes = randomBytes(30_000)
    const late = read()
    const stream = createWriteStream(fifo)
    for (let at = 0; at < bytes.length; at += 10_000) {
      await sleep(20)
      stream.write(bytes.subarray(at, at + 10_000))
    }
    stream.end()
    assert.ok((await late).equals(bytes))
  })

  test('nothing when a writer comes and goes', async () => {
    const nothing = read()
    await sleep(50)
    await (await open(fifo, 'r+')).close()
    assert.equal((await nothing).length, 0)
  })

  test('nobody else can write once somebody has', async () => {
    const all = read()
    const writer = await open(fifo, 'w')
    await writer.write('image')
    await sleep(50)
    await assert.rejects(access(fifo))
    await writer.close()
    assert.equal((await all).toString(), 'image')
  })

  test('somebody else who has removed it does no harm', async () => {
    const all = read()
    const writer = await open(fifo, 'w')
    await rm(fifo)
    await writer.write('image')
    await writer.close()
    assert.equal((await all).toString(), 'image')
  })

  test('one that cannot be removed ends the reading, not the agent', async () => {
    // Expected from the start: it may fail before the write has ended.
    const failed = assert.rejects(read(), { code: 'ERR_FS_EISDIR' })
    const writer = await open(fifo, 'w')
    await rm(fifo)
    await mkdir(fifo)
    await writer.write('image')
    await failed
    await writer.close()
    await rmdir(fifo)
  })

  test('a reader that has had enough lets the writer know', async () => {
    const stream = createWriteStream(fifo)
    const failed = new Promise<NodeJS.ErrnoException>(resolve => stream.once('error', resolve))
    stream.write(randomBytes(5 * MIB))
    for await (const piece of fromFifo(fifo)) {
      assert.equal(piece.length, PIECE)
      break
    }
    assert.equal((await failed).code, 'EPIPE')
  })
})

suite('which pieces are compared', () => {
  /** `alike`: the share of each piece that is there already. True for each that is compared. */
  function looks(alike: readonly number[]): boolean[] {
    const comparing = new Comparing()
    return alike.map(share => {
      const look = comparing.next()
      if (look) comparing.seen(share * 300, 300)
      return look
    })
  }

  test('all, while at least a third is alike', () => {
    assert.ok(looks([1, 0.5, 100 / 300, 1]).every(Boolean))
  })

  test('ever fewer while it is less, at most fifteen in a row unseen', () => {
    const seen = looks(new Array(100).fill(0)).flatMap((look, index) => (look ? [index] : []))
    assert.deepEqual(seen, [0, 2, 6, 14, 30, 46, 62, 78, 94])
  })

  test('all again as soon as one is alike', () => {
    const alike = [...new Array(20).fill(0), ...new Array(20).fill(1)]
    const seen = looks(alike)
    assert.ok(seen.slice(30).every(Boolean))
    assert.ok(!seen.slice(15, 30).some(Boolean))
  })
})
