import assert from 'node:assert/strict'
import { cp, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { makeBundle } from '../../image/builder/bundle.ts'
import { IMAGE } from '../../image/builder/data.ts'
import { run } from '../../image/builder/run.ts'
import { CHOICE } from '../bench/qemu/choice.ts'
import { BOOT_MS, type Guest } from '../bench/qemu/guest.ts'
import { idOfBoard } from '../bench/qemu/provisioned.ts'
import { encodeBootEnv } from '../bench/workbench/boot-env.ts'
import { taken } from '../every.ts'
import { assertChoices, lastChoice, say, slotAndVersion } from './choices.ts'
import { Fleet, type Report, UPDATE_MS } from './fleet.ts'
import { pull, refusalOf } from './stick.ts'

// One device lives through all of this, in this order: what it is after one test is where the next one begins.
let fleet: Fleet
let guest: Guest

/** Of the board. Its configuration names neither hub nor device: it registers at the provisioning service. */
const SERIAL = '10000000ABCDEF01'
const TRIES = 2
before(async () => {
  // The example layer without its packages, which would be minutes more of building.
  fleet = await Fleet.make(
    async dir => {
      await cp(join(IMAGE, 'layers/hello'), join(dir, 'hello'), { recursive: true })
      await rm(join(dir, 'hello/packages.txt'))
      return [join(dir, 'hello'), join(IMAGE, 'layers/stick')]
    },
    { id: idOfBoard(SERIAL) },
  )
  const health = { timeoutSeconds: 60, retrySeconds: 3 }
  guest = await fleet.flash({
    ...{ serial: SERIAL, piAdu: { health, bootState: { tries: TRIES } } },
    more: ['-device', 'qemu-xhci,id=usb'],
  })
  await guest.card.put({ 'hello.token': 'sesame\n' })
})
after(async () => {
  await guest?.powerCut()
  await fleet?.end()
})

const machine = () => guest.machine!
const shell = async (command: string) => (await machine().shell(command)).output.trim()

/** A root shell on the serial line, once this boot has come so far. */
async function login(from = 0): Promise<void> {
  await machine().login(BOOT_MS, from)
}

const IDENTITY = ['du-config.json', 'hub-ca.pem', 'device.pem', 'device.key', 'state/identity/assignment.json']
const identity = () => shell(`cd /data/adu && sha256sum ${IDENTITY.join(' ')} /etc/machine-id | cut -c1-64`)

function assertApplied(report: Report): void {
  assert.equal(report.lastInstallResult?.resultCode, 700, JSON.stringify(report.lastInstallResult))
}

let known: string

test('a flashed card with the configuration of its batch and its own certificate registers by the serial number of the board, and connects', async () => {
  const started = performance.now()
  await guest.powerOn()
  await fleet.connected()
  say('the first start: power-on to connected', started)
  await login()
  assert.equal(await slotAndVersion(guest), 'slot a 1.0.0')
  const left = await shell('ls /boot/firmware')
  for (const name of ['du-config.json', 'hub-ca.pem', 'device.pem', 'device.key']) {
    assert.doesNotMatch(left, new RegExp(name.replace('.', '\\.')))
  }
  assert.equal(await shell('stat -c "%a %U" /data/adu/device.key'), '600 adu')
  assert.match(await shell('pi-adu identity'), new RegExp(`${fleet.id}\\b`))
  assert.equal(await shell('stat -c "%a %U" /data/adu/du-config.json'), '600 adu')
  assert.match(await shell('cat /proc/cmdline'), / fsck\.repair=yes .* adu\.trial=none\b/)
  // What the data partition can grow to depends on it.
  assert.equal(await shell('stat -f -c %S /data'), '4096')
  known = await identity()
  console.log(`# RSS of the agent, idle, in KiB: ${await shell('ps -o rss= -u adu | sort -n | tail -1')}`)
})

test('the example layer runs: its unit as its user, with a folder on data, a module, and the file of its card', async () => {
  assert.equal(await shell('systemctl is-active hello'), 'active')
  assert.equal(await shell('stat -c "%a %U %G" /data/hello'), '750 hello hello')
  assert.equal(await shell('echo $(stat -c "%a %U" /data/hello/token) $(cat /data/hello/token)'), '400 hello sesame')
  assert.equal(await shell('cat /data/hello/starts'), '1')
  assert.equal(await shell('modprobe -n ramoops && grep -c gpio=17=ip,pd /boot/firmware/config.txt'), '1')
  assert.match(await shell('pi-adu status'), /^layers {6}wlan 1\.0\.0, hello 1\.0\.0, stick 1\.0\.0/m)
  assert.equal(await shell('runuser -u adu -- /etc/pi-adu/health.d/hello && echo healthy'), 'healthy')
  assert.equal(await shell('ls /boot/firmware/hello.token 2>/dev/null | wc -l'), '0')
})

/** Until its end, an installation has written less than `most` bytes to the disk for each byte of the image. `before`: at its begin. */
async function assertWritten(most: number, from: number, before: number): Promise<void> {
  await guest.waitForEvent('install.end', UPDATE_MS, { from })
  const written = ((await bytesWritten()) - before) / (await imageBytes())
  console.log(`# bytes written to the disk for each byte of the image: ${written}`)
  assert.ok(written < most, `${written}`)
}

async function assertCommitted(slot: 'a' | 'b', version: string): Promise<void> {
  assert.equal(await slotAndVersion(guest), `slot ${slot} ${version}`)
  assert.match(await shell('fw_printenv'), new RegExp(`primary=${slot}\\s+trial=none`))
  assert.equal(await identity(), known)
}

test('an update over the network is committed in slot b, and reported', async () => {
  const update = await fleet.author('2.0.0')
  const [from, before] = [machine().now, await bytesWritten()]
  const workflow = fleet.deploy(update)
  // Slot b is empty.
  await assertWritten(1.05, from, before)
  await guest.waitForEvent('reboot', UPDATE_MS, { from })
  const ordered = performance.now()
  assertApplied(await fleet.ended(workflow))
  say('reboot order to committed report', ordered)
  await login(from)
  assertChoices(guest, from, ['b trial'])
  await assertCommitted('b', '2.0.0')
  assert.equal(await shell('cat /data/hello/starts'), '2')
})

test('a stick that is plugged in reaches the agent; one that cannot be used is one line, and costs nothing', async () => {
  const from = machine().now
  const damaged = await refusalOf(guest, fleet.dir, 'damaged', file =>
    run(['dd', 'if=/dev/urandom', `of=${file}`, 'bs=1M', 'count=8', 'conv=notrunc']),
  )
  assert.match(damaged, /^sd[a-z] (has no file system that can be recognised|cannot be mounted): .*damaged/)
  assert.match(await shell('pi-adu status'), /^stick {7}cannot be used: sd/m)
  await pull(guest, 'damaged')

  // What is in it matters to nobody: it is refused before.
  const image = join(fleet.dir, 'small.zst')
  await run(['sh', '-c', 'head -c 65536 /dev/urandom | zstd -q > "$1"', 'sh', image])
  const bundle = join(fleet.dir, 'older.swu')
  await makeBundle(bundle, { version: '0.9.0', image, signer: fleet.system.signer })
  const folder = join(fleet.dir, 'folder')
  await fleet.bench.writeOffline(await fleet.import(bundle, '0.9.0'), folder)
  const older = await refusalOf(guest, fleet.dir, 'older', async file => {
    await run(['mkfs.vfat', file])
    await run(['mcopy', '-i', file, join(folder, 'deployment.json'), '::'])
  })
  assert.match(older, /0\.9\.0/)
  assert.match(await shell('grep " /run/stick " /proc/mounts'), /^\S+ \S+ vfat ro,nosuid,nodev,noexec,/)
  assert.equal(guest.events('mood', from).at(-1)?.mood, 'failed')
  await pull(guest, 'older')
  assert.equal(await shell('systemctl --failed --no-legend | wc -l'), '0')
})

test('a card with this very system in a USB reader is not taken for the one that runs', async () => {
  const { image } = fleet.system
  await machine().monitor(`drive_add 0 if=none,id=twin,file=${image},format=raw,readonly=on`)
  await machine().monitor('device_add usb-storage,bus=usb.0,drive=twin,id=twin')
  // The letter of a stick that was pulled before may not be free yet.
  const fourth = await shell(
    'for i in $(seq 60); do ls -d /sys/block/sd*/sd*4 2>/dev/null && break; sleep 1; done; udevadm settle',
  )
  const disk = /\/(sd[a-z])4$/.exec(fourth)?.[1]
  assert.ok(disk, fourth)
  const links = `for n in 1 2 3 4; do udevadm info --query=symlink /dev/${disk}$n; done | tr -d "[:space:]"`
  assert.equal(await shell(links), '')
  assert.equal(await shell(`stat -c %G /dev/${disk}2 /dev/${disk}3 | sort -u`), 'disk')
  assert.match(
    await shell('readlink -f /dev/disk/by-partuuid/ad0ad0ad-04 /dev/pi-adu/other'),
    /^\/dev\/vda4\s+\/dev\/vda[23]$/,
  )
  assert.equal(await shell('grep -c /run/stick /proc/mounts'), '0')
  await machine().monitor('device_del twin')
})

const CUTS = ['in the middle of the install', 'right after activation', 'in the trial boot'] as const
const cuts = taken(CUTS)

test(`an update is committed in slot a, although the power is cut ${cuts.join(', and ')}`, async () => {
  const update = await fleet.author('3.0.0')
  let [from, expected, before] = [machine().now, ['a trial'], await bytesWritten()]
  const workflow = fleet.deploy(update)
  const [install, activation, trial] = CUTS.map(cut => cuts.includes(cut))
  if (install) {
    await guest.waitForEvent('install.progress', UPDATE_MS, { from })
    await guest.powerCut()
    // It starts over by itself, from the slot it had.
    const started = performance.now()
    await guest.powerOn()
    await machine().waitFor(CHOICE, BOOT_MS)
    await fleet.connected()
    say('a later start: power-on to connected', started)
    assertChoices(guest, 0, ['b committed'])
    await login()
    // With what this start has written.
    ;[from, expected, before] = [0, ['b committed', 'a trial'], 0]
  }
  // Slot a holds a system that differs by its version only.
  await assertWritten(0.1, from, before)
  await guest.waitForEvent('reboot', UPDATE_MS, { from })
  if (activation) {
    await guest.powerCut()
    await guest.powerOn()
    await machine().waitFor(CHOICE, BOOT_MS)
    assertChoices(guest, 0, ['a trial'])
    ;[from, expected] = [0, ['a trial']]
  }
  if (trial) {
    await guest.waitForEvent('agent.started', BOOT_MS, { from: machine().now })
    await guest.powerCut()
    // The trial has another try.
    await guest.powerOn()
    ;[from, expected] = [0, ['a trial']]
  }
  assertApplied(await fleet.ended(workflow))
  assertChoices(guest, from, expected)
  await login(lastChoice(guest, from))
  await assertCommitted('a', '3.0.0')
})

test('a trial that nobody settles is restarted by the image, even in emergency mode and without a boot state', async () => {
  // 20 minutes after the start, which is not waited for here.
  assert.match(await shell('systemctl show -P TimersMonotonic pi-adu-trial-guard.timer'), /OnBootUSec=20min/)
  await guest.powerCut()
  await guest.card.put({ 'boot.env': encodeBootEnv({ primary: 'a', trial: 'pending', tries: 2 }) })
  fleet.bench.hub.faults.inject({ kind: 'refuseConnections', times: 'always', how: 'unavailable' })
  await guest.powerOn()
  await login()
  assertChoices(guest, 0, ['a trial'])
  const soon = '/run/systemd/system/pi-adu-trial-guard.timer.d'
  await shell('systemctl stop pi-adu-agent; umount /boot/firmware')
  await shell(`mkdir -p ${soon}; printf "[Timer]\\nOnBootSec=\\nOnActiveSec=20s\\n" > ${soon}/soon.conf`)
  await shell('systemctl daemon-reload; systemctl restart pi-adu-trial-guard.timer')
  const from = machine().now
  machine().send('systemctl isolate emergency.target\n')
  await machine().waitFor(/pi-adu: slot a \(trial\), trial pending, 0 tries left/, BOOT_MS, from)
})

test('through all of this the device has registered once', () => {
  assert.equal(fleet.bench.hub.provisioning.registrationsOf(fleet.id), 1)
})

/** By the disk's own count of sectors. */
async function bytesWritten(): Promise<number> {
  // The agent's log comes over the same line.
  const text = await shell("awk '{print $7}' /sys/block/vda/stat")
  return Number(/^\d+\r?$/m.exec(text)?.[0]) * 512
}

async function imageBytes(): Promise<number> {
  return (await stat(fleet.system.root)).size
}
