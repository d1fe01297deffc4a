import assert from 'node:assert/strict'
import test from 'node:test'
import { systemUpdateOf } from '../../src/domain/system-update.ts'
import { CrashGuard } from '../../src/sources/crash-guard.ts'
import { DeploymentVerifier } from '../../src/sources/deployment-verifier.ts'
import { readDesired } from '../../src/trust/service.ts'
import { CHILD_MANIFEST, CHILD_URLS, childOf, parentOf, REFERENCE } from '../bench/authoring/child.ts'
import { publicNumbers } from '../bench/authoring/keys.ts'
import { cook, MANIFEST } from '../bench/authoring/recipe.ts'
import { newKeys } from './flaws/flaw.ts'

const keys = newKeys()
const NEVER = new AbortController().signal

/** A verifier whose network has the package, and `files` by URL; and what it was asked for. */
function verifier(files: ReadonlyMap<string, Buffer> = new Map()) {
  const asked: string[] = []
  const times: number[] = []
  async function* whole(url: string) {
    yield files.get(url) ?? cook(keys).rootKeyPackage
  }
  const ports = {
    content: {
      get: async (url: string) => {
        asked.push(url)
        return { first: 0, last: undefined, total: undefined, etag: undefined, body: whole(url) }
      },
    },
    keyStore: { read: async () => undefined, write: async () => {} },
    clock: { monotonic: () => 0, now: () => new Date(0), random: () => 0, sleep: () => new Promise<void>(() => {}) },
    log: { debug() {}, info() {}, warn() {}, error() {} },
    events: { tell() {}, saw() {} },
  }
  const builtIn = keys.roots.map(({ kid, privateKey }) => ({ kid, ...publicNumbers(privateKey) }))
  const options = {
    anchors: { builtIn, configured: [] },
    compatibility: 'enforce',
    properties: { manufacturer: 'contoso', model: 'toaster' },
    fetch: { rangeBytes: 65_536, timeout: 1000 },
    onTime: (time: number) => times.push(time),
  } as const
  const workNotes = { read: async () => ({ boot: '', begun: {} }), write: async () => {} }
  const verify = new DeploymentVerifier(ports, options, new CrashGuard({ workNotes, log: ports.log }))
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

test('other addresses of the same files are another reading of the same deployment', async () => {
  const { verify } = verifier()
  const one = await verify.verify(service(), NEVER)
  const [id = ''] = Object.keys(MANIFEST.files)
  const two = await verify.verify(service({ fileUrls: { [id]: 'https://elsewhere.example/t.swu' } }), NEVER)
  assert.equal(two.fingerprint, one.fingerprint)
  assert.equal(two.kind === 'deploy' && systemUpdateOf(two).url, 'https://elsewhere.example/t.swu')
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
  const deployment = await verify.verify(service({ workflow: { action: 255, id: 'nodeployment' } }), NEVER)
  assert.deepEqual([deployment.kind, asked.length], ['cancel', 0])
})

/** A mini manifest of a parent with two reference steps to the same child. */
function tree() {
  const child = childOf()
  const parent = childOf(parentOf(child, [REFERENCE, REFERENCE]), undefined, 'toaster.json')
  const manifest = {
    ...{ manifestVersion: '5', updateId: MANIFEST.updateId, detachedManifestFileId: 'f1' },
    files: { f1: parent.entity },
  }
  const [url, childUrl] = ['http://contoso.example/mini.json', Object.values(CHILD_URLS)[0] ?? '']
  return { child, parent, change: { manifest, fileUrls: { ...CHILD_URLS, f1: url } }, url, childUrl }
}

test('a manifest and its child manifests are fetched one after the other, each once', async () => {
  const { child, parent, change, url, childUrl } = tree()
  const { verify, asked } = verifier(
    new Map([
      [url, parent.content],
      [childUrl, child.content],
    ]),
  )
  const deployment = await verify.verify(service(change), NEVER)
  assert.deepEqual(asked.slice(1), [url, childUrl])
  // The device has no motors: the child was read.
  assert.equal(deployment.kind === 'refuse' && deployment.error.code, 'COMPATIBILITY')
})

test('a child manifest that is not what was signed is refused, and the update is named', async () => {
  const { parent, change, url, childUrl } = tree()
  const other = childOf({ ...CHILD_MANIFEST, createdDateTime: '2025-04-04T19:18:19.0123317Z' }).content
  const { verify } = verifier(
    new Map([
      [url, parent.content],
      [childUrl, other],
    ]),
  )
  const deployment = await verify.verify(service(change), NEVER)
  assert.ok(deployment.kind === 'refuse')
  assert.equal(deployment.error.code, 'FILE_HASH')
  assert.match(deployment.error.message, /motor\.json/)
})
