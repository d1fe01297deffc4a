import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { Writable } from 'node:stream'
import test, { type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Feed, MAX_FOLLOWERS } from '../../src/page/feed.ts'
import { servePage } from '../../src/page/page.ts'
import { type Handler, type Listening, MAX_CONNECTIONS, Pace, serveHttp } from '../../src/page/server.ts'
import type { PageState } from '../../src/page/state.ts'
import { aLog, until } from '../control/support.ts'
import { aPage, ask, freePort, order, PIN } from './support.ts'

const GET = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`

function aSocket(t: TestContext, port: number, text = ''): Socket & { got: string } {
  const socket = Object.assign(connect(port, '127.0.0.1'), { got: '' })
  socket.on('error', () => {})
  socket.on('data', chunk => {
    socket.got += chunk
  })
  socket.write(text)
  t.after(() => socket.destroy())
  return socket
}

/** The HTTP server alone, with limits that a test can wait for. */
async function aServer(
  t: TestContext,
  more: Pick<Listening, 'limits'> & { readonly onPause?: () => void } = {},
  handler: Handler = (_, response) => void response.end('here'),
) {
  const port = await freePort()
  const { log, lines } = aLog()
  let listens = false
  const onChange = (_: string, why: string | undefined): void => {
    listens = why === undefined
    // It does so after this call.
    if (!listens && more.onPause) setImmediate(more.onPause)
  }
  t.after(serveHttp({ address: '127.0.0.1', port, onChange, ...more }, handler, log))
  await until(() => listens, 'the server to listen')
  return { port, lines }
}

test('of 300 connections a few stay, and silent ones are closed', async t => {
  const { port, lines } = await aServer(t, { limits: { headers: 1000 } })
  const sockets = Array.from({ length: 300 }, () => aSocket(t, port))
  const open = (): number => sockets.filter(({ closed, destroyed }) => !closed && !destroyed).length
  await until(() => open() <= MAX_CONNECTIONS, 'the others to be closed')
  await until(() => open() === 0, 'the silent ones to be closed')
  assert.equal((await ask(port, '/')).status, 200)
  assert.deepEqual(
    lines.filter(([level]) => level === 'error'),
    [],
  )
})

test('a request that comes letter by letter, and a form that never ends, are given up', async t => {
  const { port } = await aServer(t, { limits: { headers: 300, request: 600 } })
  const slow = aSocket(t, port, 'GET / HTTP/1.1\r\n')
  const drip = setInterval(() => slow.write('X-Slow: 1\r\n'), 50)
  t.after(() => clearInterval(drip))
  const endless = aSocket(t, port, 'POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 400\r\n\r\npin=')
  await until(() => slow.closed && endless.closed, 'both to be closed')
})

test('more browsers than there is room for: the oldest goes, and the new one is told the state', async t => {
  const { port, publisher } = await aPage(t)
  const followers: ReturnType<typeof aSocket>[] = []
  for (let i = 0; i < MAX_FOLLOWERS + 3; i += 1) {
    const follower = aSocket(t, port, GET('/events'))
    followers.push(follower)
    await until(() => follower.got.includes('data: {'), `follower ${i}`)
  }
  await until(() => followers.filter(({ closed }) => closed).length === 3, 'the oldest to go')
  assert.deepEqual(
    followers.map(({ closed }) => closed),
    [true, true, true, ...Array(MAX_FOLLOWERS).fill(false)],
  )
  publisher.tell({ event: 'hub.lost', why: 'a reason to be seen', retryInMs: 1 })
  await until(() => followers.slice(3).every(({ got }) => got.includes('a reason to be seen')), 'the rest to be told')
})

test('a browser that stops reading is closed', async t => {
  // More than the kernel's buffers take.
  const bytes = 12 << 20
  const { log } = aLog()
  let changed = (): void => {}
  const source = {
    state: () => ({ text: 'x'.repeat(bytes) }),
    watch: (call: () => void) => {
      changed = call
      return () => {}
    },
  }
  const feed = new Feed(source, log)
  const responses: ServerResponse[] = []
  const { port } = await aServer(t, {}, (_, response) => {
    responses.push(response)
    feed.add(response)
  })
  t.after(() => feed.end())
  const socket = aSocket(t, port, GET('/events'))
  await until(() => socket.got.length > 1000, 'the beginning')
  socket.pause()
  await until(() => {
    changed()
    return responses[0]?.closed === true
  }, 'it to be closed')
})

test('a connection on which nothing moves ends, but not a support bundle that is slow to be made', async t => {
  const port = await freePort()
  const { log, lines } = aLog()
  const silence = 500
  const device = {
    state: () => ({ host: 'till-17' }) as PageState,
    watch: () => () => {},
    consent: async () => ({ done: 'x' }),
    bundle: async (out: Writable) => {
      out.write('begin ')
      await sleep(2 * silence)
      out.end('end')
    },
  }
  const options = { address: '127.0.0.1', port, pin: PIN, names: [], now: () => 0, limits: { silence } }
  t.after(servePage(device, options, log))
  await until(() => lines.some(([, event]) => event === 'page.listening'), 'it to listen')
  // It follows, and is not told anything for five seconds.
  const idle = aSocket(t, port, GET('/events'))
  const { status, body } = await order(port, '/bundle', PIN)
  assert.deepEqual([status, body], [200, 'begin end'])
  await until(() => idle.closed, 'the idle one to be closed')
})

test('50 requests are answered at once, then one each 20 ms', () => {
  const pace = new Pace()
  const waits = (count: number, at: number): number[] => Array.from({ length: count }, () => pace.next(at))
  assert.deepEqual(waits(53, 1000), [...Array(50).fill(0), 20, 40, 60])
  assert.deepEqual(waits(2, 1060), [20, 40])
  // A quiet while allows as many as at the beginning, and not more.
  assert.deepEqual(waits(51, 100_000), [...Array(50).fill(0), 20])
})

test('requests without end wait for their turn', async t => {
  let served = 0
  const { port } = await aServer(t, {}, (_, response) => {
    served += 1
    response.end()
  })
  const begun = performance.now()
  const requests = 90
  for (let i = 0; i < requests; i += 10) await Promise.all(Array.from({ length: 10 }, () => ask(port, '/')))
  assert.equal(served, requests)
  // Timers may be a millisecond early.
  const took = performance.now() - begun
  assert.ok(took > (requests - 50) * 20 - 50, `${requests} answers in ${took} ms`)
})

test('who goes away while it waits for its turn is not answered', async t => {
  let [served, gone] = [0, 0]
  const { port } = await aServer(t, {}, (_, response) => {
    served += 1
    if (response.destroyed) gone += 1
    response.end()
  })
  // So many that the next ones have to wait.
  for (let i = 0; i < 5; i += 1) await Promise.all(Array.from({ length: 20 }, () => ask(port, '/')))
  const before = served
  const waiting = Array.from({ length: 20 }, () => aSocket(t, port, GET('/')))
  await until(() => served > before, 'the first of them to be answered')
  for (const each of waiting) each.destroy()
  // Longer than the last of them had to wait.
  await sleep(20 * 20 + 100)
  assert.equal(gone, 0)
})

test('forms that break off are no lines in the log', async t => {
  const { port, lines } = await aPage(t)
  const form = `POST /consent HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nOrigin: http://127.0.0.1:${port}\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\npin=`
  for (let i = 0; i < 3; i += 1) {
    const socket = aSocket(t, port, form)
    await until(() => socket.got.includes('100 Continue'), 'the page to read the form')
    socket.destroy()
  }
  assert.equal((await order(port, '/consent', 'wrong-pin')).status, 403)
  assert.deepEqual(
    lines.filter(([level]) => level === 'error'),
    [],
  )
})

