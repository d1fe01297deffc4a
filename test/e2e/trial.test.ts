import assert from 'node:assert/strict'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readBootEnv } from '../bench/workbench/boot-env.ts'
import { FAILING_CHECK } from '../bench/workbench/root-tree.ts'
import { taken } from '../every.ts'
import { type Pi, type PiOptions, startRig } from './rig.ts'

/** The first boots of a new system: what it must earn, and what the twin says when it does not. */

const rig = await startRig()

/** Three seconds for the new system, two starts. */
const hasty: PiOptions = { tries: 2, piAdu: { health: { timeoutSeconds: 3, retrySeconds: 0.2 } } }

/** Restarts the machine, as when it loses power by itself. */
const RESTARTING_CHECK = '#!/bin/sh\n: > "$BOARD_ROOT/../reboot-request"\nsleep 5\n'
/** Passes at the second look. */
const SLOW_CHECK =
  '#!/bin/sh\n[ -e "$BOARD_ROOT/../seen" ] && exit 0\n: > "$BOARD_ROOT/../seen"\necho "not yet" >&2\nexit 1\n'

const FELL_BACK = '3210000C'
const HEALTH = '3210000D'
const CRITERIA = '32100004'

const failures: {
  readonly name: string
  readonly tree?: NonNullable<Parameters<typeof rig.system>[1]>['tree']
  readonly options?: PiOptions
  readonly code: string
  readonly details: RegExp
  /** Starts of the new system. */
  readonly trials: number
}[] = [
  {
    name: 'another version than installedCriteria',
    tree: { version: '2.0.1' },
    code: CRITERIA,
    details: /^fell back to the old system: the new system is version "2\.0\.1", but installedCriteria is "2\.0\.0"/,
    trials: 1,
  },
  {
    name: 'a version that only looks like installedCriteria',
    tree: { version: '2x0.0' },
    code: CRITERIA,
    details: /"2x0\.0"/,
    trials: 1,
  },
  {
    name: 'no version file',
    tree: { files: { 'etc/adu-version': '' } },
    code: CRITERIA,
    details: /version ""/,
    trials: 1,
  },
  {
    name: 'a health check that fails, in its own words',
    tree: { healthChecks: { modem: FAILING_CHECK } },
    code: HEALTH,
    details:
      /^fell back to the old system: not healthy within 3 s .*health check modem failed with exit code 1: this check never passes; the trial boot reached the hub after \d+ s \(/,
    trials: 1,
  },
  {
    name: 'a health check that cannot be run',
    tree: { healthChecks: { modem: '#!/bin/sh\r\nexit 0\r\n' } },
    code: HEALTH,
    details: /health check modem cannot be started: it has Windows line ends/,
    trials: 1,
  },
  {
    name: 'a health check that hangs',
    tree: { healthChecks: { modem: '#!/bin/sh\nsleep 60; exit 0\n' } },
    options: { ...hasty, piAdu: { health: { timeoutSeconds: 1, retrySeconds: 0.2, checkTimeoutSeconds: 1 } } },
    code: HEALTH,
    details: /health check modem did not end within 1 s/,
    trials: 1,
  },
  {
    name: 'an init that panics',
    tree: { init: 'panics' },
    code: FELL_BACK,
    details:
      /^the boot script fell back to the old system, all trial boots failed; it never started the agent; the last of 2 trial boots reached its root file system after \d+ s and never its services, and ended in a kernel panic: Attempted to kill init! \(/,
    trials: 2,
  },
  {
    name: 'no init at all',
    tree: { init: 'missing' },
    code: FELL_BACK,
    details:
      /never started the agent; the last of 2 trial boots reached its initramfs after \d+ s and never its root file system, and was given up by its initramfs: no \/sbin\/init/,
    trials: 2,
  },
  {
    name: 'an init that hangs',
    tree: { init: 'hangs' },
    options: { ...hasty, tries: 1, power: { watchdogMs: 4000 } },
    code: FELL_BACK,
    details: /never started the agent; the trial boot reached its root file system .*, and was ended by the watchdog/,
    trials: 1,
  },
  {
    name: 'a system that restarts once it has reached the hub',
    tree: { healthChecks: { modem: RESTARTING_CHECK } },
    code: FELL_BACK,
    details: /all trial boots failed; last milestone: .*; the last of 2 trial boots reached the (network|hub) after/,
    trials: 2,
  },
]

for (const { name, tree = {}, options = hasty, code, details, trials } of taken(failures)) {
  rig.test(`trial: ${name}`, options, async pi => {
    const id = pi.deploy(await rig.system('2.0.0', { tree }))
    await pi.expectResult(id, { resultCode: 0, code, details, version: '1.0.0' })
    await fellBack(pi, trials)
    // The old system is not spoilt for the next one.
    await pi.expectResult(pi.deploy(await rig.system('3.0.0')), { resultCode: 700, version: '3.0.0' })
  })
}

for (const [name, script, details] of [
  [
    'a unit has failed',
    'echo "old.service loaded failed failed Old"; grep -q adu.slot=a run/cmdline || echo "modem.service loaded failed failed New"',
    /: unit modem\.service failed; the trial boot reached the hub after \d+ s \(/,
  ],
  ['the units cannot be listed', 'echo "Failed to connect to bus" >&2; exit 1', /systemctl.*Failed to connect to bus/],
] as const) {
  const units = { ...hasty, piAdu: { health: { timeoutSeconds: 2, retrySeconds: 0.2, failedUnits: true } }, on: false }
  rig.test(`trial: ${name}`, units, async pi => {
    const programs = join(pi.folder.dir, 'programs')
    await mkdir(programs)
    await writeFile(join(programs, 'systemctl'), `#!/bin/sh\n${script}\n`)
    await chmod(join(programs, 'systemctl'), 0o755)
    await pi.switchOn({ environment: { PATH: `${programs}:${process.env.PATH}` } })
    const id = pi.deploy(await rig.system('2.0.0'))
    await pi.expectResult(id, { resultCode: 0, code: HEALTH, details, version: '1.0.0' })
    await fellBack(pi, 1)
  })
}

const NEWER_AGENT = fileURLToPath(new URL('newer-agent.js', import.meta.url))
rig.test(
  'trial: a newer agent that wrote a newer journal and fell back',
  { power: { agent: NEWER_AGENT } },
  async pi => {
    const id = pi.deploy(await rig.system('2.0.0'))
    const details =
      /^fell back to the old system: a check of the future has failed; the trial boot reached .* after \d+ s.* \(3210000D\)$/
    await pi.expectResult(id, { resultCode: 0, code: HEALTH, details, version: '1.0.0' })
    await fellBack(pi, 1)
    assert.equal((await pi.log.lines('journal.lost')).length + (await pi.log.lines('journal.recovered')).length, 0)
    await pi.expectResult(pi.deploy(await rig.system('3.0.0')), { resultCode: 700, version: '3.0.0' })
  },
)

rig.test('trial: the hub is never reached', hasty, async pi => {
  const id = pi.deploy(await rig.system('2.0.0'))
  await pi.events.waitFor('reboot')
  rig.bench.hub.setStatus(pi.id, 'disabled')
  await pi.power.waitForBoot(3, 30_000)
  assert.equal((await readBootEnv(pi.folder.bootEnv))?.trial, 'failed')
  rig.bench.hub.setStatus(pi.id, 'enabled')
  await pi.expectResult(id, {
    resultCode: 0,
    code: HEALTH,
    details:
      /the hub was not reached; the trial boot reached the (agent|network) after \d+ s and never the (network|hub)/,
    version: '1.0.0',
  })
  await fellBack(pi, 1)
})

rig.test('trial: a health check that passes at its second look', hasty, async pi => {
  const id = pi.deploy(await rig.system('2.0.0', { tree: { healthChecks: { modem: SLOW_CHECK } } }))
  await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
})

rig.test('trial: stray files beside the checks, and a check that leaves a process behind', hasty, async pi => {
  const stray = { 'etc/pi-adu/health.d/.gitkeep': '', 'etc/pi-adu/health.d/README': 'what is in here' }
  const tree = {
    files: stray,
    healthChecks: { '10-check~': FAILING_CHECK, '10-check': '#!/bin/sh\nsleep 60 & exit 0\n' },
  }
  const id = pi.deploy(await rig.system('2.0.0', { tree }))
  await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
})

rig.test('trial: a power cut costs a start, not the update', hasty, async pi => {
  const id = pi.deploy(await rig.system('2.0.0'))
  await pi.power.waitForBoot(2, 30_000)
  await pi.powerCut()
  await pi.switchOn()
  await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
})

async function fellBack(pi: Pi, trials: number): Promise<void> {
  const { boots, boot, booted } = await pi.power.status()
  assert.equal(boots.filter(({ slot }) => slot === 'b').length, trials)
  assert.deepEqual([boot?.primary, boot?.trial, booted], ['a', 'failed', 'a'])
}
