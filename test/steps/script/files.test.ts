import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, link, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { whyNotOwned } from '../../../src/steps/owned.ts'
import { deviceWords } from '../../../src/steps/script/device-file.ts'
import { readResultFile } from '../../../src/steps/script/result-file.ts'

async function folderFor(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'pi-adu-script-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const GOOD = '{"resultCode":600,"extendedResultCode":0,"resultDetails":"ok"}'

test('a result file is read only if it is a small regular file that the script made', async t => {
  const folder = await folderFor(t)
  const path = join(folder, 'r.json')
  const because = async (make: () => unknown): Promise<string> => {
    await rm(path, { recursive: true, force: true })
    await make()
    return await readResultFile(path).then(
      ({ resultCode }) => String(resultCode),
      error => {
        assert.equal(error.name, 'BadAnswer')
        return error.message as string
      },
    )
  }
  const written = (content: string | Buffer) => because(() => writeFile(path, content))
  const outside = join(folder, 'outside')
  await writeFile(outside, GOOD)
  assert.equal(await written(GOOD), '600')
  assert.equal(await written(`${GOOD}\n`), '600')
  assert.equal(await because(() => {}), 'is missing')
  assert.equal(await because(() => symlink(outside, path)), 'is a link')
  assert.equal(await because(() => symlink('/dev/zero', path)), 'is a link')
  assert.equal(await because(() => link(outside, path)), 'is not a regular file of the script')
  assert.equal(await because(() => mkdir(path)), 'is not a regular file of the script')
  assert.equal(await because(() => execFileSync('mkfifo', [path])), 'is not a regular file of the script')
  assert.equal(await written(Buffer.alloc(64 * 1024 + 1, ' ')), 'is larger than 64 KiB')
  assert.match(
    await written('{"resultCode":0,"extendedResultCode":0x30501000}'),
    /^is not valid JSON \(a code is a decimal/,
  )
  assert.match(await written(''), /^is not valid JSON/)
  assert.match(await written('['.repeat(60_000)), /^is not valid JSON/)
  assert.match(await written(Buffer.from([0xff, 0xfe, 0x00])), /^is not valid JSON/)
})

test('the words of the device come in the order of its file, which only root may write', async t => {
  const folder = await folderFor(t)
  const path = join(folder, 'config.json')
  assert.deepEqual(await deviceWords(path), [])
  await writeFile(path, '{"--b":"1 2","--a":""}', { mode: 0o644 })
  assert.deepEqual(await deviceWords(path), ['--b', '1 2', '--a', ''])
  for (const [content, why] of [
    ['{"--a":1}', /"--a" is not a text$/],
    ['{"--a"', /is not valid JSON/],
    ['["--a"]', /is not a JSON object$/],
    ['{"--a":"\\u0000"}', /NUL/],
  ] as const) {
    await writeFile(path, content)
    await assert.rejects(deviceWords(path), why)
  }
  await writeFile(path, '{}')
  await chmod(path, 0o666)
  await assert.rejects(deviceWords(path), /may be written by others than root$/)
  await rm(path)
  execFileSync('mkfifo', [path])
  await assert.rejects(deviceWords(path), /is not a regular file$/)
})

test('a file that others may change, or have put there, is not owned', async t => {
  const folder = await folderFor(t)
  const path = join(folder, 'run')
  await writeFile(path, '', { mode: 0o755 })
  assert.equal(await whyNotOwned(path), undefined)
  await symlink(path, join(folder, 'link'))
  assert.match((await whyNotOwned(join(folder, 'link'))) ?? '', /is not a regular file$/)
  assert.match((await whyNotOwned(join(folder, 'none'))) ?? '', /ENOENT/)
  await chmod(folder, 0o777)
  assert.match((await whyNotOwned(path)) ?? '', /may be written by others/)
  await chmod(folder, 0o755)
  if (process.getuid?.() === 0) {
    execFileSync('chown', ['12345', path])
    assert.match((await whyNotOwned(path)) ?? '', /does not belong to root$/)
  }
})
