import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { CHOICE } from '../bench/qemu/choice.ts'
import { BOOT_MS, type Guest } from '../bench/qemu/guest.ts'
import type { Changes } from '../bench/qemu/system.ts'
import { encodeBootEnv } from '../bench/workbench/boot-env.ts'
import { Fleet, type Report, UPDATE_MS } from './fleet.ts'

// One device lives through all of this, in this order: what it is after one test is where the next one begins.
let fleet: Fleet
let guest: Guest

const PANICS = { 'usr/sbin/init': '#!/bin/sh\nexit 1\n' }
const HANGS = { 'usr/sbin/init': '#!/bin/sh\necho this init hangs\nwhile :; do sleep 1000; done\n' }
const OFFLINE = { 'etc/systemd/network/20-wired.network': undefined }
const TRIES = 2
/** Seconds, so that a test of a hanging system need not wait for the two minutes that a busy machine is given. */
const WATCHDOG = 45

before(async () => {
  fleet = await Fleet.make()
  const health = { timeoutSeconds: 60, retrySeconds: 3 }
  guest = await fleet.flash({ piAdu: { health, bootState: { tries: TRIES } }, extra: `adu.watchdog=${WATCHDOG}` })
})
after(async () => {
  await guest?.powerCut()
  await fleet?.end()
})

const machine = () => guest.machine!
const shell = async (command: string) => (await machine().shell(command)).output.trim()

/** What the device is, asked of the device; the agent has no part in the answer. */
async function slotAndVersion(): Promise<string> {
  const text = await shell('sed "s/.*adu.slot=\\(.\\).*/slot \\1/" /proc/cmdline; cat /etc/adu-version')
  return text.split(/\s+/).join(' ')
}

/** A root shell on the serial line, once this boot has come so far. */
async function login(from = 0): Promise<void> {
  await machine().login(BOOT_MS, from)
}

const identity = () => shell('sha256sum /data/adu/du-config.json /data/adu/hub-ca.pem /etc/machine-id | cut -c1-64')

/** The choices of the boot script since `from`. */
function choices(from: number): string[] {
  const text = machine().serial.slice(from)
  return [...text.matchAll(new RegExp(CHOICE, 'g'))].map(match => `${match[1]} ${match[2]}`)
}

function assertApplied(report: Report): void {
  assert.equal(report.lastInstallResult?.resultCode, 700, JSON.stringify(report.lastInstallResult))
}

function assertFailed(report: Report, why: RegExp): void {
  assert.equal(report.lastInstallResult?.resultCode, 0, JSON.stringify(report.lastInstallResult))
  assert.match(report.lastInstallResult?.resultDetails ?? '', why)
}

let known: string

test('a flashed card that was given its identity connects', async () => {
  const started = performance.now()
  await guest.powerOn()
  await fleet.connected()
  say('the first start: power-on to connected', started)
  await login()
  assert.equal(await slotAndVersion(), 'slot a 1.0.0')
  const left = await shell('ls /boot/firmware')
  for (const name of ['du-config.json', 'hub-ca.pem']) assert.doesNotMatch(left, new RegExp(name))
  assert.equal(await shell('stat -c "%a %U" /data/adu/du-config.json'), '600 adu')
  assert.match(await shell('cat /proc/cmdline'), / fsck\.repair=yes .* adu\.trial=none /)
  // What the data partition can grow to depends on it.
  assert.equal(await shell('stat -f -c %S /data'), '4096')
  known = await identity()
  console.log(`# RSS of the agent, idle, in KiB: ${await shell('ps -o rss= -u adu | sort -n | tail -1')}`)
})

// The first slot b is empty, slot a holds a system that differs by its version only.
for (const [version, slot, most] of [
  ['2.0.0', 'b', 1.05],
  ['3.0.0', 'a', 0.1],
] as const) {
  test(`an update over the network is committed in slot ${slot}, and reported`, async () => {
    const update = await fleet.author(version)
    const from = machine().now
    const wrote = await bytesWritten()
    const workflow = fleet.deploy(update)
    await machine().waitFor(/"event":"install.end"/, UPDATE_MS, from)
    const written = ((await bytesWritten()) - wrote) / (await imageBytes())
    console.log(`# slot ${slot}: bytes written to the disk for each byte of the image: ${written}`)
    assert.ok(written < most, `${written}`)
    await machine().waitFor(/"event":"reboot"/, UPDATE_MS, from)
    const ordered = performance.now()
    assertApplied(await fleet.ended(workflow))
    say('reboot order to committed report', ordered)
    await login(from)
    assert.equal(await slotAndVersion(), `slot ${slot} ${version}`)
    assert.deepEqual(choices(from), [`${slot} trial`])
    assert.match(await shell('fw_printenv'), new RegExp(`primary=${slot}\\s+trial=none`))
    assert.equal(await identity(), known)
  })
}

