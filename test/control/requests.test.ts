import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { type Command, readRequest } from '../../src/control/protocol.ts'
import { aClient, aServer, until } from './support.ts'

type Server = Awaited<ReturnType<typeof aServer>>

/** Sends one request on a connection of its own and gives the answer. */
async function ask(t: TestContext, { path }: Server, request: object): Promise<unknown> {
  const client = await aClient(t, path)
  client.socket.write(`${JSON.stringify(request)}\n`)
  await until(() => client.lines().length === 1, 'the answer')
  client.socket.destroy()
  return client.lines()[0]
}

/** The view of a device on which an update is running. */
const update = {
  ...{ workflowId: 'W1', action: 3, origin: 'deviceUpdate', version: '2', installs: 0, reboots: 0 },
  ...{ updateId: { provider: 'contoso', name: 'toaster', version: '2' }, installedTo: null, milestones: [] },
}
const underWay = (server: Server, ended = false) =>
  server.publisher.change(view => ({ ...view, deployment: { ...update, ended } }))

test('consent is the consent file, for the update that waits', async t => {
  const server = await aServer(t)
  const file = join(server.dir, 'consent')
  assert.deepEqual(await ask(t, server, { do: 'consent' }), { error: 'no update is waiting for consent' })
  underWay(server, true)
  assert.deepEqual(await ask(t, server, { do: 'consent' }), { error: 'no update is waiting for consent' })
  assert.equal(existsSync(file), false)
  underWay(server)
  assert.deepEqual(await ask(t, server, { do: 'consent' }), { done: 'consented to the update toaster 2' })
  assert.equal((await server.conditions.read()).locks.length, 0)
  assert.equal(existsSync(file), true)
  assert.equal(server.woken, 1)
  // Once more changes nothing.
  assert.deepEqual(await ask(t, server, { do: 'consent' }), { done: 'consented to the update toaster 2' })
})

test('consent follows no link, and says so where nobody is asked', async t => {
  const server = await aServer(t)
  underWay(server)
  await symlink(join(server.dir, 'elsewhere'), join(server.dir, 'consent'))
  await ask(t, server, { do: 'consent' })
  assert.equal(existsSync(join(server.dir, 'elsewhere')), false)
  const other = await aServer(t, { asksNobody: true })
  underWay(other)
  const error = 'this device asks nobody for consent (piAdu.gates.consentFor is not set)'
  assert.deepEqual(await ask(t, other, { do: 'consent' }), { error })
})

const locksOf = async ({ conditions }: Server) => (await conditions.read()).locks

test('a lock ends with its connection', async t => {
  const server = await aServer(t)
  const client = await aClient(t, server.path)
  client.socket.write('{"do":"lock","name":"till","seconds":60,"why":"a customer\\u0007 pays","gates":["reboot"]}\n')
  await until(() => client.lines().length === 1, 'the answer')
  const done = 'locked by till: reboot; for 60 s, as long as this connection lasts'
  assert.deepEqual(client.lines(), [{ done }])
  const lock = { name: 'till', gates: ['reboot'], until: undefined, why: 'a customer\\u0007 pays' }
  assert.deepEqual(await locksOf(server), [lock])
  assert.equal(existsSync(join(server.dir, 'locks')), false, 'it is in memory only')
  client.socket.destroy()
  await until(() => server.gates.held.length === 0, 'the end of the lock')
  assert.equal(server.woken, 2)
})

test('a lock ends after its seconds', async t => {
  const server = await aServer(t)
  const client = await aClient(t, server.path)
  client.socket.write('{"do":"lock","name":"till","seconds":1}\n')
  await until(() => server.gates.held.length === 1, 'the lock')
  await until(() => server.gates.held.length === 0, 'its end')
  assert.equal(client.over, false)
})

