import assert from 'node:assert/strict'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { repositoryRoot } from '../../image/builder/repository.ts'
import type { Finding } from '../../src/cli/doctor/finding.ts'
import type { Pi } from './pi.ts'
import { startRig } from './rig.ts'

const rig = await startRig()

async function doctor({ folder }: Pi, config = folder.config): Promise<Readonly<Record<string, Finding>>> {
  const program = join(repositoryRoot(), 'dist/src/main.js')
  const { stdout } = await execa('node', [program, 'doctor', '--config', config, '--json'], { reject: false })
  return Object.fromEntries((JSON.parse(stdout) as Finding[]).map(each => [each.name, each]))
}

/** Every file below the folder, with its content and time. */
async function contentsOf(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = names.filter(each => each.isFile()).map(each => join(each.parentPath, each.name))
  return Promise.all(
    files.sort().map(async file => `${file} ${(await stat(file)).mtimeMs} ${await readFile(file, 'base64')}`),
  )
}

rig.test('doctor finds a healthy device healthy, with its agent and without', {}, async pi => {
  await pi.ready()
  const before = await doctor(pi)
  const failing = Object.values(before).filter(({ is }) => is === 'fail')
  assert.deepEqual(failing, [])
  assert.equal(before.hub?.says, 'the agent is connected')
  assert.equal(before.slots?.is, 'ok')

  // An agent that cannot be asked is left in peace: a second connection would end its own.
  const config = JSON.parse(await readFile(pi.folder.config, 'utf8'))
  config.piAdu.controlSocket = join(pi.folder.run, 'nobody.sock')
  const other = join(pi.folder.run, 'other.json')
  await writeFile(other, JSON.stringify(config), { mode: 0o600 })
  const { connects } = pi.stats()
  assert.equal((await doctor(pi, other)).hub?.is, 'skip')
  assert.equal(pi.stats().connects, connects)

  await pi.powerCut()
  const files = await contentsOf(pi.folder.data)
  assert.equal((await doctor(pi)).hub?.says, 'the hub accepts this device')
  assert.deepEqual(await contentsOf(pi.folder.data), files)

  rig.bench.hub.faults.inject({ kind: 'refuseConnections', deviceId: pi.id, times: 'always', how: 'notAuthorized' })
  const refused = (await doctor(pi)).hub
  assert.equal(refused?.is, 'fail')
  assert.match(refused.remedy ?? '', /exists at the hub/)
  rig.bench.hub.faults.clear('refuseConnections')
})
