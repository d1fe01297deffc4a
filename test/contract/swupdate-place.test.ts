import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ControlSocket } from '../../src/adapters/swupdate/control-socket.ts'
import { providerOptions } from '../../src/adapters/swupdate/provider.ts'
import { fileAt, SocketPlace } from '../../src/adapters/swupdate/socket-place.ts'

const dir = await mkdtemp(join(tmpdir(), 'place-'))
after(() => rm(dir, { recursive: true }))
const creates = (folder: string): string =>
  `[TRACE] : SWUPDATE running :  [listener_create] : creating socket at ${folder}/sockinstctrl`

/** A shared folder with a socket that an earlier SWUpdate left. */
async function sharedFolder(name: string): Promise<string> {
  const shared = join(dir, name)
  await mkdir(shared)
  await writeFile(join(shared, 'sockinstctrl'), '')
  return shared
}

test('the socket is in the private folder, or where SWUpdate says, if the agent knows that folder', async () => {
  const shared = await sharedFolder('shared')
  const place = await SocketPlace.for(dir, shared)
  assert.equal(place.path, join(dir, 'sockinstctrl'))
  // Debian 12 and 13; a folder that nobody knows; another socket.
  for (const line of [creates('.'), creates('/elsewhere'), creates(shared).replace('sockinstctrl', 'swupdateprog')]) {
    place.read(line)
    assert.equal(place.path, join(dir, 'sockinstctrl'))
  }
  place.read(creates(shared))
  assert.equal(place.path, join(shared, 'sockinstctrl'))
  // Others could open the socket otherwise.
  while (((await stat(shared)).mode & 0o777) !== 0o700) await sleep(5)
})

test('a folder whose name is too long for a socket is named from here', async () => {
  const long = join(dir, 'x'.repeat(100))
  const { path } = await SocketPlace.for(long, join(dir, 'none'))
  assert.ok(!path.startsWith('/'), path)
})

test('the socket of an earlier SWUpdate or of another program is not connected to', async t => {
  const shared = await sharedFolder('stale')
  const path = join(shared, 'sockinstctrl')
  await rm(path)
  let connections = 0
  const older = createServer(connection => {
    connections += 1
    connection.destroy()
  })
  t.after(() => older.close())
  await new Promise<void>(resolve => older.listen(path, resolve))
  const place = await SocketPlace.for(dir, shared)
  place.read(creates(shared))
  const failed = { code: 'SWUPDATE_FAILED', message: `swupdate has not replaced the older socket ${path}` }
  await assert.rejects(new ControlSocket(place, AbortSignal.abort()).install(), failed)
  assert.equal(connections, 0)
})

test('a socket with the inode of the one before is another one', async () => {
  const path = join(await sharedFolder('again'), 'sockinstctrl')
  const before = await fileAt(path)
  assert.equal(await fileAt(path), before)
  // As ext4 does it for a file that follows a removed one.
  await utimes(path, 1, 1)
  assert.notEqual(await fileAt(path), before)
})

test('a socket that another SWUpdate replaces is no longer believed', async t => {
  const shared = await sharedFolder('replaced')
  const path = join(shared, 'sockinstctrl')
  await rm(path)
  const servers: Server[] = []
  t.after(() => servers.forEach(server => void server.close()))
  /** Answers every request: accepted, or the status `last`. */
  const listen = async (last: number): Promise<void> => {
    const server = createServer(connection => {
      connection.on('error', () => {})
      connection.once('data', () => {
        const answer = Buffer.alloc(3120)
        for (const [at, value] of [0x14052001, 1, 2, last].entries()) answer.writeInt32LE(value, at * 4)
        connection.write(answer)
      })
    })
    servers.push(server)
    await new Promise<void>(resolve => server.listen(join(shared, `own-${servers.length}`), resolve))
    await rename(join(shared, `own-${servers.length}`), path)
  }
  const place = await SocketPlace.for(dir, shared)
  place.read(creates(shared))
  await listen(0)
  const control = new ControlSocket(place, new AbortController().signal)
  const stream = await control.install()
  await listen(3)
  await assert.rejects(control.installed(stream.ended), { message: /: another SWUpdate has taken its socket$/ })
  await stream.close()
})

test('a program with several providers is told to verify CMS with OpenSSL; others have no such option', async () => {
  const rows: readonly (readonly [string, readonly string[]])[] = [
    ['digest-provider\0opensslRSA\0opensslCMS\0', ['--digest-provider', 'opensslCMS']],
    ['digest-provider\0wolfsslCMS\0', []],
    ['opensslCMS_of_a_log_line digest-provider\0', []],
    ['#!/bin/sh\nexec swupdate "$@"\n', []],
  ]
  const file = join(dir, 'program')
  for (const [content, options] of rows) {
    await writeFile(file, content)
    assert.deepEqual(await providerOptions(file), options)
  }
  assert.deepEqual(await providerOptions(join(dir, 'none')), [])
})
