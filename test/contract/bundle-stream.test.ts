import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { BundleStream } from '../../src/adapters/swupdate/bundle-stream.ts'

const dir = await mkdtemp(join(tmpdir(), 'bundle-stream-'))
after(() => rm(dir, { recursive: true }))
let servers = 0

/** More than the kernel keeps for a connection. */
const MUCH = Buffer.alloc(3_000_000, 'bundle')

async function connected(t: TestContext): Promise<{ near: Socket; far: Socket }> {
  const path = join(dir, `${servers++}`)
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true })
  await once(server.listen(path), 'listening')
  const near = createConnection({ path, allowHalfOpen: true })
  const [[far]] = (await Promise.all([once(server, 'connection'), once(near, 'connect')])) as [[Socket], unknown]
  t.after(() => {
    near.destroy()
    far.destroy()
    server.close()
  })
  return { near, far }
}

async function isOpen(stream: Promise<unknown>): Promise<boolean> {
  return (await Promise.race([stream, sleep(100, 'waits')])) === 'waits'
}

test('all bytes arrive, however slowly they are taken, and the main thread has its hands free', async t => {
  const { near, far } = await connected(t)
  const stream = new BundleStream(near)
  const written = stream.write(MUCH)
  assert.equal(await isOpen(written), true)
  const seen: Buffer[] = []
  far.on('data', bytes => seen.push(bytes)).resume()
  assert.equal(await written, true)
  stream.end()
  assert.equal(stream.ended.aborted, true)
  await once(far, 'end')
  assert.ok(Buffer.concat(seen).equals(MUCH))
  await stream.close()
})

test('a reader that goes in the middle of a piece, and before one', async t => {
  const { near, far } = await connected(t)
  const stream = new BundleStream(near)
  const written = stream.write(MUCH)
  assert.equal(await isOpen(written), true)
  far.destroy()
  assert.equal(await written, false)
  assert.equal(await stream.write(Buffer.from('more')), false)
  await stream.close()
})

test('the descriptor is closed by nobody while a thread writes', async t => {
  const { near, far } = await connected(t)
  const stream = new BundleStream(near)
  const written = stream.write(MUCH)
  far.end('read by nobody')
  const closed = stream.close()
  assert.equal(await isOpen(Promise.race([written, closed])), true)
  assert.equal(near.destroyed, false)
  far.resume()
  assert.equal(await written, true)
  await closed
  assert.equal(near.destroyed, true)
})

/** What Node has of it, which another Node may not have. */
const handle = (socket: Socket) => (socket as unknown as { _handle: Record<string, unknown> })._handle

test('a Node that cannot let a thread write writes itself', async t => {
  const { near, far } = await connected(t)
  handle(near).setBlocking = undefined
  const stream = new BundleStream(near)
  const written = stream.write(MUCH)
  const seen: Buffer[] = []
  far.on('data', bytes => seen.push(bytes)).resume()
  assert.equal(await written, true)
  stream.end()
  await once(far, 'end')
  assert.ok(Buffer.concat(seen).equals(MUCH))
  await stream.close()
})

test('what cannot be written, though SWUpdate is there, is an error and no silence', async t => {
  const { near } = await connected(t)
  // Non-blocking, as if it had not been told.
  handle(near).setBlocking = () => 0
  const stream = new BundleStream(near)
  await assert.rejects(stream.write(MUCH), { code: 'SWUPDATE_FAILED', message: /sent to swupdate: EAGAIN/ })
  await stream.close()
})

test('a connection that was over before', async t => {
  const { near } = await connected(t)
  near.destroy()
  const stream = new BundleStream(near)
  assert.equal(await stream.write(MUCH), false)
  await stream.close()
})
