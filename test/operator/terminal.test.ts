import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { packBundle } from '../../src/operator/bundle/pack.ts'
import { openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { EVIL, OBEYED } from '../domain/evil.ts'
import { aDevice, aHub, report, tempDir } from '../hub/support.ts'
import { operator } from './support.ts'

/** Nothing that a device, a hub or a file says commands the operator's terminal, in text and in JSON. */

function isSafe(output: string): void {
  assert.doesNotMatch(output, OBEYED)
  assert.match(output, /\\u009b31m/)
}

test('watch, and fleet, of a device that lies', async t => {
  const hub = await aHub(t)
  hub.createDevice('pi1')
  const { client, twin } = await aDevice(t, hub, 'pi1')
  const failed = {
    status: 'rolledBack',
    fwPackageUri: EVIL,
    error: { code: 1, message: EVIL },
    startedWaitingTime: EVIL,
  }
  const lastInstallResult = { resultCode: 0, extendedResultCodes: '0', resultDetails: EVIL, stepResults: null }
  const agent = { state: 255, workflow: { action: 3, id: EVIL }, lastInstallResult }
  await report(twin, { iothubDM: { firmwareUpdate: failed }, deviceUpdate: { __t: 'c', agent } })
  for (const more of [[], ['--json']]) {
    const { exitCode, stdout } = await operator(['watch', '--device', 'pi1', ...more], hub)
    assert.equal(exitCode, 0)
    isSafe(stdout)
  }
  client.onDeviceMethod('firmwareUpdate', (_request, response) => void response.send(409, EVIL, () => {}))
  const uri = ['--uri', 'https://files.example.com/2.0.0.swu', '--interval', '100']
  const { exitCode, stderr } = await operator(['trigger', '--device', 'pi1', ...uri], hub)
  assert.equal(exitCode, 2)
  isSafe(stderr)
  const fleet = ['fleet', '--query', 'SELECT * FROM devices', ...uri]
  for (const more of [[], ['--json']]) isSafe((await operator([...fleet, ...more], hub)).stdout)
})

test('show and check of files that lie', async t => {
  const dir = await tempDir(t)
  const signer = await openBundleSigner(dir)
  const bundle = join(dir, 'evil.swu')
  await writeFile(join(dir, 'image'), 'image')
  const description = `software = { version = "1\u009b31m"; hardware-compatibility: ["1.0\u009b31m"]; stable: { a: { images: (
    { filename = "i\u009b31m"; device = "/dev/\u001b[2J\u202e"; sha256 = "${'0'.repeat(64)}"; } ); }; }; }`
  await packBundle(bundle, description, [], signer)
  for (const more of [[], ['--json']]) isSafe((await operator(['bundle', 'show', bundle, ...more])).stdout)
  const manifest = join(dir, 'evil.json')
  await writeFile(manifest, JSON.stringify({ manifestVersion: EVIL, [EVIL]: 1 }))
  for (const more of [[], ['--json']]) isSafe((await operator(['import-manifest', 'check', manifest, ...more])).stdout)
})
