import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { askForView, type ControlError, watchAgent } from '../../src/control/client.ts'
import { followAgents } from '../../src/control/follow.ts'
import type { Line } from '../../src/control/protocol.ts'
import { Publisher } from '../../src/control/publisher.ts'
import { MAX_CLIENTS, MAX_WAITING, serveControl } from '../../src/control/server.ts'
import { aClient, aLog, aServer, until } from './support.ts'

const folder = async (t: TestContext): Promise<string> => {
  const dir = await mkdtemp(join(tmpdir(), 'control-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  return dir
}

test('a client asks for the view', async t => {
  const { path, publisher } = await aServer(t)
  assert.deepEqual(await askForView(path), publisher.view)
  publisher.tell({ event: 'hub.connected' })
  assert.equal((await askForView(path)).hub.connected, true)
})

test('a watcher is told the view, then every event and every new view; another one what has happened before', async t => {
  const { path, publisher } = await aServer(t)
  const stop = new AbortController()
  const seen: Line[] = []
  const watching = (async () => {
    for await (const line of watchAgent(path, stop.signal)) seen.push(line)
  })()
  await until(() => seen.length === 1, 'the view')
  publisher.tell({ event: 'install.begin', slot: 'b', file: 'a.swu', size: 10 })
  publisher.tell({ event: 'install.progress', bytes: 5, of: 10 })
  publisher.tell({ event: 'activated', slot: 'b' })
  await until(() => seen.length === 6, 'two events that change the view, and one that does not')
  const short = seen.map(line => ('view' in line ? line.view.progress?.bytes : 'event' in line && line.event))
  assert.deepEqual(short, [undefined, 'install.begin', 0, 'install.progress', 5, 'activated'])
  stop.abort()
  await watching

  const late: Line[] = []
  for await (const line of watchAgent(path, AbortSignal.timeout(60_000), 1)) {
    late.push(line)
    if (late.length === 2) break
  }
  // Progress is not kept.
  assert.deepEqual(
    late.map(line => ('event' in line ? [line.n, line.event] : 'view')),
    ['view', [3, 'activated']],
  )
})

test('an agent that is killed before it has read what it was asked has ended: nothing is thrown but what is declared', async t => {
  const path = join(await folder(t), 'agent.sock')
  let killed = 0
  const server = createServer({ pauseOnConnect: true }, async socket => {
    // The kernel resets a connection whose end leaves something unread.
    await sleep(50)
    socket.destroy()
    killed += 1
  }).listen(path)
  await once(server, 'listening')
  t.after(() => server.close())
  for await (const line of watchAgent(path, AbortSignal.timeout(60_000))) assert.fail(JSON.stringify(line))
  await assert.rejects(askForView(path), (error: ControlError) => error.kind === 'silent')
  const stop = new AbortController()
  const following = followAgents(
    path,
    { onLine: () => {}, again: 5, onLost: () => killed > 3 && stop.abort() },
    stop.signal,
  )
  await following
})

test('only owner and group may ask, and the socket goes with the server', async t => {
  const { path, close } = await aServer(t)
  assert.equal((await stat(path)).mode & 0o777, 0o660)
  close()
  assert.equal(existsSync(path), false)
  await assert.rejects(askForView(path), (error: ControlError) => error.kind === 'absent')
})

test('the end of the agent ends its watchers', async t => {
  const { path, close } = await aServer(t)
  const lines = watchAgent(path, AbortSignal.timeout(60_000))
  assert.ok('view' in (await lines.next()).value)
  close()
  assert.equal((await lines.next()).done, true)
})

test('a path that is too long for the kernel works', async t => {
  const dir = join(await folder(t), 'x'.repeat(120))
  await mkdir(dir)
  const { path, close } = await aServer(t, { dir })
  assert.equal((await askForView(path)).agent?.version, '9.9')
  close()
  assert.equal(existsSync(path), false)
})

test('a socket that a killed agent has left behind is replaced', async t => {
  const dir = await folder(t)
  await writeFile(join(dir, 'control.sock'), '')
  const { path } = await aServer(t, { dir })
  assert.equal((await askForView(path)).format, 1)
})

test('a socket that cannot be had is one line in the log, and nothing else', async () => {
  for (const path of ['/no/such/folder/control.sock', `/no/such/${'x'.repeat(120)}/control.sock`]) {
    const { log, lines } = aLog()
    const close = await serveControl(path, new Publisher(log), { answer: async () => ({ done: '' }) }, log)
    close()
    assert.deepEqual(
      lines.map(([level, event]) => [level, event]),
      [['warn', 'control.not-listening']],
    )
    await assert.rejects(askForView(path), (error: ControlError) => error.kind === 'absent')
  }
})

const GARBAGE: readonly (readonly [what: string, sent: string | Buffer, answer: RegExp])[] = [
  ['an empty line', '\n', /not JSON/],
  ['text', 'GET / HTTP/1.1\r\n\r\n', /not JSON/],
  ['bytes that are no text', Buffer.from([0xff, 0xfe, 0, 10]), /not JSON/],
  ['another kind of value', '7\n', /unknown request/],
  ['null', 'null\n', /unknown request/],
  ['an unknown request', '{"do":"reboot"}\n', /unknown request; "do" is one of view, watch/],
  ['the name of a built-in member', '{"do":"__proto__"}\n', /unknown request/],
  ['a wrong number', '{"do":"watch","after":-1}\n', /Invalid/],
  ['a line without end', 'x'.repeat(100_000), /too long/],
  ['a long line', `{"do":"view","x":"${'x'.repeat(5000)}"}\n`, /too long/],
]

test('a client that sends garbage is told so and closed; another one is served', async t => {
  const { path, publisher, lines } = await aServer(t)
  const stop = new AbortController()
  const watching = watchAgent(path, stop.signal)
  await watching.next()
  for (const [what, sent, answer] of GARBAGE) {
    const client = await aClient(t, path)
    client.socket.write(sent)
    await client.closed
    const [line] = client.lines() as [{ error: string }]
    assert.match(line.error, answer, what)
    assert.equal(client.lines().length, 1, what)
  }
  publisher.tell({ event: 'activated', slot: 'b' })
  assert.equal((await watching.next()).value.event, 'activated')
  stop.abort()
  assert.deepEqual(
    lines.filter(([, event]) => event !== 'activated'),
    [],
  )
})

test('a client that stops reading is closed before it costs memory; another one is served', async t => {
  const { path, publisher } = await aServer(t)
  const deaf = await aClient(t, path, { reads: false })
  deaf.socket.write('{"do":"watch"}\n')
  const asking = await aClient(t, path, { reads: false })
  const stop = new AbortController()
  const watching = watchAgent(path, stop.signal)
  await watching.next()
  let told = 0
  const reading = (async () => {
    for await (const line of watching) if ('event' in line) told += 1
  })()
  // As many bytes as would stand in the way if they were kept.
  const rounds = Math.ceil((20 * MAX_WAITING) / 1000)
  let asked = true
  for (let round = 1; round <= rounds; round++) {
    publisher.tell({ event: 'trial.finding', finding: `${round} ${'x'.repeat(1000)}` })
    if (asked) asked = asking.socket.write('{"do":"view"}\n'.repeat(20))
    if (round % 50 === 0) await until(() => told === round, 'the one who reads')
  }
  // Only who reads learns that the other end has closed.
  deaf.socket.resume()
  asking.socket.resume()
  await Promise.all([deaf.closed, asking.closed])
  assert.ok(deaf.socket.bytesRead < 4 * MAX_WAITING, `${deaf.socket.bytesRead} bytes were kept`)
  assert.equal((await askForView(path)).agent?.version, '9.9')
  stop.abort()
  await reading
})

test('a thousand clients: some are served, the rest is closed, and then there is room again', async t => {
  const { path, publisher } = await aServer(t)
  const clients = await Promise.all(Array.from({ length: 1000 }, () => aClient(t, path)))
  await until(() => clients.filter(({ over }) => !over).length <= MAX_CLIENTS, 'all but some to be closed')
  const open = clients.filter(({ over }) => !over)
  assert.ok(open.length > 0)
  for (const { socket } of open) socket.write('{"do":"watch"}\n')
  await until(() => open.every(({ lines }) => lines().length === 1), 'those to be served')
  publisher.tell({ event: 'activated', slot: 'b' })
  await until(() => open.every(({ lines }) => lines().length === 2), 'those to be told')
  await Promise.all(
    open.map(({ socket, closed }) => {
      socket.destroy()
      return closed
    }),
  )
  for (let served = false; !served; )
    served = await askForView(path).then(
      () => true,
      () => false,
    )
})

test('whatever bytes come in, in whatever pieces, the server goes on', async t => {
  const { path, lines } = await aServer(t)
  let seed = 7
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31
    return Math.floor((seed / 2 ** 31) * below)
  }
  const words = [
    '{"do":"view"}',
    '{"do":"watch","after":',
    '\n',
    '{',
    '"',
    '\\u0000',
    '\u0000',
    'é',
    '1e999',
    '}',
    '[[[[',
  ]
  for (let round = 0; round < 300; round++) {
    const client = await aClient(t, path)
    for (let piece = 0; piece <= random(5); piece++) {
      const text = Array.from({ length: random(8) }, () => words[random(words.length)]).join('')
      const bytes = Buffer.from(text)
      client.socket.write(bytes.subarray(random(3)))
    }
    if (random(2)) client.socket.destroy()
    else client.socket.end()
    await client.closed
  }
  assert.equal((await askForView(path)).agent?.version, '9.9')
  assert.deepEqual(lines, [])
})

test('an agent that does not answer, or answers with something else, is told apart from none', async t => {
  const path = join(await folder(t), 'control.sock')
  const server = createServer(socket => void socket.end('{"view":{"format":2}}\nhello\n'))
  server.listen(path)
  await once(server, 'listening')
  t.after(() => server.close())
  await assert.rejects(askForView(path), (error: ControlError) => error.kind === 'silent')
})

test('a client without the right to ask is told so', { skip: process.getuid?.() === 0 && 'root may ask' }, async t => {
  const dir = await folder(t)
  const closed = join(dir, 'closed')
  await mkdir(closed, { mode: 0 })
  await assert.rejects(
    askForView(join(closed, 'control.sock')),
    (error: ControlError) => error.kind === 'denied' && /run it as root/.test(error.message),
  )
})
