import assert from 'node:assert/strict'
import { copyFile, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { makeBundle } from '../../image/build/bundle.ts'
import { run } from '../../image/build/run.ts'
import { openSigner } from '../../image/build/signer.ts'
import { BOOT_MS, Fleet } from './fleet.ts'
import type { Guest } from './guest.ts'
import { bundleOf } from './system.ts'

// What must not happen to the booted system, whatever it is sent: one device, which stays where it is.
let fleet: Fleet
let guest: Guest
let image: string
before(async () => {
  fleet = await Fleet.make()
  guest = await fleet.flash()
  image = join(fleet.dir, 'small.zst')
  // Refused before it matters what is in it.
  await run(['sh', '-c', `head -c 4194304 ${fleet.system.root} | zstd -q -1 > ${image}`])
  await guest.powerOn()
  await fleet.connected()
  await guest.machine!.login(BOOT_MS)
})
after(async () => {
  await guest?.powerCut()
  await fleet?.end()
})

/** The deployment fails for this reason, and the device stays on slot a, connected, without a restart. */
async function refused(bundle: string, version: string, why: RegExp): Promise<void> {
  const from = guest.machine!.now
  const report = await fleet.ended(fleet.deploy(await fleet.import(bundle, version)))
  console.log(`# ${report.lastInstallResult?.extendedResultCodes}: ${report.lastInstallResult?.resultDetails}`)
  assert.equal(report.lastInstallResult?.resultCode, 0)
  assert.match(report.lastInstallResult?.resultDetails ?? '', why)
  assert.doesNotMatch(report.lastInstallResult?.resultDetails ?? '', /\n/)
  const text = guest.machine!.serial.slice(from)
  assert.doesNotMatch(text, /pi-adu: slot/)
  assert.match(text, /"mood":"failed"/)
  assert.match((await guest.machine!.shell('fw_printenv')).output, /primary=a\s+trial=none/)
  assert.ok(fleet.bench.hub.isConnected('pi1'))
}

test('a bundle for another board', async () => {
  const bundle = join(fleet.dir, 'board.swu')
  await makeBundle(bundle, { version: '2.0.1', image, signer: fleet.system.signer, revision: '9.9' })
  await refused(bundle, '2.0.1', /SWUpdate|swupdate|hardware|HW/)
})

test('a bundle signed by somebody else', async () => {
  const bundle = join(fleet.dir, 'stranger.swu')
  const signer = await openSigner(join(fleet.dir, 'stranger'))
  await makeBundle(bundle, { version: '2.0.2', image, signer })
  await refused(bundle, '2.0.2', /[Ss]ignature/)
})

test('a bundle that is not signed', async () => {
  const bundle = join(fleet.dir, 'unsigned.swu')
  const dir = join(fleet.dir, 'unsigned')
  await run(['mkdir', '-p', dir])
  await run(['sh', '-c', `printf 'software = { version = "2.0.3"; };\\n' > ${dir}/sw-description`])
  await run(['cpio', '--quiet', '-o', '-H', 'crc', '-F', bundle], {
    cwd: dir,
    stdin: 'pipe',
    input: 'sw-description\n',
  })
  await refused(bundle, '2.0.3', /./)
})

test('a bundle that was cut short before it was imported', async () => {
  const whole = await bundleOf(fleet.system, join(fleet.dir, 'bundles'), '2.0.4')
  const bundle = join(fleet.dir, 'short.swu')
  await copyFile(whole, bundle)
  await truncate(bundle, Math.floor((await stat(whole)).size / 20))
  await refused(bundle, '2.0.4', /./)
})

test('a configuration that does not parse is refused with one line, and the old one stays', async () => {
  await guest.machine!.shell('sync')
  await guest.powerCut()
  await guest.card.put({ 'du-config.json': '{ "schemaVersion": ' })
  const machine = await guest.powerOn()
  await fleet.connected()
  const [line] = await machine.waitFor(/du-config.json on the boot partition is refused.*/, BOOT_MS)
  console.log(`# ${line}`)
  assert.match(line, /is not valid JSON/)
  assert.match((await guest.card.list()).join(' ').toLowerCase(), /du-config\.json|du-con~1/)
})

test('a full data partition: the update fails and says why, and the device stays reachable', async () => {
  const machine = guest.machine!
  await machine.login(BOOT_MS)
  await machine.shell(
    'dd if=/dev/zero of=/data/full bs=1M 2>/dev/null; dd if=/dev/zero of=/data/full2 bs=1 count=4096 2>/dev/null',
  )
  const bundle = join(fleet.dir, 'board.swu')
  const workflow = fleet.deploy(await fleet.import(bundle, '2.0.1', '2.0.6'))
  const report = await fleet.ended(workflow)
  console.log(`# ${report.lastInstallResult?.resultDetails}`)
  assert.equal(report.lastInstallResult?.resultCode, 0)
  assert.ok(fleet.bench.hub.isConnected('pi1'))
  assert.match((await machine.shell('rm -f /data/full /data/full2; fw_printenv')).output, /primary=a\s+trial=none/)
})
