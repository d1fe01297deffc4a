import assert from 'node:assert/strict'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { repositoryRoot } from '../../image/builder/repository.ts'
import type { Pi } from './pi.ts'
import { startRig } from './rig.ts'

const rig = await startRig()
const two = await rig.system('2.0.0')
const locks = (pi: Pi): string => join(pi.folder.data, 'locks')

async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  for (const limit = Date.now() + 90_000; !(await check()); await sleep(200)) {
    if (Date.now() > limit) throw new Error(`waited in vain for ${what}`)
  }
}

async function status({ folder }: Pi): Promise<string> {
  const program = join(repositoryRoot(), 'dist/src/main.js')
  return (await execa('node', [program, 'status', '--config', folder.config])).stdout
}

const withLocks = {
  configure: (config: Record<string, unknown>) => {
    const piAdu = config.piAdu as Record<string, object>
    piAdu.gates = { locks: join(String(config.dataFolder), 'locks') }
  },
}

rig.test('an application that takes a lock pauses the download, which goes on where it was', withLocks, async pi => {
  await pi.ready()
  await mkdir(locks(pi))
  const path = rig.contentPath(two)
  rig.bench.content.faults[path] = { bytesPerSecond: 400_000 }
  const id = pi.deploy(two)
  await until('the download', async () => (await status(pi)).includes('installing: '))
  const lock = join(locks(pi), 'till')
  await writeFile(lock, '{"gates":["download"],"why":"a customer pays"}')
  await until('the pause', async () => /locked by till: a customer pays/.test((await status(pi)).replace(/\s+/g, ' ')))
  const sent = rig.bench.content.stats[path]?.bytesSent
  await sleep(1500)
  assert.equal(rig.bench.content.stats[path]?.bytesSent, sent)
  const shown = pi.reports.map(({ lastInstallResult }) => lastInstallResult.resultDetails)
  assert.ok(shown.includes('the download is locked by till: a customer pays'), shown.join(' | '))
  delete rig.bench.content.faults[path]
  await rm(lock)
  await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
})
