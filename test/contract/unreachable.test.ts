import assert from 'node:assert/strict'
import dns from 'node:dns'
import { type TestContext, test } from 'node:test'
import { HttpContent } from '../../src/adapters/http/content.ts'
import { ConnectionStringIdentity } from '../../src/adapters/identity/connection-string.ts'
import { IotHub } from '../../src/adapters/iot-hub/iot-hub.ts'
import { ANYWHERE } from '../http/anywhere.ts'

// Most hosts have addresses of both families. When none answers, Node's error stands for all of them and has no message.
const ADDRESSES = [
  { address: '::1', family: 6 },
  { address: '127.0.0.1', family: 4 },
]
const { signal } = new AbortController()

function withTwoAddresses(t: TestContext): void {
  const lookup = (_name: string, options: dns.LookupOptions, done: (...answer: unknown[]) => void) =>
    process.nextTick(() => (options.all ? done(null, ADDRESSES) : done(null, '127.0.0.1', 4)))
  t.mock.method(dns, 'lookup', lookup as unknown as typeof dns.lookup)
}

const namesBoth = (error: unknown): true => {
  assert.ok(error instanceof Error)
  assert.match(error.message, /ECONNREFUSED ::1:1; .*ECONNREFUSED 127\.0\.0\.1:1/)
  return true
}

test('a hub of which no address answers: the error says what was tried', async t => {
  withTwoAddresses(t)
  const connectionString = 'HostName=localhost:1;DeviceId=pi;SharedAccessKey=a2V5'
  const hub = new IotHub({
    identity: new ConnectionStringIdentity(() => connectionString),
    modelId: 'dtmi:test;1',
    productInfo: 'test',
    ca: undefined,
    protocol: 'mqtt',
    proxies: { httpProxy: undefined, httpsProxy: undefined, noProxy: [] },
    keepAliveSeconds: 60,
    tokenSeconds: 3600,
    time: { behind: () => 0, seen: async () => {}, explain: (message: string) => message },
    answerTimeout: 10_000,
  })
  await assert.rejects(hub.connect(signal), namesBoth)
})

test('a content server of which no address answers: the error says what was tried', async t => {
  withTwoAddresses(t)
  const content = new HttpContent({
    ca: undefined,
    stall: 10_000,
    httpProxy: undefined,
    httpsProxy: undefined,
    noProxy: [],
    hosts: ANYWHERE,
  })
  await assert.rejects(
    content.get('https://localhost:1/file', { origin: 'twin', first: 0, last: 1 }, signal),
    namesBoth,
  )
})
