import assert from 'node:assert/strict'
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { readLayout } from '../../image/builder/disk.ts'
import { run } from '../../image/builder/run.ts'
import { CHOICE } from '../bench/qemu/choice.ts'
import { BOOT_MS } from '../bench/qemu/guest.ts'
import { type BootEnv, encodeBootEnv } from '../bench/workbench/boot-env.ts'
import { decide } from '../bench/workbench/boot-rule.ts'
import { Fleet } from './fleet.ts'
import { UbootDisk } from './uboot-disk.ts'
import { readWriteLog, replay } from './write-log.ts'

let dir: string
let disk: UbootDisk
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'boot-state-'))
  disk = await UbootDisk.make(dir)
})
after(() => rm(dir, { recursive: true, force: true }))

/** What the boot script says on this disk, which stays as it is. */
async function choiceOn(path: string): Promise<string> {
  const machine = await disk.powerOn({ disk: path, more: ['-snapshot'] })
  try {
    const match = await machine.waitFor(CHOICE, 120_000)
    return match.slice(1, 5).join(' ').trim()
  } finally {
    await machine.powerCut()
  }
}

/** What the boot script says by the rule. */
function expected(env: BootEnv, backup: BootEnv): string {
  const decision = decide(env, backup)
  const { trial, tries } = decision.write ?? env
  return `${decision.boot} ${decision.reason} ${trial}${trial === 'pending' ? ` ${tries}` : ''}`
}

const committed = (primary: 'a' | 'b'): BootEnv => ({ primary, trial: 'none', tries: 0 })

const OWN_WRITES: readonly [string, BootEnv, BootEnv][] = [
  ['a try is counted', { primary: 'b', trial: 'pending', tries: 2 }, committed('a')],
  ['it falls back', { primary: 'b', trial: 'pending', tries: 0 }, committed('a')],
  ['it makes the second copy', committed('b'), committed('a')],
]
for (const [what, env, backup] of OWN_WRITES) {
  test(`the boot script: when ${what}, a power cut after any sector leaves the old state or the new one`, async () => {
    await disk.prepare({ 'boot.env': encodeBootEnv(env), 'boot.bak': encodeBootEnv(backup) })
    const copy = join(dir, 'cut.img')
    await copyFile(disk.path, copy)
    const log = join(dir, 'writes.log')
    await writeFile(log, '')
    const machine = await disk.powerOn({ writeLog: log })
    await machine.waitFor(CHOICE, 120_000)
    await machine.powerCut()
    const { write, backup: newBackup } = decide(env, backup)
    const right = new Set([expected(env, backup), expected(write ?? env, newBackup ?? backup)])
    const states: string[] = []
    const changes = await replay(copy, await readWriteLog(log), async () => {
      states.push(await choiceOn(copy))
    })
    console.log(`# ${what}: ${changes} sectors; ${[...new Set(states)].join(', then ')}`)
    assert.ok(changes > 0, 'nothing was written')
    for (const state of states) assert.ok(right.has(state), `${state} is not one of ${[...right].join(', ')}`)
    assert.equal(states.at(-1), [...right].at(-1))
  })
}

test('the agent: a power cut after any sector of its writes leaves the old state or the new one', async () => {
  const fleet = await Fleet.make()
  try {
    const guest = await fleet.flash({ writeLog: join(fleet.dir, 'writes.log') })
    const copy = join(fleet.dir, 'cut.img')
    await run(['cp', '--sparse=always', guest.card.path, copy])
    const machine = await guest.powerOn()
    await machine.login(BOOT_MS)
    await fleet.connected()
    const steps: readonly BootEnv[] = [
      { primary: 'b', trial: 'pending', tries: 3 },
      { primary: 'a', trial: 'none', tries: 0 },
      { primary: 'b', trial: 'failed', tries: 0 },
    ]
    // As the agent does it, and as the agent's user.
    for (const { primary, trial, tries } of steps) {
      const lines = `primary=${primary}\\ntrial=${trial}\\ntries=${tries}\\n`
      const command = `printf '${lines}' | runuser -u adu -- fw_setenv -c /etc/fw_env.config -s -`
      assert.equal((await machine.shell(command)).code, 0)
    }
    await machine.powerCut()

    const { boot } = await readLayout()
    const writes = await readWriteLog(join(fleet.dir, 'writes.log'), boot.start / 512, (boot.start + boot.size) / 512)
    const order = [committed('a'), ...steps].map(env => expected(env, committed('a')))
    const seen: string[] = []
    const changes = await replay(copy, writes, async () => {
      const state = await choiceOn(copy)
      if (seen.at(-1) !== state) seen.push(state)
    })
    console.log(`# the agent: ${changes} sectors of the boot partition; ${seen.join(', then ')}`)
    assert.deepEqual(seen, order)
  } finally {
    await fleet.end()
  }
})
