import assert from 'node:assert/strict'
import dns from 'node:dns'
import { createServer as createTlsServer } from 'node:https'
import { createServer as createTcpServer } from 'node:net'
import test from 'node:test'
import { HttpContent } from '../../src/adapters/http/content.ts'
import { FEW } from '../../src/delivery/fetch.ts'
import { ANYWHERE } from './anywhere.ts'
import { certificates, download, file, good, HOUR, serve, site } from './network.ts'

for (const status of [400, 401, 403, 404, 410, 416, 451]) {
  test(`${status}: final at once, and named`, async t => {
    const it = await site(t, (_, response) => response.writeHead(status).end('no'))
    const end = await download(it.url)
    assert.deepEqual([end.code, it.requests], ['DOWNLOAD_FAILED', 1])
    assert.match(end.message, new RegExp(`127.0.0.1:\\d+ answered ${status}`))
  })
}

for (const status of [408, 429, 500, 502, 503, 504]) {
  test(`${status}: tried again, ever more slowly, and recovered from`, async t => {
    let left = 3
    const it = await site(t, (request, response) =>
      left-- > 0 ? response.writeHead(status).end() : good(request, response),
    )
    const end = await download(it.url)
    assert.deepEqual([end.whole, end.pauses], [true, 3])
  })
}

test('503 for ever: ends at the time limit, with the reason, after few requests', async t => {
  const it = await site(t, (_, response) => response.writeHead(503).end())
  const end = await download(it.url)
  assert.equal(end.code, 'TIMED_OUT')
  assert.match(end.message, /60 minutes.*answered 503 Service Unavailable/)
  assert.ok(it.requests < 30, `${it.requests} requests in an hour are a storm`)
})

for (const [form, value] of [
  ['seconds', () => '600'],
  ['a date', () => new Date(Date.now() + 600_000).toUTCString()],
] as const) {
  test(`429 with Retry-After as ${form}: waits as long as the server asks`, async t => {
    let first = true
    const it = await site(t, (request, response) => {
      if (!first) return good(request, response)
      first = false
      response.writeHead(429, { 'Retry-After': value() }).end()
    })
    const end = await download(it.url)
    assert.ok(end.whole && end.ms > 590_000, `${end.ms} ms`)
  })
}

test('Retry-After of a year is not taken at its word', async t => {
  let first = true
  const it = await site(t, (request, response) => {
    if (!first) return good(request, response)
    first = false
    response.writeHead(503, { 'Retry-After': '31536000' }).end()
  })
  assert.equal((await download(it.url)).ms <= HOUR, true)
})

test('a web page instead of the file: a few tries, then final, with what may be the matter', async t => {
  const it = await site(t, (_, response) =>
    response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end('<h1>Welcome</h1>'),
  )
  const end = await download(it.url)
  assert.deepEqual([end.code, it.requests], ['DOWNLOAD_FAILED', FEW])
  assert.match(end.message, /web page instead of the file/)
})

test('a captive portal that lets us through in the end', async t => {
  let behind = 4
  const portal = await site(t, (_, response) => response.writeHead(200, { 'Content-Type': 'text/html' }).end('<form>'))
  const it = await site(t, (request, response) => {
    if (behind-- > 0) response.writeHead(302, { Location: portal.url }).end()
    else good(request, response)
  })
  const end = await download(it.url)
  assert.deepEqual([end.whole, portal.requests], [true, 4])
})

test('the detour of a redirect is taken once, not for every range', async t => {
  const place = await site(t, good)
  const it = await site(t, (_, response) => response.writeHead(302, { Location: place.url }).end())
  assert.equal((await download(it.url)).whole, true)
  assert.deepEqual([it.requests, place.requests], [1, 5])
})

test('where a redirect led to is good for a while only: the way there is asked again', async t => {
  let asked = 0
  const place = await site(t, (request, response) =>
    ++asked % 3 === 0 ? response.writeHead(403).end('expired') : good(request, response),
  )
  const it = await site(t, (_, response) => response.writeHead(302, { Location: place.url }).end())
  const end = await download(it.url)
  assert.deepEqual([end.whole, end.pauses], [true, 0])
  assert.ok(it.requests > 1)
})

test('where a redirect leads to refuses every time: final', async t => {
  const place = await site(t, (_, response) => response.writeHead(403).end())
  const it = await site(t, (_, response) => response.writeHead(302, { Location: place.url }).end())
  const end = await download(it.url)
  assert.deepEqual([end.code, it.requests, place.requests], ['DOWNLOAD_FAILED', 1, 1])
})

test('a head that comes byte by byte is no answer', async t => {
  const port = await serve(
    t,
    createTcpServer(socket => {
      const head = [...`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(10_000)}`]
      const timer = setInterval(() => socket.write(head.shift() ?? 'x'), 10)
      socket.on('close', () => clearInterval(timer)).on('error', () => {})
    }),
  )
  const end = await download(`http://127.0.0.1:${port}/file`, { stall: 200 })
  assert.equal(end.code, 'TIMED_OUT')
  assert.match(end.message, /no answer within 0\.2 s/)
})

