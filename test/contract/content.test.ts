import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, suite } from 'node:test'
import { pathToFileURL } from 'node:url'
import { FolderContent } from '../../src/adapters/files/folder-content.ts'
import { HttpContent } from '../../src/adapters/http/content.ts'
import type { Content } from '../../src/ports/content.ts'
import { startContentServer } from '../bench/content/content-server.ts'
import { ensureCertificates } from '../bench/hub/certs.ts'
import { ANYWHERE } from '../http/anywhere.ts'
import { FakeDevice } from '../workflow/fake-device.ts'

interface Subject {
  readonly content: Content
  readonly url: string
  /** Of the file at `url`. */
  readonly size: number
}

const never = new AbortController().signal

/** What holds for every Content: the fake of the power-cut tests, and the one over the network. */
function contract(name: string, it: Subject): void {
  suite(name, () => {
    test('a range: where it lies, how long the file is, and its bytes', async () => {
      const part = await it.content.get(it.url, { origin: 'twin', first: 100, last: 50_099 }, never)
      assert.deepEqual([part.first, part.last, part.total], [100, 50_099, it.size])
      assert.equal((await read(part)).length, 50_000)
    })

    test('ranges join to the whole file, the next asked for while the one before it is read', async () => {
      const whole = await read(await it.content.get(it.url, { origin: 'twin', first: 0, last: it.size - 1 }, never))
      const joined: Buffer[] = []
      let ahead = it.content.get(it.url, { origin: 'twin', first: 0, last: 29_999 }, never)
      for (let at = 0; at < it.size; at += 30_000) {
        const part = await ahead
        const next = at + 30_000
        if (next < it.size)
          ahead = it.content.get(
            it.url,
            { origin: 'twin', first: next, last: Math.min(next + 30_000, it.size) - 1 },
            never,
          )
        for await (const piece of part.body) joined.push(Buffer.from(piece))
      }
      assert.ok(Buffer.concat(joined).equals(whole))
    })

    test('the file has one tag, and a range of it can be asked for by that', async () => {
      const one = await it.content.get(it.url, { origin: 'twin', first: 0, last: 9 }, never)
      await read(one)
      assert.notEqual(one.etag, undefined)
      const two = await it.content.get(it.url, { origin: 'twin', first: 10, last: 19, etag: one.etag! }, never)
      assert.deepEqual([two.etag, two.first, (await read(two)).length], [one.etag, 10, 10])
    })
  })
}

async function read({ body }: { body: AsyncIterable<Buffer> }): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of body) pieces.push(Buffer.from(piece))
  return Buffer.concat(pieces)
}

const device = new FakeDevice()
device.order({ id: 'one', system: { version: '2.0.0' } })
const { service } = device.desired.deviceUpdate as { service: { fileUrls: { f1: string }; updateManifest: string } }
contract('the fake', {
  content: device.plainPorts().content,
  url: service.fileUrls.f1,
  size: JSON.parse(service.updateManifest).files.f1.sizeInBytes,
})

const dir = await mkdtemp(join(tmpdir(), 'content-contract-'))
const certificates = await ensureCertificates(join(dir, 'certs'))
await writeFile(join(dir, 'file'), Buffer.alloc(200_000, 'content of a file '))
const folder = new FolderContent({ get: () => assert.fail('not from a folder') }, 600_000)
contract('a folder', {
  content: { get: (url, range, signal) => folder.get(url, { ...range, origin: 'local' }, signal) },
  url: pathToFileURL(join(dir, 'file')).href,
  size: 200_000,
})
const servers = [await startContentServer({ dir, tls: certificates }), await startContentServer({ dir })]
after(async () => {
  for (const server of servers) await server.close()
  await rm(dir, { recursive: true })
})
for (const server of servers) {
  const url = server.url('file')
  const content = new HttpContent({
    ca: certificates.ca,
    stall: 5_000,
    httpProxy: undefined,
    httpsProxy: undefined,
    noProxy: [],
    hosts: ANYWHERE,
  })
  contract(`over ${new URL(url).protocol}`, { content, url, size: 200_000 })
}
