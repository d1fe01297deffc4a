import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { SlotLeftovers } from '../../src/adapters/slot/leftovers.ts'
import { AgentError } from '../../src/domain/errors.ts'
import { perform } from '../../src/workflow/perform/perform.ts'
import { runProgram } from '../bench/workbench/program.ts'
import { pseudoRandom } from '../bench/workbench/root-tree.ts'
import { descriptionOf } from '../bundle/archive.ts'
import { VirtualClock } from '../workflow/virtual-clock.ts'

const dir = await mkdtemp(join(tmpdir(), 'leftovers-'))
after(() => rm(dir, { recursive: true }))
const slot = join(dir, 'slot')
const noteFile = join(dir, 'leftover')
const log = { debug() {}, info() {}, warn() {}, error() {} }

const image = pseudoRandom(40 << 20, 'leftovers')
await writeFile(join(dir, 'sw-description'), descriptionOf('images: ( { filename = "image"; } );'))
await writeFile(join(dir, 'sw-description.sig'), Buffer.alloc(1500, 1))
await writeFile(join(dir, 'image'), image)
const bundle = await runProgram(['cpio', '--quiet', '-o', '-H', 'crc'], {
  cwd: dir,
  input: 'sw-description\nsw-description.sig\nimage',
})
const sha256 = createHash('sha256').update(bundle).digest()
const first = bundle.indexOf(image.subarray(0, 64))

const leftovers = () => new SlotLeftovers({ file: noteFile, device: { a: join(dir, 'a'), b: slot } }, log)

class PowerCut extends Error {}

/** The power goes after so many bytes; returns how many came from the network. */
async function attempt(cutAfter = Number.POSITIVE_INFINITY, end: Error = new PowerCut()): Promise<number> {
  let fetched = 0
  const content = {
    async get(_url: string, range: { first: number; last: number }) {
      async function* body(): AsyncGenerator<Buffer> {
        const bytes = bundle.subarray(range.first, range.last + 1)
        fetched += bytes.length
        yield bytes
      }
      return { ...range, total: bundle.length, etag: undefined, body: body() }
    },
  }
  const installer = {
    async install(bytes: AsyncIterable<Buffer>) {
      const file = await open(slot, 'r+')
      let at = 0
      try {
        for await (const piece of bytes) {
          // What SWUpdate does: all that belongs to the image goes to its place.
          const part = piece.subarray(Math.max(0, first - at), Math.max(0, first + image.length - at))
          if (part.length > 0) await file.write(part, 0, part.length, Math.max(0, at - first))
          at += piece.length
          if (at >= cutAfter) throw end
        }
      } finally {
        await file.close()
      }
    },
  }
  const update = {
    bundle: { fileId: 'f', fileName: 'a.swu', sizeInBytes: bundle.length, sha256 },
    url: 'http://x/',
  }
  const journal = {
    async write({ installedTo }: { installedTo?: string }) {
      if (installedTo) assert.ok((await readdir(dir)).includes('leftover'), 'forgotten before the journal knew')
    },
  }
  const events = { tell() {}, saw() {} }
  const ports = { content, installer, leftovers: leftovers(), clock: new VirtualClock(), log, journal, events }
  const seen = {
    boot: { booted: 'a' },
    attempt: { workflow: { id: 'w' }, installs: 0, steps: [], origin: 'none', times: {} },
  }
  const options = {
    fetch: { rangeBytes: 1 << 20, timeout: 1e9 },
    reporters: {},
  }
  const { signal } = new AbortController()
  try {
    const action = { do: 'install', update, into: 'b' }
    await perform(action as never, { ports, seen, options, signal, tell: async () => {} } as never)
  } catch (error) {
    if (!(error instanceof PowerCut)) throw error
  }
  return fetched
}

async function slotIsWhole(): Promise<boolean> {
  const file = await open(slot, 'r')
  const bytes = Buffer.alloc(image.length)
  await file.read(bytes, 0, bytes.length, 0)
  await file.close()
  return bytes.equals(image)
}

const fresh = async (): Promise<void> => {
  await writeFile(slot, Buffer.alloc(image.length))
  await rm(noteFile, { force: true })
}

test('what reached the slot does not come from the network again', async () => {
  await fresh()
  let fetched = await attempt(30 << 20)
  const again = await attempt()
  fetched += again
  assert.ok(await slotIsWhole())
  assert.ok(again < 13 << 20, `${again} bytes again`)
  assert.ok(fetched > bundle.length)
  assert.ok(!(await readdir(dir)).includes('leftover'), 'the note outlived the installation')
})

