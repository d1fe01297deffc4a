import assert from 'node:assert/strict'
import dns from 'node:dns'
import { createServer as createTlsServer } from 'node:https'
import { createServer as createTcpServer } from 'node:net'
import test, { type TestContext } from 'node:test'
import { HttpContent } from '../../src/adapters/http/content.ts'
import { Hosts, isHostEntry, isPublic } from '../../src/domain/hosts.ts'
import { certificates, DIRECT, download, FEW_PAUSES, good, serve, site } from './network.ts'

const SETTING = 'piAdu.content.allowedHosts'
const policy = (...entries: string[]) => {
  const hosts = new Hosts(SETTING, entries)
  return { twin: hosts, method: hosts }
}

function resolving(t: TestContext, names: Readonly<Record<string, readonly string[]>>): void {
  const lookup = (name: string, _options: object, done: (error: Error | null, all: dns.LookupAddress[]) => void) => {
    const all = names[name]?.map(address => ({ address, family: address.includes(':') ? 6 : 4 }))
    process.nextTick(() => (all ? done(null, all) : done(new Error(`getaddrinfo ENOTFOUND ${name}`), [])))
  }
  t.mock.method(dns, 'lookup', lookup as unknown as typeof dns.lookup)
}

test('which addresses are public', () => {
  for (const address of ['8.8.8.8', '172.32.0.1', '192.169.0.1', '100.128.0.1', '2606:4700::1', '64:ff9b::808:808']) {
    assert.equal(isPublic(address), true, address)
  }
  for (const address of [
    ...['0.0.0.0', '10.0.0.1', '100.64.0.1', '127.0.0.1', '127.255.0.1', '169.254.169.254', '172.16.0.1', '172.31.9.9'],
    ...['192.168.1.1', '198.18.0.1', '224.0.0.1', '255.255.255.255', '::', '::1', '::7f00:1', 'fe80::1', 'fec0::1'],
    ...[
      'fd00::1',
      'ff02::1',
      '::ffff:10.0.0.1',
      '::ffff:7f00:1',
      '64:ff9b::a00:1',
      '2002:a00:1::',
      '64:ff9b:1::1',
      'x',
    ],
  ]) {
    assert.equal(isPublic(address), false, address)
  }
})

type Row = readonly [entries: readonly string[], host: string, port: number, address: string, allowed: boolean]
const ROWS: readonly Row[] = [
  [['*'], 'a.example', 443, '8.8.8.8', true],
  [['*'], 'a.example', 443, '10.0.0.1', false],
  [['*'], 'a.example', 443, '::1', false],
  [['*'], '8.8.8.8', 443, '8.8.8.8', true],
  [['*'], '10.0.0.1', 443, '10.0.0.1', false],
  [[], 'a.example', 443, '8.8.8.8', false],
  [['a.example'], 'a.example', 443, '10.0.0.1', true],
  [['a.example'], 'b.example', 443, '8.8.8.8', false],
  [['a.example:8443'], 'a.example', 8443, '10.0.0.1', true],
  [['a.example:8443'], 'a.example', 443, '10.0.0.1', false],
  [['*.example'], 'a.b.example', 443, '10.0.0.1', true],
  [['*.example'], 'example', 443, '8.8.8.8', false],
  [['*.example'], 'badexample', 443, '8.8.8.8', false],
  [['10.0.0.1'], '10.0.0.1', 443, '10.0.0.1', true],
  [['10.0.0.1'], '10.0.0.2', 443, '10.0.0.2', false],
  [['10.0.0.0/8'], '10.9.9.9', 443, '10.9.9.9', true],
  [['10.0.0.0/8'], 'a.example', 443, '10.9.9.9', true],
  [['10.0.0.0/8'], 'a.example', 443, '8.8.8.8', false],
  [['10.0.0.0/8'], 'a.example', 443, '192.168.0.1', false],
  [['*', '10.0.0.0/8'], 'a.example', 443, '8.8.8.8', true],
  [['*', '10.0.0.0/8'], 'a.example', 443, '10.1.1.1', true],
  [['*', '10.0.0.0/8'], 'a.example', 443, '::ffff:192.168.0.1', false],
  [['[::1]'], '::1', 443, '::1', true],
  [['[::1]:80'], '::1', 443, '::1', false],
  [['::1'], '::1', 443, '::1', true],
  [['fd00::/8'], 'fd12::1', 443, 'fd12::1', true],
]
for (const [entries, hostname, port, address, allowed] of ROWS) {
  test(`[${entries}] ${allowed ? 'allows' : 'refuses'} ${hostname}:${port} at ${address}`, () => {
    assert.ok(entries.every(isHostEntry))
    const hosts = new Hosts(SETTING, entries)
    const place = { hostname, port }
    assert.equal(hosts.refusal(place, true) === undefined && hosts.allowsAddress(address, place), allowed)
  })
}

