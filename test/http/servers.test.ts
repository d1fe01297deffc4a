import assert from 'node:assert/strict'
import type { RequestListener } from 'node:http'
import test from 'node:test'
import { HttpContent } from '../../src/adapters/http/content.ts'
import { systemClock } from '../../src/adapters/system/clock.ts'
import { FEW } from '../../src/delivery/fetch.ts'
import { fetchSmall } from '../../src/delivery/fetch-small.ts'
import { ANYWHERE } from './anywhere.ts'
import { DIRECT, download, file, good, site } from './network.ts'

/**
 * What servers do, and what comes of it. *accepted*: the file is there without a pause. *retried*: it is there, after
 * pauses, once the server behaves. *few*: given up after a few tries, since a person has to mend it. *final*: at once. Whether
 * the bytes are right says the hash of the whole, never a header.
 */
type Outcome = 'accepted' | 'retried' | 'few' | 'final'

type Range = readonly [first: number, last: number]

function rangeOf(header: string | undefined): Range {
  const [, first, last] = /bytes=(\d+)-(\d+)/.exec(header ?? '') ?? []
  return [Number(first), Number(last)]
}

type Headers = Readonly<Record<string, string | number | undefined>>

/** A good answer, but for these headers, and this last byte. */
const changed =
  (change: (first: number, last: number, count: number) => Headers, most = Number.POSITIVE_INFINITY) =>
  (): RequestListener => {
    let count = 0
    return (request, response) => {
      const [first, asked] = rangeOf(request.headers.range)
      const last = Math.min(asked, first + most - 1)
      const range = `bytes ${first}-${last}/${file.length}`
      const headers = { 'Content-Range': range, 'Content-Length': last - first + 1, ETag: '"1"' }
      const all = Object.entries({ ...headers, ...change(first, last, count++) })
      response.writeHead(206, Object.fromEntries(all.filter(([, value]) => value !== undefined)))
      response.end(file.subarray(first, last + 1))
    }
  }

/** The first three answers have this status, or all. */
const status =
  (code: number, times = 3, headers = {}) =>
  (): RequestListener => {
    let left = times
    return (request, response) => {
      if (left-- > 0) response.writeHead(code, headers).end('sorry')
      else good(request, response)
    }
  }

const tag = (tagOf: (count: number) => string | undefined) => changed((_, __, count) => ({ ETag: tagOf(count) }))
const encoding = (text: string) => changed(() => ({ 'Content-Encoding': text }))
const capped = (most: number) => changed(() => ({}), most)
const contentRange = (form: (first: number, last: number) => string | undefined) =>
  changed((first, last) => ({ 'Content-Range': form(first, last) }))

/** The whole file when If-Range names another tag than this answer's. */
const strictAboutTags = (): RequestListener => {
  let count = 0
  return (request, response) => {
    const own = `"node-${count++ % 3}"`
    const ifRange = request.headers['if-range']
    if (ifRange === undefined || ifRange === own) {
      const [first, last] = rangeOf(request.headers.range)
      const range = `bytes ${first}-${last}/${file.length}`
      response.writeHead(206, { 'Content-Range': range, 'Content-Length': last - first + 1, ETag: own })
      response.end(file.subarray(first, last + 1))
    } else response.writeHead(200, { 'Content-Length': file.length, ETag: own }).end(file)
  }
}

const whole: () => RequestListener = () => (_, response) =>
  void response.writeHead(200, { 'Content-Length': file.length }).end(file)

