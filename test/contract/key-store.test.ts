import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { FileKeyStore } from '../../src/adapters/files/key-store.ts'
import { FakeDevice } from '../workflow/fake-device.ts'

const folder = await mkdtemp(join(tmpdir(), 'keys-'))
after(() => rm(folder, { recursive: true }))

let count = 0
for (const [name, make] of [
  ['the fake', () => new FakeDevice().plainPorts().keyStore],
  ['a file', () => new FileKeyStore(join(folder, `new-${count++}`, 'rootkeys.json'))],
] as const) {
  describe(`KeyStore: ${name}`, () => {
    test('is empty at first', async () => assert.equal(await make().read(), undefined))

    test('gives back the bytes that were written last', async () => {
      const store = make()
      await store.write(Buffer.from('first, and longer'))
      await store.write(Buffer.from([0, 255, 10, 13]))
      assert.deepEqual([...((await store.read()) ?? [])], [0, 255, 10, 13])
    })
  })
}

describe('a file only', () => {
  test('is for the agent alone, and leaves nothing beside it', async () => {
    const file = join(folder, 'rootkeystore', 'rootkeys.json')
    await new FileKeyStore(file).write(Buffer.from('{}'))
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    assert.deepEqual(await readdir(join(folder, 'rootkeystore')), ['rootkeys.json'])
  })

  test('what cannot be read or written is an AgentError', async () => {
    const file = join(folder, 'no-folder')
    await writeFile(file, '')
    const store = new FileKeyStore(join(file, 'rootkeys.json'))
    await assert.rejects(store.read(), { code: 'PACKAGE_STORE' })
    await assert.rejects(store.write(Buffer.alloc(1)), { code: 'PACKAGE_STORE' })
  })
})
