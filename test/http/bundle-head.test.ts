import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { declaredImage } from '../../src/adapters/bundle-head.ts'
import { preflight } from '../../src/adapters/slot-device.ts'
import { runProgram } from '../bench/workbench/program.ts'

const dir = await mkdtemp(join(tmpdir(), 'bundle-head-'))
after(() => rm(dir, { recursive: true }))

/** As an author's tools make it; unsigned, which nobody asks here. */
async function bundle(image: string, description: string, content: Buffer): Promise<Buffer> {
  await writeFile(join(dir, 'sw-description'), description)
  await writeFile(join(dir, 'sw-description.sig'), Buffer.alloc(1500, 1))
  await writeFile(join(dir, 'plain'), content)
  if (image.endsWith('.zst')) await runProgram(['zstd', '-q', '-f', join(dir, 'plain'), '-o', join(dir, image)])
  else await writeFile(join(dir, image), content)
  const input = ['sw-description', 'sw-description.sig', image].join('\n')
  return runProgram(['cpio', '--quiet', '-o', '-H', 'crc'], { cwd: dir, input })
}

const plain = await bundle('rootfs.ext4', 'images: ( { filename = "rootfs.ext4"; } );', Buffer.alloc(300_000, 7))
const packed = await bundle('r.zst', 'a = { filename = "r.zst"; compressed = "zstd"; }', Buffer.alloc(300_000))
const two = await bundle('one', '{ filename = "one"; }, { filename = "two"; }', Buffer.alloc(300_000))

test('the size of a plain image is that of the file, of a packed one what its frame says', () => {
  const at = (bundle: Buffer, text: Buffer) => bundle.indexOf(text, 1500)
  assert.deepEqual(declaredImage(plain), {
    name: 'rootfs.ext4',
    first: at(plain, Buffer.alloc(1000, 7)),
    packed: false,
    bytes: 300_000,
  })
  const first = packed.indexOf(Buffer.from('28b52ffd', 'hex'))
  assert.deepEqual(declaredImage(packed), { name: 'r.zst', first, packed: true, bytes: 300_000 })
  assert.equal(declaredImage(two), undefined)
})

test('with fewer bytes it asks for more, and never says anything else', () => {
  for (const whole of [plain, packed]) {
    for (let length = 0; length < 5_000; length += 7) {
      const answer = declaredImage(whole.subarray(0, length))
      assert.ok(
        answer === 'more' || (answer as { bytes: number }).bytes === 300_000,
        `${length}: ${JSON.stringify(answer)}`,
      )
    }
  }
})

test('of something else, and of a head full of lies, nothing is known, and nothing breaks', () => {
  assert.equal(declaredImage(Buffer.alloc(1000, 'not an archive ')), undefined)
  for (let at = 0; at < 2200; at++) {
    const wrong = Buffer.from(plain.subarray(0, 4000))
    wrong[at] = wrong[at]! ^ 0x15
    const answer = declaredImage(wrong)
    assert.ok(answer === undefined || answer === 'more' || answer.bytes >= 0)
  }
})

test('a bundle that does not fit is refused before its first byte, with both numbers', async () => {
  const slot = join(dir, 'slot')
  await writeFile(slot, Buffer.alloc(299_999))
  const seen: Buffer[] = []
  const through = async () => {
    for await (const piece of preflight(pieces(plain), slot)) seen.push(Buffer.from(piece))
  }
  await assert.rejects(through(), { code: 'SPACE', message: /rootfs\.ext4 has 300000 bytes.* room for 299999/ })
  assert.equal(seen.length, 0)
})

test('any other passes as it is', async () => {
  const slot = join(dir, 'slot')
  await writeFile(slot, Buffer.alloc(300_000))
  for (const [whole, device] of [
    [plain, slot],
    [plain, join(dir, 'not-there')],
    [two, slot],
    [Buffer.alloc(1_000_000, 'no archive'), slot],
    [plain.subarray(0, 1_000), slot],
  ] as const) {
    const seen: Buffer[] = []
    for await (const piece of preflight(pieces(whole), device)) seen.push(Buffer.from(piece))
    assert.ok(Buffer.concat(seen).equals(whole))
  }
})

async function* pieces(whole: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < whole.length; at += 777) yield whole.subarray(at, at + 777)
}