test('a lock that another connection has taken over does not end with the first', async t => {
  const server = await aServer(t)
  const first = await aClient(t, server.path)
  first.socket.write('{"do":"lock","name":"till","seconds":60}\n')
  await until(() => first.lines().length === 1, 'the first')
  const second = await aClient(t, server.path)
  second.socket.write('{"do":"lock","name":"till","seconds":60,"why":"mine"}\n')
  await until(() => second.lines().length === 1, 'the second')
  first.socket.destroy()
  await until(() => server.woken === 3, 'the end of the first connection')
  assert.deepEqual(
    (await locksOf(server)).map(({ why }) => why),
    ['mine'],
  )
})

test('a lock that stays is a file of the lock folder, with its end; anyone unlocks it', async t => {
  const server = await aServer(t)
  await writeFile(join(server.dir, 'synchronized'), '')
  const before = Date.now()
  const done = 'locked by till: download, install, reboot; for 7200 s'
  assert.deepEqual(await ask(t, server, { do: 'lock', name: 'till', seconds: 7200, stay: true }), { done })
  const [lock, ...rest] = await locksOf(server)
  assert.deepEqual(rest, [])
  assert.equal(lock?.name, 'till')
  assert.ok((lock?.until ?? 0) >= before + 7200_000 && (lock?.until ?? 0) < before + 7300_000)
  assert.deepEqual(await readdir(join(server.dir, 'locks')), ['till'])
  assert.deepEqual(await ask(t, server, { do: 'unlock', name: 'till' }), { done: 'the lock till is removed' })
  assert.deepEqual(await locksOf(server), [])
  assert.deepEqual(await ask(t, server, { do: 'unlock', name: 'till' }), { error: 'there is no lock of the name till' })
})

test('a lock that should stay is held in memory while the clock is not synchronised', async t => {
  const server = await aServer(t)
  const answer = await ask(t, server, { do: 'lock', name: 'till', seconds: 7200, stay: true })
  assert.match((answer as { done: string }).done, /not beyond a restart of the agent, because the clock is not synch/)
  assert.equal(existsSync(join(server.dir, 'locks')), false)
  assert.deepEqual(
    (await locksOf(server)).map(({ name, until: end }) => [name, end]),
    [['till', undefined]],
  )
})

test('a lock replaces a link of its name, and what it points to stays', async t => {
  const server = await aServer(t)
  await writeFile(join(server.dir, 'synchronized'), '')
  await mkdir(join(server.dir, 'locks'))
  await writeFile(join(server.dir, 'precious'), 'kept')
  await symlink(join(server.dir, 'precious'), join(server.dir, 'locks', 'till'))
  await ask(t, server, { do: 'lock', name: 'till', seconds: 60, stay: true })
  assert.equal(await readFile(join(server.dir, 'precious'), 'utf8'), 'kept')
})

test('a folder that cannot be written is one sentence', async t => {
  const server = await aServer(t)
  await writeFile(join(server.dir, 'synchronized'), '')
  await writeFile(join(server.dir, 'locks'), 'a file')
  const answer = await ask(t, server, { do: 'lock', name: 'till', seconds: 60, stay: true })
  assert.match((answer as { error: string }).error, /^the lock till cannot be written into .+: .*EEXIST/)
  assert.deepEqual(await ask(t, server, { do: 'unlock', name: 'x' }), { error: 'there is no lock of the name x' })
})

