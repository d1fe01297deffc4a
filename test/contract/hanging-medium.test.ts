import assert from 'node:assert/strict'
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { pathToFileURL } from 'node:url'
import { FolderContent } from '../../src/adapters/files/folder-content.ts'

const range = { origin: 'local', first: 0, last: 0 } as const
const PATIENT = 600_000
const never = new AbortController().signal

test('a medium that hangs ends with the signal, occupies one thread at most, and is read again when it answers', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'hanging-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'deployment.json')
  await writeFile(file, '{}')
  let answer = (): void => {}
  const until = new Promise<void>(resolve => {
    answer = resolve
  })
  let calls = 0
  const slow = (async (...given: Parameters<typeof open>) => {
    calls += 1
    await until
    return open(...given)
  }) as typeof open
  const content = new FolderContent({ get: () => assert.fail('not from a folder') }, PATIENT, slow)
  const url = pathToFileURL(file).href
  const over = new AbortController()
  const got = content.get(url, range, over.signal)
  over.abort(new Error('late'))
  await assert.rejects(got, /late/)
  await assert.rejects(content.get(url, range, never), {
    ...{ code: 'LOCAL_FILE', message: /the medium does not answer/ },
    // By this the watched folder tells a medium that hangs from one that was taken away.
    cause: { code: 'ETIMEDOUT' },
  })
  assert.equal(calls, 1)
  answer()
  for (let tries = 0; ; tries++) {
    try {
      assert.equal((await content.get(url, range, never)).total, 2)
      break
    } catch (error) {
      assert.ok(tries < 1000, String(error))
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }
})

test('a read that hangs during an installation is given up after the stall time, in one line', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'stalled-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'a.swu')
  await writeFile(file, Buffer.alloc(300_000))
  let hang = (): void => {}
  const hangs = new Promise<void>(resolve => {
    hang = resolve
  })
  let reads = 0
  const stalled = (async (...given: Parameters<typeof open>) => {
    const handle = await open(...given)
    const read = handle.read.bind(handle) as (...given: unknown[]) => Promise<unknown>
    const slow = async (...given: unknown[]) => {
      reads += 1
      if (reads < 2) return read(...given)
      hang()
      return new Promise(() => {})
    }
    return Object.assign(handle, { read: slow })
  }) as typeof open
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const content = new FolderContent({ get: () => assert.fail('not from a folder') }, 60_000, stalled)
  const part = await content.get(pathToFileURL(file).href, { ...range, last: 299_999 }, never)
  let bytes = 0
  const all = async (): Promise<void> => {
    for await (const piece of part.body) bytes += piece.length
  }
  const read = all()
  await hangs
  t.mock.timers.tick(59_999)
  assert.equal(await Promise.race([read, new Promise(resolve => setImmediate(resolve, 'waits'))]), 'waits')
  t.mock.timers.tick(1)
  await assert.rejects(read, { code: 'LOCAL_FILE', message: `cannot read ${file}: the medium does not answer` })
  assert.equal(bytes, 128 * 1024)
})

test('an error when a pulled medium is closed ends nothing', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'pulled-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'deployment.json')
  await writeFile(file, '{}')
  const pulled = (async (...given: Parameters<typeof open>) => {
    const handle = await open(...given)
    const close = handle.close.bind(handle)
    handle.close = async () => {
      await close()
      throw Object.assign(new Error('EIO: i/o error, close'), { code: 'EIO' })
    }
    return handle
  }) as typeof open
  const content = new FolderContent({ get: () => assert.fail('not from a folder') }, PATIENT, pulled)
  const part = await content.get(pathToFileURL(file).href, range, never)
  assert.equal(part.total, 2)
  const pieces: Buffer[] = []
  for await (const piece of part.body) pieces.push(piece)
  assert.equal(Buffer.concat(pieces).toString(), '{')
})
