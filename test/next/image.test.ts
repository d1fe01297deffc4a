import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { BOOT_MS, type Guest } from '../bench/qemu/guest.ts'
import { Fleet, UPDATE_MS } from '../qemu/fleet.ts'

// Run by scripts/test --next. One device lives through all of this.
let fleet: Fleet
let guest: Guest

before(async () => {
  fleet = await Fleet.make(undefined, { next: true })
  guest = await fleet.flash()
})
after(async () => {
  await guest?.powerCut()
  await fleet?.end()
})

const shell = async (command: string) => (await guest.machine!.shell(command)).output.trim()

test('an image with the next kernel and the next SWUpdate connects', async () => {
  await guest.powerOn()
  await fleet.connected()
  await guest.machine!.login(BOOT_MS)
  const [kernel = '', swupdate = ''] = (await shell('uname -r; swupdate --version')).split(/\s*\n\s*/)
  console.log(`# Linux ${kernel}, ${swupdate}`)
  assert.ok(Number.parseInt(kernel, 10) >= 7, kernel)
  assert.equal(await shell('stat -c "%U" /run/swupdate'), 'adu')
})

test('it installs an update over the network and commits it', async () => {
  const update = await fleet.author('2.0.0')
  const from = guest.machine!.now
  const workflow = fleet.deploy(update)
  await guest.waitForEvent('reboot', UPDATE_MS, { from })
  const report = await fleet.ended(workflow)
  assert.equal(report.lastInstallResult?.resultCode, 700, JSON.stringify(report.lastInstallResult))
  await guest.machine!.login(BOOT_MS, from)
  assert.equal(await shell('cat /etc/adu-version'), '2.0.0')
  assert.match(await shell('fw_printenv'), /primary=b\s+trial=none/)
  assert.ok(Number.parseInt(await shell('uname -r'), 10) >= 7)
})
