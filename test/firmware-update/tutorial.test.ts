import assert from 'node:assert/strict'
import { readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { execa } from 'execa'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { atEnd, tempDir } from '../hub/support.ts'
import { aMethodDevice } from './support.ts'

test('the tutorial’s service script, its connection string filled in, sees every stage', async t => {
  const { bench, device, publish } = await aMethodDevice(t, { stageSeconds: 3 })
  const uri = await publish(await bench.buildBundle({ tree: { version: '2.0.0' } }))
  const dir = await tempDir(t)
  const source = await readFile(join(repositoryRoot(), 'test/firmware-update/tutorial/service.cjs'), 'utf8')
  const script = join(dir, 'service.cjs')
  await writeFile(script, source.replace('{iothub connectionstring}', bench.hub.policyConnectionString('service')))
  await symlink(join(repositoryRoot(), 'node_modules'), join(dir, 'node_modules'))

  const app = execa('node', [script, 'pi1', uri], {
    env: bench.hub.childEnvironment(),
    reject: false,
    timeout: 120_000,
  })
  atEnd(t, async () => void app.kill())
  const seen: string[] = []
  for await (const line of app.iterable()) {
    if (line.startsWith('answer: ')) {
      assert.deepEqual(JSON.parse(line.slice(8)), { status: 200, payload: 'FirmwareUpdate started' })
      continue
    }
    const { status } = JSON.parse(line)
    if (status !== seen.at(-1)) seen.push(status)
    if (status === 'applyComplete') break
  }
  assert.deepEqual(seen, ['waiting', 'downloading', 'downloadComplete', 'applying', 'rebooting', 'applyComplete'])
  assert.equal((await device.status()).versions.b, '2.0.0')
})