test('requests that do not wait for their answers end their connection', async t => {
  const { port } = await aPage(t)
  const socket = aSocket(t, port, GET('/events') + GET('/state').repeat(500))
  await until(() => socket.closed, 'it to be closed')
})

test('garbage is answered with 400 and closed', async t => {
  const { port } = await aPage(t)
  const socket = aSocket(t, port, '\x16\x03\x01\x02\0\r\n\r\n')
  await until(() => socket.closed, 'it to be closed')
  assert.match(socket.got, /^HTTP\/1\.1 400 /)
  const long = aSocket(t, port, `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: ${'x'.repeat(20_000)}\r\n\r\n`)
  await until(() => long.closed, 'it to be closed')
  assert.match(long.got, /^HTTP\/1\.1 431 /)
})

test('too many connections: it does not listen for a while, says so once, and listens again', async t => {
  const flood = 200
  const limits = { flood, floodWithin: 600_000, pause: 500 }
  const meanwhile: ReturnType<typeof aSocket>[] = []
  const onPause = (): void => void meanwhile.push(aSocket(t, port))
  const { port, lines } = await aServer(t, { limits, onPause }, (_, response) => void response.write('here '))
  const said = (name: string): number => lines.filter(([, event]) => event === name).length
  const early = aSocket(t, port, GET('/'))
  await until(() => early.got.includes('here'), 'an answer')
  for (let i = 0; said('page.flooded') === 0 && i < 2 * flood; i += 1) {
    const one = aSocket(t, port)
    await until(() => !one.pending || one.closed, 'it to be connected or refused')
    one.destroy()
  }
  await until(() => meanwhile[0]?.closed === true, 'the one that came then to be refused')
  await until(() => said('page.listening') === 2, 'it to listen again')
  const late = aSocket(t, port, GET('/'))
  await until(() => late.got.includes('here'), 'an answer')
  // Who was there before stayed.
  assert.deepEqual([said('page.flooded'), early.closed, meanwhile[0]?.got], [1, false, ''])
})
