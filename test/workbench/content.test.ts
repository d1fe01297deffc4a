import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { IncomingHttpHeaders } from 'node:http'
import { Agent, request } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { type ContentServer, startContentServer } from '../bench/content/content-server.ts'
import type { Fault } from '../bench/content/faults.ts'
import { requestedRange } from '../bench/content/ranges.ts'
import { ensureCertificates } from '../bench/hub/certs.ts'
import { runProgram } from '../bench/workbench/program.ts'
import { pseudoRandom } from '../bench/workbench/root-tree.ts'

const file = pseudoRandom(300_000, 'content')
let dir: string
let caFile: string
let ca: string
let server: ContentServer
let agent: Agent

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'content-'))
  const certificates = await ensureCertificates(join(dir, 'certs'))
  caFile = certificates.caFile
  ca = certificates.ca
  await writeFile(join(dir, 'update one.swu'), file)
  await writeFile(join(dir, 'empty'), '')
  server = await startContentServer({ dir, tls: certificates })
  agent = new Agent({ keepAlive: true, maxSockets: 1 })
})
after(async () => {
  agent.destroy()
  await server.close()
  await rm(dir, { recursive: true })
})
beforeEach(() => {
  for (const path of Object.keys(server.faults)) delete server.faults[path]
})

interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  /** The body is shorter than the answer promised. */
  broken: boolean
}

function get(
  headers: Record<string, string> = {},
  options: { method?: string; limit?: number; ms?: number } = {},
): Promise<Answer> {
  const { method = 'GET', limit = Infinity, ms = 5000 } = options
  return new Promise((resolve, reject) => {
    const asked = request(server.url('update one.swu'), { method, headers, ca, agent }, response => {
      const chunks: Buffer[] = []
      let length = 0
      const finish = (broken: boolean) =>
        resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks), broken })
      const timer = setTimeout(() => asked.destroy(), ms)
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        length += chunk.length
        if (length >= limit) asked.destroy()
      })
      response.on('error', () => finish(true))
      response.on('close', () => {
        clearTimeout(timer)
        finish(!response.complete)
      })
    })
    asked.on('error', reject)
    asked.end()
  })
}

function withFault(fault: Fault): void {
  server.faults['update one.swu'] = fault
}

for (const [header, expected] of [
  [undefined, 'whole'],
  ['bytes=0-0', { start: 0, end: 1 }],
  ['bytes=10-', { start: 10, end: 100 }],
  ['bytes=90-200', { start: 90, end: 100 }],
  ['bytes=-10', { start: 90, end: 100 }],
  ['bytes=-200', { start: 0, end: 100 }],
  ['bytes=-0', 'unsatisfiable'],
  ['bytes=100-', 'unsatisfiable'],
  ['bytes=5-4', 'whole'],
  ['bytes=0-1,3-4', 'whole'],
  ['bytes=-', 'whole'],
  ['lines=1-2', 'whole'],
] as const) {
  test(`the range ${header} of 100 bytes`, () => assert.deepEqual(requestedRange(header, 100), expected))
}

