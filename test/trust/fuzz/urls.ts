import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { HttpContent } from '../../../src/adapters/http/content.ts'
import { ContentError } from '../../../src/domain/errors.ts'
import { Hosts } from '../../../src/domain/hosts.ts'
import { mutatedText } from './mutate.ts'

/** Parts that have broken URL readers before; `HOST` is the server of the test. */
const USERS = ['', '@', ':@', 'u@', 'u:p@', '%zz@', 'u:50%off@', '%@', '%4@', 'u:%ff%00@', 'a:b:c@', 'u@v@', '%41:%E4@']
const HOSTS = [
  'HOST',
  'localhost:PORT',
  '127.0.0.1:0',
  '127.0.0.1:99999',
  '[::1]:PORT',
  '2130706433:PORT',
  '%31',
  '',
  'x y',
]
const PATHS = [
  '',
  '/',
  '/a b',
  '/%',
  '/%zz',
  '/\u00e4',
  '/\r\nX: y',
  '/\t',
  '/..%2f',
  '//',
  '/?q=%zz',
  '/#f',
  '/\ud800',
  '\\x',
]
const SCHEMES = [
  'http://',
  'http://',
  'http://',
  'https://',
  'HTTP://',
  'http:',
  'http:\\\\',
  '//',
  '',
  ' http://',
  'file://',
  'data:',
]

const url = fc
  .tuple(fc.constantFrom(...SCHEMES), fc.constantFrom(...USERS), fc.constantFrom(...HOSTS), fc.constantFrom(...PATHS))
  .map(parts => parts.join(''))

/** What a twin may name, and what whoever answers may redirect to. */
export const urls = fc.record({
  url: fc.oneof(
    { weight: 2, arbitrary: url },
    { weight: 1, arbitrary: url.chain(mutatedText) },
    { weight: 2, arbitrary: fc.constant('http://HOST/redirect') },
  ),
  location: fc.oneof(url, url.chain(mutatedText), fc.string()),
  status: fc.constantFrom(200, 206, 301, 302, 307, 308, 404, 503),
  encoding: fc.constantFrom(undefined, '', 'identity', 'gzip', 'aws-chunked', '\u00ff'),
})

let location = ''
let status = 200
let encoding: string | undefined
let server: Server | undefined
let content: HttpContent | undefined
let port = 0

async function start(): Promise<void> {
  server = createServer((request, response) => {
    if (encoding !== undefined) response.setHeader('Content-Encoding', encoding)
    // As bytes: a server that is not Node sends whatever it likes, but for a line end.
    if (request.url === '/redirect')
      response.setHeader(
        'Location',
        Buffer.from(location)
          .toString('latin1')
          .replace(/\p{Cc}/gu, '\t'),
      )
    response.writeHead(request.url === '/redirect' ? Math.max(300, status) : status).end('x')
  }).unref()
  await new Promise<void>(resolve => server?.listen(0, '127.0.0.1', resolve))
  server.on('connection', socket => socket.unref())
  port = (server.address() as AddressInfo).port
  // Nothing but this server is ever connected to.
  const here = new Hosts('the test', [`127.0.0.1:${port}`, `localhost:${port}`])
  const direct = { ca: undefined, httpProxy: undefined, httpsProxy: undefined, noProxy: [] }
  content = new HttpContent({ ...direct, stall: 500, hosts: { twin: here, method: here } })
}

/** A fetch ends in an answer or in the one error that is documented, whatever stands in the URL or in a redirect. */
export async function fetchUrl(given: typeof urls extends fc.Arbitrary<infer T> ? T : never): Promise<void> {
  if (!content) await start()
  const filled = (text: string): string => text.replaceAll('HOST', `127.0.0.1:${port}`).replaceAll('PORT', String(port))
  location = filled(given.location)
  status = given.status
  encoding = given.encoding
  const stop = new AbortController()
  try {
    const part = await content?.get(filled(given.url), { origin: 'twin', first: 0, last: 0 }, stop.signal)
    for await (const bytes of part?.body ?? []) assert.equal(bytes.toString(), 'x')
  } catch (error) {
    if (!(error instanceof ContentError)) throw error
    assert.doesNotMatch(error.message, /[\n\r\t]/)
  } finally {
    stop.abort()
  }
}