test('what an entry cannot be', () => {
  for (const text of [
    ...[
      '',
      'A.example',
      'https://a.example',
      'a.example/x',
      '*a.example',
      'a.*',
      '*.10.0.0.1',
      'a.example:0',
      'a:99999',
    ],
    ...['10.0.0.0/33', '::/129', '10.0.0/8', '[::1', '[x]', 'a..b', '.a', 'a b', '*:80', '**'],
  ]) {
    assert.equal(isHostEntry(text), false, text)
  }
})

for (const host of [
  '127.0.0.1',
  'localhost',
  '[::ffff:127.0.0.1]',
  '2130706433',
  '0x7f.1',
  '0.0.0.0',
  'rebound.test',
]) {
  test(`an unsigned URL does not reach this device itself: ${host}`, async t => {
    const it = await site(t, good)
    resolving(t, { localhost: ['127.0.0.1'], 'rebound.test': ['127.0.0.1', '10.0.0.1'] })
    const end = await download(it.url.replace('127.0.0.1', host), { hosts: policy('*') })
    assert.deepEqual([end.code, it.requests], ['HOST_NOT_ALLOWED', 0])
    assert.match(
      end.message,
      /at an address in a private network; to allow it, add "[^"]+" to piAdu\.content\.allowedHosts/,
    )
    // A name may lead to the sign-in page of a network for a while.
    assert.equal(end.pauses, host === 'rebound.test' ? FEW_PAUSES : 0)
  })
}

test('a host that the setting does not name is refused at once, with what to add', async t => {
  const it = await site(t, good)
  const end = await download(it.url.replace('127.0.0.1', 'localhost'), { hosts: policy('files.example.com') })
  assert.deepEqual([end.code, it.requests, end.pauses], ['HOST_NOT_ALLOWED', 0, 0])
  assert.match(end.message, /localhost:\d+ is not in piAdu\.content\.allowedHosts; to allow it, add "localhost" to/)
})

test('of several addresses only an allowed one is connected to', async t => {
  const it = await site(t, good)
  resolving(t, { 'two.test': ['10.255.255.1', '127.0.0.1'] })
  const begun = performance.now()
  const end = await download(it.url.replace('127.0.0.1', 'two.test'), { hosts: policy('127.0.0.0/8') })
  assert.deepEqual([end.whole, end.pauses], [true, 0])
  assert.ok(performance.now() - begun < 5_000)
})

for (const origin of ['twin', 'method'] as const) {
  test(`a redirect leaves the allowed hosts: refused, and only the log names where to (${origin})`, async t => {
    const inner = await site(t, good)
    const it = await site(t, (_, response) => response.writeHead(302, { Location: inner.url }).end())
    resolving(t, { 'files.test': ['127.0.0.1'] })
    const options = { hosts: policy('*', 'files.test'), origin }
    const end = await download(it.url.replace('127.0.0.1', 'files.test'), options)
    assert.deepEqual([end.code, inner.requests, end.pauses], ['HOST_NOT_ALLOWED', 0, FEW_PAUSES])
    assert.match(
      end.message,
      /^files\.test:\d+ redirects to an address in a private network; this device's log names it$/,
    )

    const other = await download(it.url.replace('127.0.0.1', 'files.test'), { ...options, hosts: policy('files.test') })
    assert.deepEqual([other.code, inner.requests], ['HOST_NOT_ALLOWED', 0])
    assert.match(other.message, /redirects to a host that is not in piAdu\.content\.allowedHosts/)

    const logged: unknown[] = []
    const warn = (event: string, fields?: object): void => void logged.push([event, fields])
    const content = new HttpContent(
      { ca: undefined, stall: 1000, ...DIRECT, hosts: policy('*', 'files.test') },
      { warn },
    )
    const { signal } = new AbortController()
    const range = { origin, first: 0, last: 9 } as const
    await assert.rejects(content.get(it.url.replace('127.0.0.1', 'files.test'), range, signal))
    assert.match(JSON.stringify(logged), /content\.host-refused.*"host":"127\.0\.0\.1:\d+"/)
  })
}

