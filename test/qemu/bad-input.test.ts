import assert from 'node:assert/strict'
import { copyFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { makeBundle } from '../../image/builder/bundle.ts'
import { run } from '../../image/builder/run.ts'
import { openSigner } from '../../image/builder/signer.ts'
import { BOOT_MS, type Guest } from '../bench/qemu/guest.ts'
import { bundleOf } from '../bench/qemu/system.ts'
import { Fleet } from './fleet.ts'
import { ownerKey } from './owner-key.ts'

// What must not happen to the booted system, whatever it is sent: one device, which stays where it is.
let fleet: Fleet
let guest: Guest
let image: string
let config: Buffer
const key = ownerKey()
before(async () => {
  fleet = await Fleet.make()
  guest = await fleet.flash()
  image = join(fleet.dir, 'small.zst')
  // Refused before it matters what is in it.
  await run(['sh', '-c', 'head -c 4194304 "$1" | zstd -q -1 > "$2"', 'sh', fleet.system.root, image])
  config = (await guest.card.get('du-config.json'))!
  await guest.card.put({
    'du-config.json': '{ "schemaVersion": ',
    authorized_keys: key.authorized,
    // As a card has it that was pulled out while it was written; the data partition has no such file.
    'swupdate.pem': `${'\0'.repeat(512)}-----BEGIN CERTIFICATE-----`,
    'content-ca.pem': 'this is DER',
  })
})
after(async () => {
  await guest?.powerCut()
  await fleet?.end()
})

const machine = () => guest.machine!
const shell = async (command: string) => (await machine().shell(command)).output.trim()

/** Over SSH, as the owner: the words of one command. */
const REMOTE = 'ssh -i /tmp/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes'
const overSsh = (command: string, options = '') =>
  machine().shell(`${REMOTE} ${options} owner@localhost '${command}' 2>&1 </dev/null`)

/** How often the provisioning has said in the journal of this boot that it refuses the configuration. */
const refusals = () => shell("journalctl -b -u pi-adu-provision -o cat | grep -c 'is refused and stays there'")

test('a new card with a configuration that does not parse: one line, no agent, and the owner can come in', async () => {
  await guest.powerOn()
  const [line] = await machine().waitFor(/du-config.json on the boot partition is refused.*(?=\r?\n)/, BOOT_MS)
  console.log(`# ${line}`)
  assert.match(line, /du-config\.json is not valid JSON/)
  await machine().login(BOOT_MS)
  assert.equal(await refusals(), '3')
  const said = await shell('journalctl -b -u pi-adu-provision -o cat')
  assert.match(said, /content-ca\.pem .* it has no PEM certificate/)
  assert.match(said, /swupdate\.pem .* it begins with zeros/)
  assert.equal(
    await shell('cd /boot/firmware; ls -1 swupdate.pem content-ca.pem /data/adu/*.pem; rm swupdate.pem content-ca.pem'),
    ['/data/adu/hub-ca.pem', 'content-ca.pem', 'swupdate.pem'].join('\n'),
  )
  assert.equal(
    await shell('systemctl show -P ActiveState pi-adu-agent; ls /data/adu/du-config.json 2>&1'),
    ['inactive', "ls: cannot access '/data/adu/du-config.json': No such file or directory"].join('\n'),
  )

  await shell(`touch /tmp/key; chmod 600 /tmp/key; cat > /tmp/key <<'END'\n${key.pem}END`)
  await shell('for i in $(seq 60); do systemctl -q is-active ssh && break; sleep 1; done')
  const { code, output } = await overSsh('id -un; sudo id -un')
  assert.equal(code, 0, output)
  assert.match(output, /^owner\s+root\s*$/m)
  // The key, and nothing but the key; the owner, and nobody else.
  assert.notEqual((await overSsh('true', '-o PubkeyAuthentication=no')).code, 0)
  assert.notEqual((await machine().shell(`${REMOTE} root@localhost true 2>&1 </dev/null`)).code, 0)
})

test('the owner mends it over SSH, and the device connects', async () => {
  const text = JSON.stringify(JSON.parse(config.toString()))
  await shell(`cat > /tmp/mended <<'END'\n${text.replaceAll(/.{2000}/g, '$&\n')}\nEND`)
  const put = 'tr -d "\\n" < /tmp/mended | sudo tee /boot/firmware/du-config.json > /dev/null && sudo sync'
  const { code, output } = await overSsh(put)
  assert.equal(code, 0, output)
  const from = machine().now
  machine().send(`${REMOTE} owner@localhost sudo systemctl reboot\n`)
  await machine().waitFor(/pi-adu: slot a \(committed\)/, BOOT_MS, from)
  await fleet.connected()
  await machine().login(BOOT_MS, from)
  assert.equal(await shell('ls /boot/firmware/du-config.json 2>&1 | grep -c cannot'), '1')
})

/** The deployment fails for this reason, and the device stays on slot a, connected, without a restart. */
async function refused(bundle: string, version: string, why: RegExp): Promise<void> {
  const from = machine().now
  const report = await fleet.ended(fleet.deploy(await fleet.import(bundle, version)))
  const { resultCode, extendedResultCodes, resultDetails = '' } = report.lastInstallResult ?? {}
  console.log(`# ${extendedResultCodes}: ${resultDetails}`)
  assert.equal(resultCode, 0)
  assert.match(resultDetails, why)
  assert.doesNotMatch(resultDetails, /\n/)
  await guest.waitForEvent('mood', BOOT_MS, { from, is: ({ mood }) => mood === 'failed' })
  assert.deepEqual(
    guest.events('result', from).map(result => result.resultCode),
    [0],
  )
  assert.doesNotMatch(machine().serial.slice(from), /pi-adu: slot/)
  assert.match(await shell('fw_printenv'), /primary=a\s+trial=none/)
  assert.ok(fleet.bench.hub.isConnected('pi1'))
}

test('a bundle for another board', async () => {
  const bundle = join(fleet.dir, 'board.swu')
  await makeBundle(bundle, { version: '2.0.1', image, signer: fleet.system.signer, revision: '9.9' })
  await refused(bundle, '2.0.1', /[Hh]ardware|HW|compat/)
})

test('a bundle signed by somebody else', async () => {
  const bundle = join(fleet.dir, 'stranger.swu')
  const signer = await openSigner(join(fleet.dir, 'stranger'))
  await makeBundle(bundle, { version: '2.0.2', image, signer })
  await refused(bundle, '2.0.2', /[Ss]ignature|certificate/)
})

test('a bundle that is not signed', async () => {
  const bundle = join(fleet.dir, 'unsigned.swu')
  const dir = join(fleet.dir, 'unsigned')
  await run(['mkdir', '-p', dir])
  await writeFile(join(dir, 'sw-description'), 'software = { version = "2.0.3"; };\n')
  const input = 'sw-description\n'
  await run(['cpio', '--quiet', '-o', '-H', 'crc', '-F', bundle], { cwd: dir, stdin: 'pipe', input })
  await refused(bundle, '2.0.3', /the bundle is not signed/)
})

test('a bundle that was cut short before it was imported', async () => {
  const whole = await bundleOf(fleet.system, join(fleet.dir, 'bundles'), '2.0.4')
  const bundle = join(fleet.dir, 'short.swu')
  await copyFile(whole, bundle)
  await truncate(bundle, Math.floor((await stat(whole)).size / 20))
  await refused(bundle, '2.0.4', /SWUpdate|swupdate|short|cut/)
})

test('a full data partition: the update fails and says why, and the device stays reachable', async () => {
  // An application fills it, and the agent's state still fits. Then root does, and nothing fits.
  const stranger = 'setpriv --reuid=65534 --regid=65534 --clear-groups'
  await shell(`install -d -m 777 /data/app && ${stranger} dd if=/dev/zero of=/data/app/full bs=1M 2>/dev/null`)
  const state = '/data/adu/state/try'
  const fits = `runuser -u adu -- sh -c "dd if=/dev/zero of=${state} bs=64k count=16 conv=fsync 2>/dev/null && rm ${state}"`
  assert.equal((await machine().shell(fits)).code, 0)
  await shell('dd if=/dev/zero of=/data/full bs=1M 2>/dev/null; dd if=/dev/zero of=/data/full2 bs=512 2>/dev/null')
  const from = machine().now
  const workflow = fleet.deploy(await fleet.import(join(fleet.dir, 'board.swu'), '2.0.5'))
  const failed = () => fleet.report?.lastInstallResult?.resultDetails.includes('ENOSPC') ?? false
  await fleet.bench.hub.waitForReported('pi1', failed, { timeoutMs: BOOT_MS, what: 'that there is no space left' })
  console.log(`# ${fleet.report?.lastInstallResult?.resultDetails}`)
  assert.equal(fleet.report?.lastInstallResult?.resultCode, 0)
  assert.ok(fleet.bench.hub.isConnected('pi1'))
  assert.doesNotMatch(machine().serial.slice(from), /pi-adu: slot/)
  assert.match(await shell('fw_printenv'), /primary=a\s+trial=none/)
  // With room again it goes on by itself: to the verdict that this bundle deserves.
  await shell('rm -rf /data/full /data/full2 /data/app; sync')
  const goneOn = () => /[Hh]ardware|HW|compat/.test(fleet.report?.lastInstallResult?.resultDetails ?? '')
  await fleet.bench.hub.waitForReported('pi1', goneOn, { timeoutMs: BOOT_MS, what: `the end of ${workflow}` })
})

test('another configuration that does not parse: one line, a light, and the device goes on with the old one', async () => {
  await shell('printf "{ \\"schemaVersion\\": " > /boot/firmware/du-config.json; sync')
  const from = machine().now
  machine().send('systemctl reboot\n')
  await machine().waitFor(/pi-adu: slot a \(committed\)/, BOOT_MS, from)
  await fleet.connected()
  await machine().login(BOOT_MS, from)
  const said = machine()
    .serial.slice(from)
    .match(/du-config.json on the boot partition is refused.*/g)
  assert.equal(said?.length, 1)
  assert.match(said[0], /is not valid JSON/)
  assert.equal(await refusals(), '1')
  await guest.waitForEvent('mood', BOOT_MS, { from, is: ({ mood }) => mood === 'configRefused' })
  assert.equal(await shell('cat /boot/firmware/du-config.json'), '{ "schemaVersion":')
})

test('a configuration that breaks on the device: one line, exit code 78, no restarts; mended, it connects', async () => {
  await shell('rm /boot/firmware/du-config.json; cp -p /data/adu/du-config.json /tmp/good')
  await shell('systemctl stop pi-adu-agent; echo "{" > /data/adu/du-config.json; systemctl start pi-adu-agent')
  assert.equal(
    await shell('systemctl show -P ActiveState -P ExecMainStatus -P NRestarts pi-adu-agent | sort | tr "\\n" " "'),
    '0 78 failed',
  )
  const lines = await shell('journalctl -b -u pi-adu-agent -o cat | grep "^pi-adu: "')
  console.log(`# ${lines}`)
  const [line = '', ...more] = lines.split('\n')
  assert.match(line, /^pi-adu: \/etc\/adu\/du-config\.json is not valid JSON: line 2, column 1: /)
  assert.deepEqual(more, [])
  await shell('cp -p /tmp/good /data/adu/du-config.json; systemctl restart pi-adu-agent')
  await fleet.connected()
})

test('a factory reset by a file on the boot partition: identity and access stay, the rest is gone, and it connects', async () => {
  const kept = 'cat /data/adu/du-config.json /data/machine-id /data/ssh/* | sha256sum'
  const before = await shell(kept)
  await shell('touch /data/home/owner/mine /data/log/mine /data/mine /boot/firmware/factory-reset; sync')
  const from = machine().now
  machine().send('systemctl restart pi-adu-provision\n')
  await machine().waitFor(/factory reset: the identity is kept/, BOOT_MS, from)
  await machine().login(BOOT_MS, from)
  assert.equal(await shell(kept), before)
  assert.equal(
    await shell(
      'ls -d /data/home/owner/mine /data/log/mine /data/mine /data/reset /boot/firmware/factory-reset 2>/dev/null',
    ),
    '',
  )
  assert.equal(await shell('stat -c "%a %U" /data/adu/state /data/home/owner'), '700 adu\n750 owner')
  assert.match(await shell('journalctl -b -k -o cat'), /factory reset: done/)
  await guest.waitForEvent('hub.connected', BOOT_MS, { from })
})
