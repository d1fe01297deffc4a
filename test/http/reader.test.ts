import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { ResponseReader } from '../../src/adapters/http/reader.ts'

/** What was read, as short text; `cut` is the size of the pieces it came in. */
function read(text: string, cut = text.length, { close = false, pass = false } = {}): string[] {
  const seen: string[] = []
  let body = ''
  const reader = new ResponseReader({
    head: ({ status, keepAlive }) => void seen.push(`${status}${keepAlive ? '' : ' close'}`),
    body: (bytes, from, to) => {
      body += bytes.toString('latin1', from, to)
    },
    end: () => {
      seen.push(body)
      body = ''
    },
  })
  const bytes = Buffer.from(text, 'latin1')
  for (let at = 0; at < bytes.length; at += cut) {
    const piece = bytes.subarray(at, at + cut)
    if (pass && reader.pass(piece.length)) body += piece.toString('latin1')
    else reader.push(piece)
  }
  if (close) reader.close()
  return seen
}

const sized = (body: string) => `HTTP/1.1 206 Partial Content\r\nContent-Length: ${body.length}\r\n\r\n${body}`

test('answers one after the other, in pieces of any size', () => {
  const text =
    `${sized('first')}HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n` +
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;note=x\r\nhello\r\nA\r\n, 10 bytes\r\n0\r\nTrailer: y\r\n\r\n' +
    `HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n${sized('')}HTTP/1.0 200 OK\r\n\r\nto the end`
  const expected = ['206', 'first', '200', 'hello, 10 bytes', '304', '', '206', '', '200 close', 'to the end']
  for (let cut = 1; cut <= text.length; cut++) {
    for (const pass of [false, true]) {
      assert.deepEqual(read(text, cut, { close: true, pass }), expected, `pieces of ${cut}`)
    }
  }
})

for (const [name, text, complaint] of [
  ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', /not HTTP\/1/],
  ['a field without a name', 'HTTP/1.1 200 OK\r\n: x\r\n\r\n', /not a header field/],
  ['a folded field', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n', /not a header field/],
  [
    'two lengths',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n',
    /Content-Length that is not one number/,
  ],
  ['a negative length', 'HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n', /Content-Length that is not one number/],
  [
    'a length that is no number',
    'HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n',
    /Content-Length that is not one number/,
  ],
  [
    'an unknown coding',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
    /transfer encoding other than chunked/,
  ],
  ['a chunk without a size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n', /chunk without a size/],
  [
    'a chunk that is too long',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n',
    /longer than its size/,
  ],
  ['an endless head', `HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(10_000)}`, /line without an end/],
  [
    'an endless chunk line',
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${'1'.repeat(5000)}`,
    /line without an end/,
  ],
] as const) {
  test(`${name} is refused`, () => {
    for (const cut of [text.length, 1000, 7]) assert.throws(() => read(text, cut), complaint)
  })
}

test('a connection that ends in the middle is told from one that ends between two answers', () => {
  assert.deepEqual(read(sized('all'), 5, { close: true }), ['206', 'all'])
  for (const text of [
    sized('all').slice(0, -1),
    'HTTP/1.1 20',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
  ]) {
    assert.throws(() => read(text, 5, { close: true }), /in the middle/)
  }
})

test('whatever comes, it either reads or throws an Error that says what was sent', () => {
  const line = fc.constantFrom(
    'HTTP/1.1 200 OK',
    'Content-Length: 3',
    'Transfer-Encoding: chunked',
    '',
    'abc',
    '3',
    '0',
    'x: y',
  )
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), fc.integer({ min: 1, max: 40 }), (lines, cut) => {
      try {
        read(lines.join('\r\n'), cut, { close: true })
      } catch (error) {
        assert.equal((error as Error).constructor, Error)
        assert.notEqual((error as Error).message, '')
      }
    }),
    { numRuns: 500, seed: 1 },
  )
})