test('serves a file whole, with the headers a resuming reader needs', async () => {
  const { status, headers, body } = await get()
  assert.equal(status, 200)
  assert.deepEqual(body, file)
  assert.equal(headers['content-length'], '300000')
  assert.equal(headers['accept-ranges'], 'bytes')
  assert.match(headers.etag!, /^"/)
})

test('serves ranges over one connection, and counts', async () => {
  const before = { ...server.stats['update one.swu']! }
  const parts: Buffer[] = []
  for (let start = 0; start < file.length; start += 100_000) {
    const { status, headers, body } = await get({ Range: `bytes=${start}-${start + 99_999}` })
    assert.equal(status, 206)
    assert.equal(headers['content-range'], `bytes ${start}-${start + 99_999}/300000`)
    assert.equal(headers.connection, 'keep-alive')
    parts.push(body)
  }
  assert.deepEqual(Buffer.concat(parts), file)
  const { requests, bytesSent } = server.stats['update one.swu']!
  assert.deepEqual([requests - before.requests, bytesSent - before.bytesSent], [3, 300_000])
})

test('a range beyond the end is 416 with the size', async () => {
  const { status, headers } = await get({ Range: 'bytes=300000-' })
  assert.deepEqual([status, headers['content-range']], [416, 'bytes */300000'])
})

test('If-Range gives the range for the same file and all of another one', async () => {
  const { etag } = (await get({}, { method: 'HEAD' })).headers
  assert.equal((await get({ Range: 'bytes=1-2', 'If-Range': etag! })).status, 206)
  const { status, body } = await get({ Range: 'bytes=1-2', 'If-Range': '"older"' })
  assert.deepEqual([status, body.length], [200, 300_000])
})

test('HEAD sends no bytes, POST is refused', async () => {
  assert.deepEqual((await get({}, { method: 'HEAD' })).body.length, 0)
  assert.equal((await get({}, { method: 'POST' })).status, 405)
})

test('curl resumes a file it has a part of', async () => {
  await writeFile(join(dir, 'part'), file.subarray(0, 123_456))
  await runProgram([
    'curl',
    '-sSf',
    '--cacert',
    caFile,
    '-C',
    '-',
    '-o',
    join(dir, 'part'),
    server.url('update one.swu'),
  ])
  const sum = await runProgram(['sha256sum', join(dir, 'part')])
  assert.equal(sum.toString().split(' ')[0], createHash('sha256').update(file).digest('hex'))
})

test('nothing outside the folder is served', async t => {
  const plain = await startContentServer({ dir: join(dir, 'certs'), host: '127.0.0.1' })
  t.after(() => plain.close())
  const ask = (path: string) =>
    new Promise<string>(resolve => {
      const socket = connect(plain.port, '127.0.0.1', () =>
        socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
      )
      let text = ''
      socket.on('data', chunk => {
        text += chunk
      })
      socket.on('close', () => resolve(text.split('\r\n')[0]!))
    })
  assert.equal(await ask('/ca.pem'), 'HTTP/1.1 200 OK')
  for (const path of ['/../empty', '/%2e%2e/empty', '/..%2fempty', '/x/../../empty', '/', '/%00', '/%zz', '/.']) {
    assert.equal(await ask(path), 'HTTP/1.1 404 Not Found', path)
  }
})

test('fault: the connection drops in the middle, once', async () => {
  withFault({ cutAfter: 100_000, times: 1 })
  const { body, broken } = await get()
  assert.ok(broken)
  assert.ok(body.length <= 100_000)
  assert.deepEqual((await get()).body, file)
})

test('fault: stall', async () => {
  withFault({ stallAfter: 50_000 })
  const { body, broken } = await get({}, { ms: 300 })
  assert.deepEqual([body.length, broken], [50_000, true])
})

test('fault: slow', async () => {
  withFault({ bytesPerSecond: 500_000 })
  const started = Date.now()
  assert.deepEqual((await get()).body, file)
  assert.ok(Date.now() - started > 450)
})

test('fault: busy, with a time to come back', async () => {
  withFault({ status: 503, retryAfter: 7, times: 1 })
  const { status, headers } = await get()
  assert.deepEqual([status, headers['retry-after']], [503, '7'])
  assert.equal((await get()).status, 200)
})

test('fault: no ranges', async () => {
  withFault({ noRanges: true })
  const { status, headers, body } = await get({ Range: 'bytes=5-9' })
  assert.deepEqual([status, headers['accept-ranges'], body.length], [200, undefined, 300_000])
})

test('fault: ranges that lie', async () => {
  const range = { Range: 'bytes=1000-1999' }
  withFault({ wrongRange: 'start' })
  assert.equal((await get(range)).headers['content-range'], 'bytes 1001-2000/300000')
  withFault({ wrongRange: 'length' })
  assert.equal((await get(range)).headers['content-range'], 'bytes 1000-1999/300001')
  withFault({ wrongRange: 'shifted' })
  const { headers, body } = await get(range)
  assert.equal(headers['content-range'], 'bytes 1000-1999/300000')
  assert.deepEqual(body, file.subarray(999, 1999))
})

test('fault: too short, too long, without end', async () => {
  withFault({ truncateAt: 1000 })
  assert.deepEqual((await get()).body, file.subarray(0, 1000))
  withFault({ extraBytes: 1000 })
  const long = await get()
  assert.deepEqual([long.body.length, long.headers['content-length'], long.broken], [301_000, '301000', false])
  withFault({ extraBytes: 'endless' })
  const endless = await get({}, { limit: 2_000_000 })
  assert.equal(endless.headers['content-length'], undefined)
  assert.ok(endless.body.length >= 2_000_000)
})

test('fault: one wrong byte, whichever way it is fetched', async () => {
  withFault({ flipByteAt: 200_000 })
  const { body } = await get()
  assert.equal(body[200_000]! ^ file[200_000]!, 0xff)
  assert.equal(Buffer.compare(body.subarray(0, 200_000), file.subarray(0, 200_000)), 0)
  assert.equal((await get({ Range: 'bytes=200000-200009' })).body[0]! ^ file[200_000]!, 0xff)
})

test('fault: another file at every look, or somewhere else', async () => {
  withFault({ etag: 'changing' })
  assert.notEqual((await get()).headers.etag, (await get()).headers.etag)
  withFault({ redirect: 'https://localhost/elsewhere' })
  const { status, headers } = await get()
  assert.deepEqual([status, headers.location], [302, 'https://localhost/elsewhere'])
})