test('one connection takes at most a hundred locks, and so do all together', async t => {
  const server = await aServer(t)
  const gone = new AbortController()
  for (let i = 0; i < 100; i++) {
    await server.requests.answer({ do: 'lock', name: `l${i}`, seconds: 9, gates: ['reboot'], stay: false }, gone.signal)
  }
  const more: Command = { do: 'lock', name: 'more', seconds: 9, gates: ['reboot'], stay: false }
  assert.match(JSON.stringify(await server.requests.answer(more, gone.signal)), /at most 100 locks/)
  const other = new AbortController().signal
  assert.match(JSON.stringify(await server.requests.answer(more, other)), /there are 100 locks already/)
  gone.abort()
  assert.deepEqual(server.gates.held, [])
  assert.match(JSON.stringify(await server.requests.answer(more, other)), /^\{"done"/)
})

test('identify is in the view until its time is over', async t => {
  const server = await aServer(t)
  const done = 'the lights show for 1 s which device this is'
  assert.deepEqual(await ask(t, server, { do: 'identify', seconds: 1 }), { done })
  assert.equal(typeof server.publisher.view.identifyUntil, 'number')
  await until(() => server.publisher.view.identifyUntil === null, 'its end')
})

test('whoever watches is told of each command and its answer', async t => {
  const server = await aServer(t)
  await ask(t, server, { do: 'unlock', name: 'till' })
  const [event] = server.publisher.recent(0)
  const told = { event: 'asked', what: 'unlock', isDone: false, answer: 'there is no lock of the name till' }
  assert.deepEqual({ ...event, ...told }, event)
})

const BAD: readonly (readonly [string, RegExp])[] = [
  ['{"do":"sudo"}', /^unknown request; "do" is one of view, watch, consent, lock/],
  ['{"do":"lock"}', /^a lock needs "name" and "seconds"$/],
  ['{"do":"lock","name":"../etc","seconds":1}', /^the name of a lock has at most 64/],
  ['{"do":"lock","name":".x","seconds":1}', /^the name of a lock/],
  ['{"do":"lock","name":"a/b","seconds":1}', /^the name of a lock/],
  ['{"do":"lock","name":"x\\n","seconds":1}', /^the name of a lock/],
  [`{"do":"lock","name":"${'x'.repeat(65)}","seconds":1}`, /^the name of a lock/],
  ['{"do":"lock","name":"x"}', /^a lock needs "name" and "seconds"$/],
  ['{"do":"lock","name":"x","seconds":0}', /^"seconds" is/],
  ['{"do":"lock","name":"x","seconds":1e9}', /^"seconds" is a whole number from 1 to 604800$/],
  ['{"do":"lock","name":"x","seconds":1,"gates":[]}', /^"gates" has at least one/],
  ['{"do":"lock","name":"x","seconds":1,"gates":["lunch"]}', /^"gates" has some of download, install, reboot$/],
  ['{"do":"lock","name":"x","seconds":1,"stay":"yes"}', /^"stay" is true or false$/],
  [`{"do":"lock","name":"x","seconds":1,"why":"${'x'.repeat(201)}"}`, /^"why" has at most 200/],
  ['{"do":"unlock","name":7}', /^"name" is a text$/],
  ['{"do":"unlock"}', /^unlock needs "name"$/],
  ['{"do":"identify","seconds":-1}', /^"seconds" is a whole number from 1 to 3600$/],
]
for (const [line, why] of BAD) {
  test(`refused: ${line.slice(0, 60)}`, () => assert.match(String(readRequest(line)), why))
}

test('a client that orders without reading the answers is refused, and the others are served', async t => {
  const server = await aServer(t)
  const flood = await aClient(t, server.path)
  flood.socket.write('{"do":"unlock","name":"x"}\n'.repeat(10_000))
  await flood.closed
  const last = flood.lines().at(-1)
  assert.deepEqual(last, { error: 'too many commands at once: wait for the answers' })
  assert.ok(flood.lines().length < 50)
  assert.deepEqual(await ask(t, server, { do: 'unlock', name: 'x' }), { error: 'there is no lock of the name x' })
})

test('an install is what the engine says of it, with the code of a refusal', async t => {
  const asked: string[] = []
  const install = async (target: string) => {
    asked.push(target)
    if (target === '/stick') return { is: 'begun', workflowId: 'local-1' } as const
    return { is: 'refused', why: 'it is not there', code: '32100611' } as const
  }
  const server = await aServer(t, { engine: { install } })
  assert.deepEqual(await ask(t, server, { do: 'install', target: '/stick' }), {
    done: 'the local update local-1 begins',
    workflowId: 'local-1',
  })
  assert.deepEqual(await ask(t, server, { do: 'install', target: '/x' }), { error: 'it is not there (32100611)' })
  assert.deepEqual(asked, ['/stick', '/x'])
})
