import assert from 'node:assert/strict'
import test from 'node:test'
import { OrderVerifier } from '../../src/order-verifier.ts'
import { readDesired } from '../../src/trust/service.ts'
import { publicNumbers } from '../bench/authoring/keys.ts'
import { cook, MANIFEST } from '../bench/authoring/recipe.ts'
import { newKeys } from './flaws/flaw.ts'

const keys = newKeys()
const NEVER = new AbortController().signal

/** A verifier whose network has nothing but the package, and what it was asked for. */
function verifier() {
  const asked: string[] = []
  const times: number[] = []
  async function* whole() {
    yield cook(keys).rootKeyPackage
  }
  const ports = {
    content: {
      get: async (url: string) => {
        asked.push(url)
        return { first: 0, last: undefined, total: undefined, etag: undefined, body: whole() }
      },
    },
    keyStore: { read: async () => undefined, write: async () => {} },
    clock: { monotonic: () => 0, now: () => new Date(0), random: () => 0, sleep: () => new Promise<void>(() => {}) },
    log: { debug() {}, info() {}, warn() {}, error() {} },
  }
  const builtIn = keys.roots.map(({ kid, privateKey }) => ({ kid, ...publicNumbers(privateKey) }))
  const verify = new OrderVerifier(ports, {
    anchors: { builtIn, configured: [] },
    compatibility: 'enforce',
    properties: { manufacturer: 'contoso', model: 'toaster' },
    fetch: { rangeBytes: 65_536, timeout: 1000 },
    onTime: time => times.push(time),
  })
  return { verify, asked, times }
}

const service = (change: Parameters<typeof cook>[1] = {}) => {
  const reading = readDesired({ $version: 1, deviceUpdate: { service: cook(keys, change).service } })
  assert.ok(reading.service)
  return reading.service
}

test('what a twin says again on the next connection is not fetched for again', async () => {
  const { verify, asked } = verifier()
  const first = await verify.verify(service(), NEVER)
  assert.equal(first.kind, 'deploy')
  assert.equal(await verify.verify(service(), NEVER), first)
  assert.equal(asked.length, 1)
  const retried = await verify.verify(service({ workflow: { action: 3, id: 'W', retryTimestamp: 'now' } }), NEVER)
  assert.equal(retried.kind, 'deploy')
  assert.equal(asked.length, 2)
})

test('other addresses of the same files are another reading of the same order', async () => {
  const { verify } = verifier()
  const one = await verify.verify(service(), NEVER)
  const [id = ''] = Object.keys(MANIFEST.files)
  const two = await verify.verify(service({ fileUrls: { [id]: 'https://elsewhere.example/t.swu' } }), NEVER)
  assert.equal(two.fingerprint, one.fingerprint)
  assert.equal(two.kind === 'deploy' && two.update.url, 'https://elsewhere.example/t.swu')
})

test('a verified manifest tells the time that it is at the least', async () => {
  const { verify, times } = verifier()
  await verify.verify(service({ manifest: { ...MANIFEST, createdDateTime: '2031-01-02T03:04:05Z' } }), NEVER)
  await verify.verify(service({ manifest: { ...MANIFEST, createdDateTime: 'yesterday' } }), NEVER)
  const forged = { ...service(), updateManifestSignature: 'x.y.z' }
  await verify.verify(forged, NEVER)
  assert.deepEqual(times, [Date.UTC(2031, 0, 2, 3, 4, 5)])
})

test('a cancel is answered without the network, and needs no keys', async () => {
  const { verify, asked } = verifier()
  const order = await verify.verify(service({ workflow: { action: 255, id: 'nodeployment' } }), NEVER)
  assert.deepEqual([order.kind, asked.length], ['cancel', 0])
})