test('a file whose answer has come but is not read, and another of the same server: each has its own connection', async t => {
  const connections = new Set<unknown>()
  const it = await site(t, (request, response) => {
    connections.add(request.socket)
    good(request, response)
  })
  const content = new HttpContent({
    ca: '',
    stall: 5_000,
    httpProxy: undefined,
    httpsProxy: undefined,
    noProxy: [],
    hosts: ANYWHERE,
  })
  const stop = new AbortController()
  const range = { origin: 'twin', first: 0, last: 99_999 } as const
  const one = await content.get(it.url, range, stop.signal)
  // All of it has come, and waits.
  await new Promise(resolve => setTimeout(resolve, 100))
  const two = await content.get(`${it.url}2`, range, stop.signal)
  for (const { body } of [two, one]) {
    const pieces: Buffer[] = []
    for await (const piece of body) pieces.push(Buffer.from(piece))
    assert.ok(Buffer.concat(pieces).equals(file.subarray(0, 100_000)))
  }
  stop.abort()
  assert.equal(connections.size, 2)
})

test('a name that is not there', async () => {
  const end = await download('http://no-such-host.invalid/file')
  assert.equal(end.code, 'TIMED_OUT')
  assert.match(end.message, /no-such-host\.invalid: getaddrinfo/)
  assert.ok(end.pauses < 30)
})

test('nobody listens', async t => {
  const server = createTcpServer()
  const port = await serve(t, server)
  await new Promise(resolve => server.close(resolve))
  const end = await download(`http://127.0.0.1:${port}/file`)
  assert.equal(end.code, 'TIMED_OUT')
  assert.match(end.message, /ECONNREFUSED/)
})

test('a certificate of an authority that nobody knows: a few tries, then final', async t => {
  const port = await serve(t, createTlsServer(certificates, good))
  const end = await download(`https://localhost:${port}/file`, { ca: '' })
  assert.equal(end.code, 'DOWNLOAD_FAILED')
  assert.match(end.message, /localhost:\d+: its certificate is not accepted: self-signed/)
  assert.equal(end.pauses, FEW - 1)
})

test('a certificate for another name', async t => {
  const port = await serve(t, createTlsServer(certificates, good))
  t.mock.method(
    dns,
    'lookup',
    (_name: string, _options: object, done: (error: null, all: dns.LookupAddress[]) => void) =>
      done(null, [{ address: '127.0.0.1', family: 4 }]),
  )
  const end = await download(`https://another-name.test:${port}/file`)
  assert.equal(end.code, 'DOWNLOAD_FAILED')
  assert.match(end.message, /its certificate is not accepted: the certificate is for other names/)
})

test('a server that speaks no TLS where TLS is expected', async t => {
  const it = await site(t, good)
  const end = await download(it.url.replace('http:', 'https:'))
  assert.equal(end.code, 'TIMED_OUT')
  assert.match(end.message, /last: 127\.0\.0\.1:\d+: .*(wrong version|packet length|SSL)/i)
})

test('a server that is silent: given up after the stall time, each time', async t => {
  const sockets = new Set<{ destroy(): void }>()
  const port = await serve(
    t,
    createTcpServer(socket => void sockets.add(socket)),
  )
  t.after(() => {
    for (const socket of sockets) socket.destroy()
  })
  const end = await download(`http://127.0.0.1:${port}/file`, { stall: 40 })
  assert.equal(end.code, 'TIMED_OUT')
  assert.match(end.message, /no answer within 0\.04 s/)
})

test('a connection that is cut again and again: as many times as it takes', async t => {
  let cuts = 0
  const it = await site(t, (request, response) => {
    const [, first] = /bytes=(\d+)/.exec(request.headers.range ?? '')!.map(Number) as [number, number]
    if (cuts++ % 2 === 1) return good(request, response)
    const rest = {
      'Content-Range': `bytes ${first}-${file.length - 1}/${file.length}`,
      'Content-Length': file.length - first,
    }
    response.writeHead(206, { ...rest, ETag: '"1"' })
    response.write(file.subarray(first, first + 5_000), () => setTimeout(() => response.destroy(), 5))
  })
  const end = await download(it.url, { rangeBytes: 300_000 })
  assert.equal(end.whole, true)
})

test('a server that closes after every answer, and one that forgets to say so', async t => {
  for (const headers of [{ Connection: 'close' }, {}]) {
    const it = await site(t, (request, response) => {
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
      response.once('finish', () => setTimeout(() => response.socket?.destroy(), 1))
      good(request, response)
    })
    const end = await download(it.url)
    assert.equal(end.whole, true)
    assert.ok(it.requests <= 12, `${it.requests} requests for 5 ranges`)
  }
})

test('IPv6 that leads nowhere: the other address is tried soon', async t => {
  const it = await site(t, good)
  t.mock.method(
    dns,
    'lookup',
    (_name: string, _options: object, done: (error: null, all: dns.LookupAddress[]) => void) =>
      // Of the prefix that discards (RFC 6666).
      done(null, [
        { address: '100::1', family: 6 },
        { address: '127.0.0.1', family: 4 },
      ]),
  )
  const begun = performance.now()
  const end = await download(it.url.replace('127.0.0.1', 'two-addresses.test'))
  assert.deepEqual([end.whole, end.pauses], [true, 0])
  assert.ok(performance.now() - begun < 4_000)
})
