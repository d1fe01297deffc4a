import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { startRig } from './rig.ts'

const rig = await startRig()
const main = join(repositoryRoot(), 'dist/src/main.js')

rig.test('a second agent ends at once, names the first, and leaves it alone', {}, async pi => {
  await pi.events.waitFor('hub.connected')
  const holder = (await readFile(join(pi.folder.data, 'lock'), 'utf8')).trim()
  const second = promisify(execFile)(process.execPath, [main, 'run', '--config', pi.folder.config])
  const { code, stderr, stdout } = await second.then(
    () => assert.fail('the second agent ran'),
    (error: { code: number; stderr: string; stdout: string }) => error,
  )
  assert.equal(code, 75)
  assert.match(stderr, new RegExp(`^pi-adu: an agent runs on .* already: process ${holder}\\. Stop it first .*\\n$`))
  assert.equal(stdout, '')
  assert.equal((await pi.events.all('hub.lost')).length, 0)
  const id = pi.deploy(await rig.system('2.0.0'))
  await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
})
