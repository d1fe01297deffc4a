import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ControlSocket } from '../../src/adapters/swupdate/control-socket.ts'
import { CONTROL_SOCKET } from '../../src/adapters/swupdate/socket-place.ts'

const SIZE = 3120
const dir = await mkdtemp(join(tmpdir(), 'control-socket-'))
after(() => rm(dir, { recursive: true }))
const never = new AbortController().signal

/** What network_thread.c of SWUpdate does, as far as a test wants it otherwise. */
interface Program {
  current: number
  last: number
  messages: string[]
  bytes: number
  /** Takes what is sent, and says nothing. */
  stuck: boolean
  /** The answer to the n-th request to install, from 0: 1 ACK, 2 NACK. */
  install(nth: number): number
  readonly connections: Socket[]
  /** The one that the bundle comes on. */
  bundle?: Socket
}

async function program(t: TestContext, change: Partial<Program> = {}): Promise<{ path: string; it: Program }> {
  const folder = await mkdtemp(join(dir, 'run-'))
  const path = join(folder, CONTROL_SOCKET)
  const it: Program = {
    ...{ current: 0, last: 0, messages: [], bytes: 0, stuck: false, connections: [] },
    install: () => {
      it.current = 2
      return 1
    },
    ...change,
  }
  let installs = 0
  const server = createServer(connection => {
    it.connections.push(connection)
    connection.on('error', () => {})
    connection.once('data', request => {
      if (it.stuck) return
      // One that is too short is dropped; of a longer one the rest stays unread.
      if (request.length < SIZE || request.readInt32LE(0) !== 0x14052001) return connection.destroy()
      const answer = Buffer.alloc(SIZE)
      answer.writeInt32LE(0x14052001, 0)
      if (request.readInt32LE(4) === 0) {
        assert.deepEqual([request.length, request.readInt32LE(8)], [SIZE, 1])
        it.bundle = connection
        connection.on('data', bytes => {
          it.bytes += bytes.length
        })
        answer.writeInt32LE(it.install(installs++), 4)
        return connection.write(answer)
      }
      const message = it.messages.shift()
      answer.writeInt32LE(1, 4)
      answer.writeInt32LE(message === undefined ? it.current : 2, 8)
      answer.writeInt32LE(it.last, 12)
      answer.write(message ?? '', 20)
      return connection.end(answer)
    })
  })
  await new Promise<void>(resolve => server.listen(path, resolve))
  t.after(() => {
    for (const connection of it.connections) connection.destroy()
    server.close()
  })
  return { path, it }
}

test('a bundle goes through, and is installed when SWUpdate says so', async t => {
  const { path, it } = await program(t)
  const control = new ControlSocket({ path }, never)
  const stream = await control.install()
  const installed = control.installed(stream.ended)
  assert.equal(await stream.write(Buffer.alloc(100_000)), true)
  stream.end()
  while (it.bytes < 100_000) await sleep(5)
  it.last = 3
  assert.equal(await installed, true)
  await stream.close()
})

test('a refusal is seen while nothing can be written, though the connection stays open', async t => {
  const { path, it } = await program(t)
  const control = new ControlSocket({ path }, never)
  const stream = await control.install()
  const installed = control.installed(stream.ended)
  it.bundle?.pause()
  const written = stream.write(Buffer.alloc(4_000_000))
  Object.assign(it, { last: 4, current: 0, messages: ['Image invalid', 'Waiting for requests'] })
  assert.equal(await installed, false)
  // As when the program ends.
  it.bundle?.destroy()
  assert.equal(await written, false)
  await stream.close()
})

test('scripts that run after a failure are waited for', async t => {
  const { path, it } = await program(t)
  const control = new ControlSocket({ path }, never)
  const installed = control.installed((await control.install()).ended)
  it.last = 4
  assert.equal(await Promise.race([installed, sleep(400, 'running')]), 'running')
  it.current = 0
  assert.equal(await installed, false)
})

test('one that gets stuck is given up, not waited for', async t => {
  const { path, it } = await program(t)
  const control = new ControlSocket({ path }, never, 100)
  const stream = await control.install()
  it.stuck = true
  await assert.rejects(control.installed(stream.ended), { code: 'SWUPDATE_STALLED', message: /nothing within 0\.1 s$/ })
})

test('one that acknowledges the bundle and never begins with it is given up', async t => {
  const { path } = await program(t, { install: nth => (nth === 0 ? 1 : 2) })
  const begun = performance.now()
  await assert.rejects(new ControlSocket({ path }, never, 500).install(), /swupdate did not start to read the bundle/)
  assert.ok(performance.now() - begun < 10_000)
})

test('what it logged while it started is not taken for the beginning of the installation', async t => {
  const asked: number[] = []
  const { path, it } = await program(t, {
    install: nth => {
      asked.push(nth)
      // Its installer waits for no request yet, so the first is forgotten; a message of that time has the state "running".
      if (nth === 0) it.messages.push('[start_delta_downloader] : Starting Internal process for downloading chunks')
      else it.current = 2
      return 1
    },
  })
  const stream = await new ControlSocket({ path }, never).install()
  assert.deepEqual(asked, [0, 1])
  assert.equal(await stream.write(Buffer.from('x')), true)
  while (it.bytes === 0) await sleep(5)
  await stream.close()
})

test('one that only talks is given up', async t => {
  const talk = { shift: () => 'still starting', push: () => 0 } as unknown as string[]
  const { path } = await program(t, { install: () => 1, messages: talk })
  await assert.rejects(new ControlSocket({ path }, never, 300).install(), /swupdate did not start to read the bundle/)
})

for (const [name, second] of [
  ['a request that is forgotten is made again, and the last one counts', 1],
  ['a request that was only slow is not spoilt by the next one', 2],
] as const) {
  test(name, async t => {
    const { path, it } = await program(t, {
      install: nth => {
        if (nth === 0) return 1
        it.current = 2
        return second
      },
    })
    const stream = await new ControlSocket({ path }, never).install()
    assert.equal(await stream.write(Buffer.from('x')), true)
    while (it.bytes === 0) await sleep(5)
    await stream.close()
  })
}

test('one that takes no bundle, or is over, is an error and no silence', async t => {
  const { path } = await program(t, { install: () => 2 })
  await assert.rejects(new ControlSocket({ path }, never).install(), {
    message: 'swupdate refuses to start an installation',
  })
  const gone = new AbortController()
  const waiting = new ControlSocket({ path: join(dir, 'nobody') }, gone.signal)
  setTimeout(() => gone.abort(), 50)
  await assert.rejects(waiting.install(), { code: 'SWUPDATE_FAILED', message: /does not answer at .*ENOENT/ })
  assert.equal(waiting.silent, true)
})
