import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { openBlob } from '../../src/adapters/logs/storage.ts'
import { countStart, takeStartBack } from '../../src/adapters/logs/upload-starts.ts'
import { ContentError } from '../../src/domain/errors.ts'
import { Hosts } from '../../src/domain/hosts.ts'
import { type WebUrl, webUrl } from '../../src/domain/web-url.ts'
import { startHub } from '../bench/hub/hub.ts'

const folder = await mkdtemp(join(tmpdir(), 'log-storage-'))
const bench = await startHub({ stateDir: folder })
after(async () => {
  await bench.stop()
  await rm(folder, { recursive: true })
})

const signal = new AbortController().signal
const proxies = { http: undefined, https: undefined, except: [] }

function place(text: string) {
  const container: WebUrl = webUrl(text).url ?? assert.fail('a URL')
  return { container, blob: 'pi 1/op/x.gz' }
}

const options = (more: { readonly ca?: string | undefined; readonly allowed?: string } = {}) => ({
  ...{ ca: bench.ca, proxies, ...more },
  hosts: new Hosts('setting', [more.allowed ?? 'localhost']),
})

test('a blob of two blocks over one connection', async () => {
  const blob = openBlob(place(bench.blobs.url()), options(), signal)
  await blob.put('comp=block&blockid=MDAw', Buffer.from('one '), {})
  await blob.put('comp=block&blockid=MDAx', Buffer.from('two'), {})
  const list = '<?xml version="1.0"?><BlockList><Latest>MDAw</Latest><Latest>MDAx</Latest></BlockList>'
  await blob.put('comp=blocklist', Buffer.from(list), { 'x-ms-blob-content-type': 'application/gzip' })
  blob.close()
  assert.equal(String(await bench.blobs.read('pi 1/op/x.gz')), 'one two')
})

const failures: readonly (readonly [
  what: string,
  url: () => string,
  more: Parameters<typeof options>[0],
  retry: string,
])[] = [
  ['a signature that does not allow to write', () => bench.blobs.url('r'), {}, 'never'],
  ['a signature that has expired', () => bench.blobs.url('cw', -1), {}, 'never'],
  ['a certificate that is not trusted', () => bench.blobs.url(), { ca: undefined }, 'backOff'],
  ['a name that leads to this machine', () => bench.blobs.url(), { allowed: '*' }, 'backOff'],
  ['nothing listens', () => bench.blobs.url().replace(/:\d+/, ':9'), {}, 'backOff'],
]
for (const [what, url, more, retry] of failures) {
  test(`fails without a word of the signature: ${what}`, async () => {
    const blob = openBlob(place(url()), options(more), signal)
    const error = await blob.put('comp=block&blockid=MDAw', Buffer.from('x'), {}).catch((each: unknown) => each)
    blob.close()
    assert.ok(error instanceof ContentError && error.code === 'LOGS_UPLOAD', String(error))
    assert.equal(error.retry, retry)
    assert.doesNotMatch(error.message, /sig=|bench-blobs/)
  })
}

test('a storage that fails for a moment is worth a retry; an abort ends a request that hangs', async () => {
  bench.faults.inject({ kind: 'failRest', path: '/bench-blobs/', how: 503 })
  const blob = openBlob(place(bench.blobs.url()), options(), signal)
  await assert.rejects(blob.put('comp=block&blockid=MDAw', Buffer.from('x'), {}), { retry: 'backOff' })
  blob.close()
  bench.faults.inject({ kind: 'failRest', path: '/bench-blobs/', how: 'hang' })
  const stop = new AbortController()
  const other = openBlob(place(bench.blobs.url()), options(), stop.signal)
  const hanging = other.put('comp=block&blockid=MDAw', Buffer.from('x'), {})
  setTimeout(() => stop.abort(new Error('enough')), 200)
  await assert.rejects(hanging, { message: 'enough' })
  other.close()
})

test('starts are counted for one operation, whatever is in the file', async () => {
  const file = join(folder, 'logs.json')
  assert.deepEqual([await countStart(file, 'a'), await countStart(file, 'a'), await countStart(file, 'b')], [1, 2, 1])
  await takeStartBack(file, 'a')
  assert.equal(await countStart(file, 'b'), 2)
  for (let times = 0; times < 3; times++) await takeStartBack(file, 'b')
  assert.equal(await countStart(file, 'b'), 1)
  await writeFile(file, '{"operationId":')
  assert.equal(await countStart(file, 'b'), 1)
  await assert.rejects(countStart(join(file, 'logs.json'), 'a'), { code: 'LOGS_BUNDLE' })
})
