import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { BOOT_MS, type Guest } from '../bench/qemu/guest.ts'
import type { Changes } from '../bench/qemu/system.ts'
import { taken } from '../every.ts'
import { assertChoices, lastChoice, say, slotAndVersion } from './choices.ts'
import { Fleet, type Report, UPDATE_MS } from './fleet.ts'

// One device is given one bad system after another. It falls back each time, and is the same device afterwards.
let fleet: Fleet
let guest: Guest
let known: string

const PANICS = { 'usr/sbin/init': '#!/bin/sh\nexit 1\n' }
const HANGS = { 'usr/sbin/init': '#!/bin/sh\necho this init hangs\nwhile :; do sleep 1000; done\n' }
const FAILING = { 'etc/pi-adu/health.d/modem': '#!/bin/sh\necho the modem is silent >&2\nexit 1\n' }
/** Its agent ends at once, and nobody settles the trial. The image waits for 20 minutes then. */
const CRASHES = {
  'usr/lib/pi-adu/pi-adu.mjs': 'process.exit(3)\n',
  'etc/systemd/system/pi-adu-trial-guard.timer':
    '[Unit]\nDefaultDependencies=no\nAfter=pi-adu-agent.service\n[Timer]\nOnActiveSec=10s\nAccuracySec=1s\n',
}
/** Seconds, so that a test of a hanging system need not wait for the two minutes that a busy machine is given. */
const WATCHDOG = 45

before(async () => {
  fleet = await Fleet.make()
  guest = await fleet.flash({
    piAdu: { health: { timeoutSeconds: 30, retrySeconds: 3 }, bootState: { tries: 1 } },
    extra: `adu.watchdog=${WATCHDOG}`,
  })
  await guest.powerOn()
  await fleet.connected()
  await guest.machine!.login(BOOT_MS)
  known = await identity()
})
after(async () => {
  await guest?.powerCut()
  await fleet?.end()
})

const shell = async (command: string) => (await guest.machine!.shell(command)).output.trim()
const identity = () => shell('cd /data/adu && sha256sum du-config.json hub-ca.pem /etc/machine-id | cut -c1-64')

function assertFailed(report: Report, why: RegExp): void {
  assert.equal(report.lastInstallResult?.resultCode, 0, JSON.stringify(report.lastInstallResult))
  assert.match(report.lastInstallResult?.resultDetails ?? '', why)
}

/** A system that never connects is in wlan.test.ts. */
const FALL_BACKS: readonly [what: string, Changes, choices: string[], why: RegExp, criteria?: string][] = [
  [
    'panics',
    PANICS,
    ['b trial', 'b trial', 'a fell back'],
    /never started the agent; the last of 2 trial boots reached its root file system after \d+ s and never its services, and ended in a kernel panic: Attempted to kill init/,
  ],
  [
    'has an init that hangs',
    HANGS,
    ['b trial', 'a fell back'],
    /never started the agent; the trial boot reached its root file system after \d+ s and never its services, and was ended by the watchdog \(/,
  ],
  [
    'is not what was ordered',
    {},
    ['b trial', 'a trial failed before'],
    /4\.4\.4.*; the trial boot reached the (agent|network|hub) after \d+ s \(/,
    '4.4.4',
  ],
  [
    'fails its health check',
    FAILING,
    ['b trial', 'a trial failed before'],
    /health check modem failed with exit code 1: the modem is silent; the trial boot reached the hub after \d+ s \(/,
  ],
  [
    'has an agent that crashes',
    CRASHES,
    ['b trial', 'a fell back'],
    /its agent never came to work; (the trial boot|the last of \d+ trial boots) reached its services after \d+ s and never the agent, its agent ended (once|\d+ times) \(exited 3\), and was restarted because nobody settled it \(/,
  ],
]

async function setTries(tries: number): Promise<void> {
  const from = guest.machine!.now
  await shell(
    `sed -i -E 's/"tries": [0-9]+/"tries": ${tries}/' /data/adu/du-config.json; systemctl restart pi-adu-agent`,
  )
  await guest.waitForEvent('hub.connected', BOOT_MS, { from })
  known = await identity()
}

for (const [number, [what, changes, expected, why, criteria]] of taken(FALL_BACKS).entries()) {
  const tries = expected.filter(choice => choice === 'b trial').length
  test(`a system that ${what} falls back by itself, and the twin says why`, async () => {
    if (tries > 1) await setTries(tries)
    const version = `4.0.${number}`
    const update = await fleet.author(version, changes, criteria)
    const from = guest.machine!.now
    const workflow = fleet.deploy(update)
    await guest.waitForEvent('reboot', UPDATE_MS, { from })
    const ordered = performance.now()
    const report = await fleet.ended(workflow)
    say(`${what}: reboot order to the report after the fall-back`, ordered)
    console.log(`# ${what}: ${report.lastInstallResult?.resultDetails}`)
    assertFailed(report, why)
    assertChoices(guest, from, expected)
    await guest.machine!.login(BOOT_MS, lastChoice(guest, from))
    assert.equal(await slotAndVersion(guest), 'slot a 1.0.0')
    assert.equal(await identity(), known)
    if (tries > 1) await setTries(1)
    if (changes === CRASHES) assertRecord(await shell('pi-adu status --last'))
  })
}

/** The whole record of the last trial is on the device. */
function assertRecord(last: string): void {
  assert.match(last, /^trial {7}(the trial boot|the last of \d+ trial boots) reached its services/m)
  for (const name of ['initramfs', 'root', 'init', 'agent-ended exited 3', 'guard']) {
    assert.match(last, new RegExp(`\\d\\.\\d s {2}${name}\\s`))
  }
}
