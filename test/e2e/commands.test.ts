import assert from 'node:assert/strict'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { repositoryRoot } from '../../image/builder/repository.ts'
import type { Pi } from './pi.ts'
import { startRig } from './rig.ts'

const PROGRAM = join(repositoryRoot(), 'dist/src/main.js')

const rig = await startRig()
const two = await rig.system('2.0.0')

/** Somebody at the device types this. */
async function typed({ folder }: Pi, ...args: string[]): Promise<string> {
  const run = await execa('node', [PROGRAM, ...args, '--config', folder.config], { reject: false })
  return `${run.exitCode}: ${run.stdout}${run.stderr}`
}

async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  for (const limit = Date.now() + 90_000; !(await check()); await sleep(200)) {
    if (Date.now() > limit) throw new Error(`waited in vain for ${what}`)
  }
}

const withGates = {
  configure: (config: Record<string, unknown>) => {
    const data = String(config.dataFolder)
    const piAdu = config.piAdu as Record<string, object>
    piAdu.gates = { locks: join(data, 'locks'), consentFor: 'reboot', consentFile: join(data, 'consent') }
  },
}

rig.test('a lock, consent, and a rollback, as somebody at the device types them', withGates, async pi => {
  await pi.ready()
  const unknown = '1: pi-adu: slot b is not known to hold a whole system that was committed on this device'
  assert.equal(await typed(pi, 'rollback'), unknown)
  assert.match(await typed(pi, 'lock', 'till', '--for', '1h', '--gate', 'install', '--why', 'a sale'), /^0: locked by/)
  const id = pi.deploy(two)
  const shows = async (text: string) => (await typed(pi, 'status')).replace(/\s+/g, ' ').includes(text)
  await until('the lock', () => shows('the install is locked by till: a sale'))
  assert.equal(await typed(pi, 'consent'), '0: consented to the update workbench 2.0.0')
  assert.match(await typed(pi, 'rollback'), /^1: pi-adu: deployment \S+ is running: cancel it first$/)
  assert.equal(await typed(pi, 'unlock', 'till'), '0: the lock till is removed')
  await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })

  const words = '0: the device restarts into the other system, on trial; the cloud learns of it when that is settled'
  assert.equal(await typed(pi, 'rollback'), words)
  const isBack = () => pi.agent?.lastInstallResult.extendedResultCodes === '32100602'
  await pi.waitFor(isBack, 'the report of the rollback')
  assert.equal(await pi.version(), '1.0.0')
  assert.deepEqual([pi.agent?.state, pi.agent?.workflow.id], [255, id])
  const details = 'rolled back on the device from version "2.0.0" to version "1.0.0" in slot a (32100602)'
  assert.equal(pi.agent?.lastInstallResult.resultDetails, details)

  // There and back again: the new system was committed too.
  assert.equal(await typed(pi, 'rollback'), words)
  await until('the other system', async () => (await pi.version()) === '2.0.0' && (await shows('slot b')))
})