const BEHAVIOUR: readonly (readonly [string, () => RequestListener, Outcome])[] = [
  // Tags
  ['no tag', tag(() => undefined), 'accepted'],
  ['a tag of its own on every node', tag(count => `"node-${count % 3}"`), 'accepted'],
  ['weak tags that differ', tag(count => `W/"${count}"`), 'accepted'],
  ['weak here, strong there', tag(count => (count % 2 ? '"1"' : 'W/"1"')), 'accepted'],
  ['a tag that is not one', tag(() => 'unquoted'), 'accepted'],
  ['nodes with tags of their own that mind If-Range', strictAboutTags, 'retried'],
  // Codings
  ['Content-Encoding: identity', encoding('identity'), 'accepted'],
  ['Content-Encoding: Identity', encoding('Identity'), 'accepted'],
  ['Content-Encoding, empty', encoding(''), 'accepted'],
  ['Content-Encoding: aws-chunked', encoding('aws-chunked'), 'accepted'],
  ['Content-Encoding: aws-chunked,identity', encoding('aws-chunked,identity'), 'accepted'],
  ['Content-Encoding: binary', encoding('binary'), 'accepted'],
  ['Content-Encoding: gzip', encoding('gzip'), 'final'],
  ['Content-Encoding: aws-chunked, GZIP', encoding('aws-chunked, GZIP'), 'final'],
  ['Content-Encoding: br', encoding('br'), 'final'],
  // Ranges
  ['the whole file', whole, 'accepted'],
  ['Bytes', contentRange((first, last) => `Bytes ${first}-${last}/${file.length}`), 'accepted'],
  ['bytes=', contentRange((first, last) => `bytes=${first}-${last}/${file.length}`), 'accepted'],
  ['no total size', contentRange((first, last) => `bytes ${first}-${last}/*`), 'accepted'],
  ['at most 10,000 bytes in an answer', capped(10_000), 'accepted'],
  ['at most 4096 bytes in an answer', capped(4096), 'accepted'],
  ['another place', contentRange((first, last) => `bytes ${first + 1}-${last + 1}/${file.length}`), 'final'],
  ['an end before the beginning', contentRange(first => `bytes ${first}-${first - 1}/${file.length}`), 'final'],
  ['206 without Content-Range', contentRange(() => undefined), 'final'],
  ['another size', contentRange((first, last) => `bytes ${first}-${last}/${file.length + 1}`), 'final'],
  // Status
  ...[500, 501, 502, 503, 504, 507, 509, 511, 520, 522, 524, 525, 527, 529, 530, 561, 598].map(
    code => [String(code), status(code), 'retried'] as const,
  ),
  ...[408, 425, 429].map(code => [String(code), status(code), 'retried'] as const),
  ...[409, 421, 423, 444, 499].map(code => [`${code} three times`, status(code), 'retried'] as const),
  ...[409, 418, 444, 204, 203, 304, 300, 600, 999].map(code => [`${code} for ever`, status(code, 1e9), 'few'] as const),
  ...[400, 401, 403, 404, 405, 406, 410, 411, 413, 414, 416, 431, 451].map(
    code => [String(code), status(code, 1e9), 'final'] as const,
  ),
  // Redirects
  ['a redirect without an address', status(302, 1e9), 'few'],
  ['a redirect to itself, over plain HTTP', status(302, 1e9, { Location: '/file' }), 'few'],
  ['a redirect to a file, over plain HTTP', status(302, 1e9, { Location: 'file:///etc/passwd' }), 'few'],
  ['a redirect to nonsense, three times', status(302, 3, { Location: 'http://%zz@host/x' }), 'retried'],
]

for (const [name, make, outcome] of BEHAVIOUR) {
  test(`${name}: ${outcome}`, async t => {
    const it = await site(t, make())
    const end = await download(it.url)
    const seen = end.whole
      ? end.pauses === 0
        ? 'accepted'
        : 'retried'
      : end.pauses === 0
        ? 'final'
        : end.pauses === FEW - 1
          ? 'few'
          : `${end.pauses} pauses`
    assert.equal(seen, outcome, end.message)
    if (outcome === 'retried') assert.ok(end.pauses <= 3)
  })
}

test('a document of unknown size whose ranges are shorter than asked for, or that comes whole each time', async t => {
  const document = file.subarray(0, 20_000)
  const clock = { ...systemClock, sleep: () => new Promise<void>(() => {}) }
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  let requests = 0
  const serveUpTo = (most: number, whole: boolean) => (): RequestListener => (request, response) => {
    requests += 1
    const [first] = rangeOf(request.headers.range)
    const part = document.subarray(first, first + most)
    const range = `bytes ${first}-${first + part.length - 1}/${document.length}`
    if (whole && first > 0) response.writeHead(200, { 'Content-Length': document.length }).end(document)
    else response.writeHead(206, { 'Content-Range': range, 'Content-Length': part.length }).end(part)
  }
  for (const [make, expected] of [
    [serveUpTo(6000, false), 4],
    [serveUpTo(6000, true), 2],
    [serveUpTo(1e6, false), 1],
  ] as const) {
    requests = 0
    const { url } = await site(t, make())
    const content = new HttpContent({ ca: undefined, stall: 5000, ...DIRECT, hosts: ANYWHERE })
    const limits = { maxBytes: 256_000, timeout: 60_000, attempts: 1 }
    const got = await fetchSmall({ content, clock, log }, url, limits, new AbortController().signal)
    assert.ok(got.equals(document))
    assert.equal(requests, expected)
  }
})
