import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, type TestContext } from 'node:test'
import { Failure } from '../../src/operator/failure.ts'
import { writeOffline } from '../../src/operator/offline/folder.ts'
import { operator } from './support.ts'

const image = Buffer.from('an image')
const base = await mkdtemp(join(tmpdir(), 'offline-'))
const inners = new Map<string, Buffer>()
const server = createServer((request, response) => {
  const inner = inners.get(request.url ?? '')
  if (inner) response.end(inner)
  else if (request.url === '/missing') response.writeHead(404).end()
  else if (request.url === '/long') response.end(Buffer.concat([image, image]))
  else if (request.url === '/keys') response.end('{"keys":1}')
  else response.end(request.url === '/other' ? Buffer.from('an emage') : image)
}).listen(0, '127.0.0.1')
await new Promise(resolve => server.once('listening', resolve))
const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
after(async () => {
  server.close()
  await rm(base, { recursive: true, force: true })
})

const sha256 = createHash('sha256').update(image).digest('base64')
const entity = { fileName: 'a.swu', sizeInBytes: image.length, hashes: { sha256 } }

const service = (url: string | undefined, files: object = { f1: entity }, more: object = {}) => ({
  updateManifest: JSON.stringify({ manifestVersion: '5', files, instructions: { steps: [{}] } }),
  updateManifestSignature: 'signature',
  fileUrls: url === undefined ? {} : { f1: `${origin}${url}`, f2: `${origin}${url}` },
  ...more,
})
let count = 0
const write = (given: unknown) => writeOffline(given, join(base, String(count++)))

test('the folder has the signed text, the files by name, and the root key package', async () => {
  const written = await write(
    service('/image', undefined, { rootKeyPackageUrl: `${origin}/keys`, workflow: { id: 'W' } }),
  )
  assert.deepEqual((await readdir(written.folder)).sort(), ['a.swu', 'deployment.json', 'rootkeypackage.json'])
  const deployment = JSON.parse(await readFile(join(written.folder, 'deployment.json'), 'utf8'))
  const { updateManifest, updateManifestSignature } = service('/image')
  const names = { fileUrls: { f1: 'a.swu' }, rootKeyPackageUrl: 'rootkeypackage.json' }
  assert.deepEqual(deployment, { updateManifest, updateManifestSignature, ...names })
  assert.ok((await readFile(join(written.folder, 'a.swu'))).equals(image))
})

for (const [what, given, message] of [
  ['another file than the signed one', service('/other'), /a\.swu is not the file that was signed/],
  ['a longer file', service('/long'), /it has more than 8 bytes/],
  ['a file that is not there', service('/missing'), /the server answered 404/],
  ['no URL', service(undefined), /no URL for a\.swu/],
  ['a path for a name', service('/image', { f1: { ...entity, fileName: '../a.swu' } }), /not a plain file name/],
  ['no signature', { ...service('/image'), updateManifestSignature: null }, /there is no deployment/],
  ['a manifest that is not JSON', { ...service('/image'), updateManifest: '{' }, /not a JSON object/],
] as const) {
  test(`${what}: one line, and no folder that a device would take`, async () => {
    const at = join(base, String(count))
    await assert.rejects(write(given), error => error instanceof Failure && message.test(error.message))
    assert.equal(existsSync(join(at, 'deployment.json')), false)
  })
}

test('files of one name, and one named like ours, are all there, each under a name of its own', async () => {
  const files = { f1: entity, f2: { ...entity, fileName: 'A.SWU' }, f3: { ...entity, fileName: 'deployment.json' } }
  const urls = { f1: `${origin}/image`, f2: `${origin}/image`, f3: `${origin}/image` }
  const { folder } = await write({ ...service('/image', files), fileUrls: urls })
  const deployment = JSON.parse(await readFile(join(folder, 'deployment.json'), 'utf8'))
  assert.deepEqual(deployment.fileUrls, { f1: 'a.swu', f2: '2-A.SWU', f3: '2-deployment.json' })
  for (const name of Object.values<string>(deployment.fileUrls))
    assert.ok((await readFile(join(folder, name))).equals(image), name)
})

test('the files of the manifests that it names are there too', async () => {
  const inner = JSON.stringify({ updateManifest: JSON.stringify({ manifestVersion: '5', files: { f9: entity } }) })
  inners.set('/child', Buffer.from(inner))
  inners.set('/broken', Buffer.from('{'))
  const of = (url: string) => {
    const content = inners.get(url) ?? Buffer.alloc(0)
    const hashes = { sha256: createHash('sha256').update(content).digest('base64') }
    const files = { c1: { fileName: 'child.json', sizeInBytes: content.length, hashes } }
    const steps = [{ type: 'reference', detachedManifestFileId: 'c1' }]
    const updateManifest = JSON.stringify({ manifestVersion: '5', files, instructions: { steps } })
    return { ...service('/image'), updateManifest, fileUrls: { c1: `${origin}${url}`, f9: `${origin}/image` } }
  }
  const { folder, files } = await write(of('/child'))
  assert.deepEqual(files, ['child.json', 'a.swu'])
  assert.ok((await readFile(join(folder, 'a.swu'))).equals(image))
  await assert.rejects(write(of('/broken')), /child\.json does not hold an update manifest/)
})

test('a folder that is written again is none that a device would take until it is whole', async () => {
  const { folder } = await write(service('/image'))
  const hasOne = () => existsSync(join(folder, 'deployment.json'))
  // Nothing of it is touched before the deployment can be read.
  await assert.rejects(writeOffline({ ...service('/image'), updateManifest: '{' }, folder))
  assert.equal(hasOne(), true)
  await assert.rejects(writeOffline(service('/other'), folder), Failure)
  assert.equal(hasOne(), false)
  await writeOffline(service('/image'), folder)
  assert.deepEqual((await readdir(folder)).sort(), ['a.swu', 'deployment.json'])
})

/** write(2) may take fewer bytes than it was given, as on a disk that becomes full. */
async function shortWrites(t: TestContext): Promise<void> {
  const handle = await open(base)
  const kind = Object.getPrototypeOf(handle)
  await handle.close()
  const write = kind.write
  t.mock.method(kind, 'write', function (this: unknown, bytes: Buffer, from = 0, length = bytes.length, at = null) {
    return write.call(this, bytes, from, Math.min(length, 3), at)
  })
}

test('a disk that takes a part of what is written gets the rest', async t => {
  await shortWrites(t)
  const { folder } = await write(service('/image'))
  assert.deepEqual(await readFile(join(folder, 'a.swu')), image)
})

test('the deployment comes from stdin too, and a text that is not JSON is named with its place', async () => {
  const out = join(base, String(count++))
  const create = (input: string) =>
    operator(['offline', 'create', '--deployment', '-', '--out', out], undefined, { input })
  const { exitCode, stdout, stderr } = await create(JSON.stringify(service('/image')))
  assert.equal(exitCode, 0, stderr)
  assert.match(stdout, /a\.swu .* and deployment\.json$/)
  const bad = await create('{ "a": }')
  assert.match(bad.stderr, /stdin is not valid JSON: line 1, column 8/)
})
