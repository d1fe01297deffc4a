import assert from 'node:assert/strict'
import { join } from 'node:path'
import { execa } from 'execa'
import { repositoryRoot } from '../../image/builder/repository.ts'
import type { Pi } from './pi.ts'
import { startRig } from './rig.ts'

const rig = await startRig()
const two = await rig.system('2.0.0')

const status = async ({ folder }: Pi, ...more: string[]): Promise<string> => {
  const program = join(repositoryRoot(), 'dist/src/main.js')
  const { stdout } = await execa('node', [program, 'status', '--config', folder.config, ...more])
  return stdout
}

rig.test('status says whether the agent runs and is connected, and what both slots hold', {}, async pi => {
  await pi.ready()
  const before = await status(pi)
  assert.match(before, /^agent {7}running for [\d a-z]+ \(version \d/)
  assert.match(before, /\nhub {9}connected since \d{4}-\d\d-\d\d \d\d:\d\d UTC \([\d a-z]+\)\n/)
  assert.match(before, /\nslot a {6}1\.0\.0, booted, primary\nslot b {6}version unknown\nlast update none known\n/)

  const id = pi.deploy(two)
  await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
  const after = await status(pi)
  assert.match(after, /\nslot b {6}2\.0\.0, booted, primary\nslot a {6}1\.0\.0\nlast update \S+ \S+ 2\.0\.0, 20/)
  assert.equal(JSON.parse(await status(pi, '--json')).hub.connected, true)

  await pi.powerCut()
  assert.match(await status(pi), /^agent {7}not running\nslot b {6}2\.0\.0, booted/)
})

rig.test('status says why there is no connection', {}, async pi => {
  await pi.ready()
  rig.bench.hub.faults.inject({ kind: 'refuseConnections', deviceId: pi.id, times: 'always', how: 'notAuthorized' })
  rig.bench.hub.faults.inject({ kind: 'dropSockets', deviceId: pi.id })
  for (;;) {
    const text = await status(pi)
    if (/\nhub {9}not connected for [\d a-z]+: .*Not authorized/is.test(text)) break
    assert.match(text, /\nhub {9}/)
    await new Promise(resolve => setTimeout(resolve, 500))
  }
  rig.bench.hub.faults.clear('refuseConnections')
})