test('each origin has its own hosts, on a connection of its own', async t => {
  const it = await site(t, good)
  const hosts = {
    twin: new Hosts(SETTING, ['127.0.0.1']),
    method: new Hosts('piAdu.firmwareUpdate.allowedHosts', ['*']),
  }
  const content = new HttpContent({ ca: undefined, stall: 1000, ...DIRECT, hosts })
  const stop = new AbortController()
  const part = await content.get(it.url, { origin: 'twin', first: 0, last: 9 }, stop.signal)
  for await (const _ of part.body);
  await assert.rejects(content.get(it.url, { origin: 'method', first: 0, last: 9 }, stop.signal), {
    code: 'HOST_NOT_ALLOWED',
    message: /piAdu\.firmwareUpdate\.allowedHosts/,
  })
  stop.abort()
})

test('through a proxy, which resolves, names and addresses in URLs are checked all the same', async t => {
  let asked = 0
  const proxy = await site(t, (_, response) => {
    asked += 1
    response.writeHead(404).end()
  })
  const through = { httpProxy: proxy.url, httpsProxy: proxy.url, noProxy: [] }
  for (const url of ['http://10.0.0.1/x', 'http://localhost/x', 'http://[::1]/x', 'https://a.localhost/x']) {
    const end = await download(url, { ...through, hosts: policy('*') })
    assert.deepEqual([end.code, asked], ['HOST_NOT_ALLOWED', 0], url)
  }
  const ranges = await download('http://a.example/x', { ...through, hosts: policy('10.0.0.0/8') })
  assert.deepEqual([ranges.code, asked], ['HOST_NOT_ALLOWED', 0])
  const end = await download('http://a.example/x', { ...through, hosts: policy('*') })
  assert.deepEqual([end.message, asked], ['a.example answered 404 Not Found', 1])
})

const SECRET = 'canary'

/** Everything that an answer can carry text in. */
const TALKATIVE: readonly (readonly [string, string])[] = [
  ['a banner', `SSH-2.0-${SECRET}\r\n\r\n`],
  ['a reason phrase', `HTTP/1.1 404 ${SECRET}\r\nContent-Length: 0\r\n\r\n`],
  ['a body', `HTTP/1.1 403 No\r\nContent-Length: 6\r\n\r\n${SECRET}`],
  ['an encoding', `HTTP/1.1 200 OK\r\nContent-Encoding: ${SECRET}, gzip\r\nContent-Length: 1\r\n\r\nx`],
  ['a length', `HTTP/1.1 200 OK\r\nContent-Length: ${SECRET}\r\n\r\n`],
  ['a transfer encoding', `HTTP/1.1 200 OK\r\nTransfer-Encoding: ${SECRET}\r\n\r\n`],
  ['a chunk', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${SECRET}\r\n`],
  ['a field', `HTTP/1.1 200 OK\r\n${SECRET}\r\n\r\n`],
  ['a range', `HTTP/1.1 206 OK\r\nContent-Range: ${SECRET}\r\nContent-Length: 1\r\n\r\nx`],
  ['a type', `HTTP/1.1 200 OK\r\nContent-Type: text/html; x=${SECRET}\r\nContent-Length: 1\r\n\r\nx`],
  ['a tag', `HTTP/1.1 206 OK\r\nContent-Range: bytes 0-0/1\r\nETag: "${SECRET}"\r\nContent-Length: 1\r\n\r\nx`],
  ['a wish', `HTTP/1.1 503 No\r\nRetry-After: ${SECRET}\r\nContent-Length: 0\r\n\r\n`],
  ['a redirect', `HTTP/1.1 302 Go\r\nLocation: http://${SECRET}.invalid/\r\nContent-Length: 0\r\n\r\n`],
  ['a redirect to a scheme', `HTTP/1.1 302 Go\r\nLocation: ${SECRET}://x/\r\nContent-Length: 0\r\n\r\n`],
]
for (const [name, text] of TALKATIVE) {
  test(`nothing of what answers comes into a message: ${name}`, async t => {
    const server = createTcpServer(socket => {
      socket.on('error', () => {})
      socket.once('data', () => socket.end(text))
    })
    const port = await serve(t, server)
    const end = await download(`http://127.0.0.1:${port}/file`)
    assert.notEqual(end.message, '')
    assert.doesNotMatch(end.message, new RegExp(SECRET, 'i'))
  })
}

test('nor do the names in a certificate', async t => {
  const port = await serve(t, createTlsServer(certificates, good))
  resolving(t, { 'another-name.test': ['127.0.0.1'] })
  const end = await download(`https://another-name.test:${port}/file`)
  assert.match(end.message, /its certificate is not accepted: the certificate is for other names/)
  assert.doesNotMatch(end.message, /bench/)
})