const FALL_BACKS: readonly [string, Changes, string[], RegExp, string?][] = [
  ['panics', PANICS, ['b trial', 'b trial', 'a fell back'], /never started the agent/],
  ['has an init that hangs', HANGS, ['b trial', 'b trial', 'a fell back'], /never started the agent/],
  ['never connects', OFFLINE, ['b trial', 'a trial failed before'], /the hub was not reached/],
  ['is not what was ordered', {}, ['b trial', 'a trial failed before'], /4\.4\.4/, '4.4.4'],
]
for (const [number, [what, changes, expected, why, criteria]] of FALL_BACKS.entries()) {
  test(`a system that ${what} falls back by itself, and the twin says why`, async () => {
    const version = `4.0.${number}`
    const update = await fleet.author(version, changes, criteria)
    const from = machine().now
    const workflow = fleet.deploy(update)
    await machine().waitFor(/"event":"reboot"/, UPDATE_MS, from)
    const ordered = performance.now()
    const report = await fleet.ended(workflow)
    say(`${what}: reboot order to the report after the fall-back`, ordered)
    console.log(`# ${what}: ${report.lastInstallResult?.resultDetails}`)
    assertFailed(report, why)
    assert.deepEqual(choices(from), expected)
    await login(lastChoice(from))
    assert.equal(await slotAndVersion(), 'slot a 3.0.0')
    assert.equal(await identity(), known)
  })
}

test('the power is cut in the middle of an install, right after activation, and in the trial boot', async () => {
  const update = await fleet.author('5.0.0')
  let from = machine().now
  const workflow = fleet.deploy(update)
  await machine().waitFor(/"event":"install.progress"/, UPDATE_MS, from)
  await guest.powerCut()

  // It starts over by itself, from the slot it had.
  const started = performance.now()
  await guest.powerOn()
  await machine().waitFor(CHOICE, BOOT_MS)
  await fleet.connected()
  say('a later start: power-on to connected', started)
  assert.deepEqual(choices(0), ['a committed'])
  await machine().waitFor(/"event":"reboot"/, UPDATE_MS)
  await guest.powerCut()

  await guest.powerOn()
  await machine().waitFor(CHOICE, BOOT_MS)
  assert.deepEqual(choices(0), ['b trial'])
  from = machine().now
  await machine().waitFor(/"event":"agent.started"/, BOOT_MS)
  await guest.powerCut()

  // The trial has another try.
  await guest.powerOn()
  assertApplied(await fleet.ended(workflow))
  assert.deepEqual(choices(0), ['b trial'])
  await login()
  assert.equal(await slotAndVersion(), 'slot b 5.0.0')
  assert.equal(await identity(), known)
})

test('a trial that nobody settles is restarted by the image, even in emergency mode and without a boot state', async () => {
  // 20 minutes after the start, which is not waited for here.
  assert.match(await shell('systemctl show -P TimersMonotonic pi-adu-trial-guard.timer'), /OnBootUSec=20min/)
  await guest.powerCut()
  await guest.card.put({ 'boot.env': encodeBootEnv({ primary: 'b', trial: 'pending', tries: 2 }) })
  fleet.bench.hub.faults.inject({ kind: 'refuseConnections', times: 'always', how: 'unavailable' })
  await guest.powerOn()
  await login()
  assert.deepEqual(choices(0), ['b trial'])
  const soon = '/run/systemd/system/pi-adu-trial-guard.timer.d'
  await shell('systemctl stop pi-adu-agent; umount /boot/firmware')
  await shell(`mkdir -p ${soon}; printf "[Timer]\\nOnBootSec=\\nOnActiveSec=20s\\n" > ${soon}/soon.conf`)
  await shell('systemctl daemon-reload; systemctl restart pi-adu-trial-guard.timer')
  const from = machine().now
  machine().send('systemctl isolate emergency.target\n')
  await machine().waitFor(/pi-adu: slot b \(trial\), trial pending, 0 tries left/, BOOT_MS, from)
})

function say(what: string, since: number): void {
  console.log(`# ${what}: ${((performance.now() - since) / 1000).toFixed(1)} s`)
}

/** Where the boot script chose for the last time. */
function lastChoice(from: number): number {
  const matches = [...machine().serial.slice(from).matchAll(new RegExp(CHOICE, 'g'))]
  return from + (matches.at(-1)?.index ?? 0)
}

/** By the disk's own count of sectors. */
async function bytesWritten(): Promise<number> {
  // The agent's log comes over the same line.
  const text = await shell("awk '{print $7}' /sys/block/vda/stat")
  return Number(/^\d+\r?$/m.exec(text)?.[0]) * 512
}

async function imageBytes(): Promise<number> {
  return (await stat(fleet.system.root)).size
}
