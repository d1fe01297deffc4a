import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Pi, startRig } from './rig.ts'

/** A process that ends in the midst of an order, as for want of memory, and starts again. */

const rig = await startRig()
const two = await rig.system('2.0.0')

/** Kills the agent `times` times, each once it has begun to install. */
async function killed(pi: Pi, times: number): Promise<void> {
  for (let time = 1; time <= times; time++) {
    await pi.events.waitFor('install.begin', time)
    const pid = Number(await readFile(join(pi.folder.data, 'lock'), 'utf8'))
    process.kill(pid, 'SIGKILL')
  }
}

rig.test('an install in which the process ends three times is refused, and the twin says so', {}, async pi => {
  await pi.ready()
  rig.bench.content.faults[rig.contentPath(two)] = { bytesPerSecond: 100_000 }
  const id = pi.deploy(two)
  await killed(pi, 3)
  await pi.expectResult(id, { resultCode: 0, code: '32100060', details: /ended 3 times while it/, version: '1.0.0' })
  assert.equal((await pi.power.status()).boots.length, 1)
  delete rig.bench.content.faults[rig.contentPath(two)]
  // Ordered again, it is another attempt.
  const again = pi.deploy(two)
  await pi.expectResult(again, { resultCode: 700, version: '2.0.0' })
})

rig.test('two ends and a power cut are no such loop', {}, async pi => {
  await pi.ready()
  rig.bench.content.faults[rig.contentPath(two)] = { bytesPerSecond: 100_000 }
  const id = pi.deploy(two)
  await killed(pi, 2)
  await pi.events.waitFor('install.begin', 3)
  await pi.powerCut()
  await pi.switchOn()
  await pi.events.waitFor('install.begin', 4)
  await pi.powerCut()
  delete rig.bench.content.faults[rig.contentPath(two)]
  await pi.switchOn()
  await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
})
