import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import test, { type TestContext } from 'node:test'
import { HttpContent, type HttpOptions } from '../../src/adapters/http/content.ts'
import { systemClock } from '../../src/adapters/system/clock.ts'
import { fetchFile } from '../../src/delivery/fetch.ts'
import { fetchSmall } from '../../src/delivery/fetch-small.ts'
import { ANYWHERE } from './anywhere.ts'
import { DIRECT, download, serve } from './network.ts'

const LIMIT = 400
const log = { debug() {}, info() {}, warn() {}, error() {} }
const never = new AbortController().signal

/** Busy for ever: `begin`, then `piece` every 5 ms. The answer never ends, and never is silent. */
async function dripping(t: TestContext, begin: string, piece: string): Promise<{ url: string; open: Set<Socket> }> {
  const open = new Set<Socket>()
  const server = createServer(socket => {
    open.add(socket)
    const timer = setInterval(() => socket.write(piece), 5)
    socket.once('data', () => socket.write(begin)).on('error', () => {})
    socket.on('close', () => {
      clearInterval(timer)
      open.delete(socket)
    })
  })
  t.after(() => {
    for (const socket of open) socket.destroy()
  })
  return { url: `http://127.0.0.1:${await serve(t, server)}/file`, open }
}

const contentWith = (options: Partial<HttpOptions> = {}) =>
  new HttpContent({ ca: undefined, stall: 60_000, ...DIRECT, hosts: ANYWHERE, ...options })

const DRIPS: readonly (readonly [string, string, string])[] = [
  ['trailers', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n', 'A: b\r\n'],
  ['a chunk extension', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;', 'x'],
  ['interim answers', '', 'HTTP/1.1 103 Early Hints\r\n\r\n'],
  ['a head', 'HTTP/1.1 200 OK\r\n', 'A: b\r\n'],
  ['what was not asked for', 'HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n', 'x'],
  ['the body of a redirect', 'HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 60000\r\n\r\n', 'x'],
  ['the body of a refusal', 'HTTP/1.1 404 No\r\nContent-Length: 60000\r\n\r\n', 'x'],
]

for (const [what, begin, piece] of DRIPS) {
  test(`a server that drips ${what} for ever does not outlive the limit`, async t => {
    const { url, open } = await dripping(t, begin, piece)
    const begun = performance.now()
    const file = { url, origin: 'twin', size: 1_000_000, from: 900_000 } as const
    const ports = { content: contentWith(), clock: systemClock, log }
    const read = async (): Promise<void> => {
      for await (const _ of fetchFile(ports, file, { rangeBytes: 4096, timeout: LIMIT }, never));
    }
    await assert.rejects(read(), { code: 'TIMED_OUT', message: /900000 of 1000000 bytes/ })
    const limits = { maxBytes: 1_000_000, timeout: LIMIT, attempts: 5 }
    await assert.rejects(fetchSmall(ports, url, limits, never), { code: 'TIMED_OUT' })
    assert.ok(performance.now() - begun < 10 * LIMIT, 'it took too long')
    await new Promise(resolve => setTimeout(resolve, 100))
    assert.equal(open.size, 0, 'a connection is still open')
  })
}

test('a proxy that drips its answer does not outlive the limit', async t => {
  const { url, open } = await dripping(t, 'HTTP/1.1 200 OK\r\n', 'A')
  const content = contentWith({ httpsProxy: url })
  const limits = { maxBytes: 1000, timeout: LIMIT, attempts: 5 }
  const begun = performance.now()
  const small = fetchSmall({ content, clock: systemClock, log }, 'https://files.example/x', limits, never)
  await assert.rejects(small, { code: 'TIMED_OUT' })
  assert.ok(performance.now() - begun < 10 * LIMIT)
  await new Promise(resolve => setTimeout(resolve, 100))
  assert.equal(open.size, 0)
})

test('trailers end somewhere, with no limit of time', async t => {
  const begin = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n'
  const { url } = await dripping(t, begin, 'A: b\r\n'.repeat(500))
  assert.match((await download(url)).message, /trailers without an end/)
})