test('ten cuts: no more than ten times what lies between two notes', async () => {
  await fresh()
  let fetched = 0
  for (let cut = 1; cut <= 10; cut++) fetched += await attempt((cut * bundle.length) / 11)
  fetched += await attempt()
  assert.ok(await slotIsWhole())
  assert.ok(fetched < bundle.length + 10 * (3 << 20), `${fetched} bytes`)
})

test('a slot that lost some of what was noted: what lies before that is used, the rest comes from the network', async () => {
  await fresh()
  await attempt(30 << 20)
  const file = await open(slot, 'r+')
  await file.write(Buffer.from('a hole'), 0, 6, 5 << 20)
  await file.close()
  const fetched = await attempt()
  assert.ok(fetched > bundle.length - (6 << 20) && fetched < bundle.length - (3 << 20), `${fetched} bytes`)
  assert.ok(await slotIsWhole())
})

test('of another bundle, for another slot, or unreadable: nothing is left', async () => {
  await fresh()
  await attempt(30 << 20)
  assert.notEqual(await leftovers().find(sha256, 'b'), undefined)
  assert.equal(await leftovers().find(Buffer.alloc(32), 'b'), undefined)
  assert.equal(await leftovers().find(sha256, 'b'), undefined, 'the note of a slot that becomes something else stays')
  for (const text of [
    '',
    '{',
    '{"sha256":1}',
    `{"sha256":"${sha256.toString('hex')}","slot":"b","first":9,"end":-1}`,
  ]) {
    await writeFile(noteFile, text)
    assert.equal(await leftovers().find(sha256, 'b'), undefined)
  }
})

test('a slot that cannot be read: all comes from the network', async () => {
  await fresh()
  await attempt(30 << 20)
  const unreadable = new SlotLeftovers({ file: noteFile, device: { a: dir, b: dir } }, log)
  const left = await unreadable.find(sha256, 'b')
  for await (const _ of left!.bytes(bundle.subarray(0, first))) assert.fail('bytes of a directory')
})

test('a full data partition: one warning, and the bundle as it was', async () => {
  const warnings: string[] = []
  const full = new SlotLeftovers(
    { file: '/dev/full', device: { a: slot, b: slot } },
    { ...log, warn: (event: string) => void warnings.push(event) },
  )
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let at = 0; at < bundle.length; at += 1 << 20) {
      yield bundle.subarray(at, at + (1 << 20))
      await new Promise(resolve => setTimeout(resolve, 2))
    }
  }
  const seen: Buffer[] = []
  for await (const piece of full.noting(pieces(), sha256, 'b', () => Buffer.alloc(32))) seen.push(piece)
  assert.ok(Buffer.concat(seen).equals(bundle))
  assert.deepEqual(warnings, ['leftover.not-noted'])
})

test('an installation that ends keeps its last mark, however fast the bytes came', async () => {
  await fresh()
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let at = 0; at < bundle.length; at += 1 << 20) {
      yield bundle.subarray(at, at + (1 << 20))
      await new Promise(resolve => setImmediate(resolve))
    }
  }
  for await (const _ of leftovers().noting(pieces(), sha256, 'b', () => Buffer.alloc(32))) {
    // Only the marks count.
  }
  const left = await leftovers().find(sha256, 'b')
  assert.ok((left?.end ?? 0) > bundle.length - (1 << 20), `${left?.end} of ${bundle.length} bytes`)
})

test('a wrong file on the server stays an error', async () => {
  await fresh()
  await attempt(30 << 20)
  bundle[bundle.length - 100]! ^= 1
  try {
    await assert.rejects(attempt(), (error: AgentError) => error instanceof AgentError && error.code === 'FILE_HASH')
  } finally {
    bundle[bundle.length - 100]! ^= 1
  }
})

test('what was wrong when it came is not believed again: all comes from the network', async () => {
  await fresh()
  bundle[5 << 20]! ^= 1
  await attempt(30 << 20)
  bundle[5 << 20]! ^= 1
  const fetched = await attempt()
  assert.ok(fetched >= bundle.length, `${fetched} bytes`)
  assert.ok(await slotIsWhole())
})

test('a bundle that is refused leaves no note, one that a refusal follows from is fetched once more', async () => {
  await fresh()
  const refusal = new AgentError('BUNDLE_FILE', 'not named')
  await assert.rejects(attempt(30 << 20, refusal), error => error === refusal)
  assert.ok(!(await readdir(dir)).includes('leftover'))
  await attempt(30 << 20)
  await assert.rejects(attempt(35 << 20, refusal), error => error === refusal)
  assert.ok(!(await readdir(dir)).includes('leftover'))
})
