import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { BOOT_MS, type Guest } from '../bench/qemu/guest.ts'
import { Fleet } from './fleet.ts'

let fleet: Fleet
let guest: Guest
before(async () => {
  fleet = await Fleet.make()
  guest = await fleet.flash({ extra: 'adu.owner=wishes' })
  await guest.powerOn()
  await fleet.connected()
  await guest.machine!.login(BOOT_MS)
})
after(async () => {
  await guest?.powerCut()
  await fleet?.end()
})

/** By the agent's user, without the walls that systemd puts around the agent: what is refused here is refused by the file modes. */
const asUser = (command: string) => guest.machine!.shell(`runuser -u adu -- sh -c '${command}'`)
/** By the agent's user, in the agent's own mounts and with its own control group's devices. */
const asAgent = (command: string) =>
  guest.machine!.shell(
    `pid=$(systemctl show -P MainPID pi-adu-agent); (echo $BASHPID > /sys/fs/cgroup$(cut -d: -f3 /proc/$pid/cgroup)/cgroup.procs; exec nsenter -t $pid -m -S 870 -G 870 -- sh -c '${command}')`,
  )

const FORBIDDEN: readonly [string, string][] = [
  ['the booted slot', 'dd if=/dev/zero of=/dev/pi-adu/a bs=512 count=1 conv=notrunc'],
  ['the whole disk', 'dd if=/dev/zero of=/dev/vda bs=512 count=1 conv=notrunc'],
  ['the boot partition as a device', 'dd if=/dev/zero of=/dev/vda1 bs=512 count=1 conv=notrunc'],
  ['the data partition as a device', 'dd if=/dev/zero of=/dev/vda4 bs=512 count=1 conv=notrunc'],
  ['the boot script', ': >> /boot/firmware/boot.scr'],
  ['U-Boot', ': >> /boot/firmware/u-boot.bin'],
  ['the environment of U-Boot', ': >> /boot/firmware/uboot.env'],
  ['kernel parameters that the owner has added', ': >> /boot/firmware/extra.env'],
  ['config.txt', 'chmod u+w /boot/firmware/config.txt || : >> /boot/firmware/config.txt'],
  ['a new file on the boot partition', ': > /boot/firmware/new'],
  ['the boot state, away', 'rm /boot/firmware/boot.env'],
  ['/etc', ': > /etc/new'],
  ['the version file', ': >> /etc/adu-version'],
  ['its own program', ': >> /usr/lib/pi-adu/pi-adu.mjs'],
  ['certificates of others', ': >> /data/adu/hub-ca.pem'],
  ['keys of the owner', ': > /data/ssh/authorized_keys'],
  ['power-off', 'systemctl --no-ask-password poweroff'],
  ['a unit', 'systemctl --no-ask-password stop dbus.service'],
]
for (const [what, command] of FORBIDDEN) {
  test(`the agent's user may not touch ${what}`, async () => {
    assert.notEqual((await asUser(command)).code, 0)
  })
  test(`the agent may not touch ${what}`, async () => {
    assert.notEqual((await asAgent(command)).code, 0)
  })
}

const ALLOWED: readonly [string, string][] = [
  ['the other slot', 'dd if=/dev/zero of=/dev/pi-adu/b bs=512 count=1 conv=notrunc'],
  ['the boot state', 'printf "tries=0\\n" | fw_setenv -s -'],
  ['its own folder', ': > /data/adu/state/new && rm /data/adu/state/new'],
]
for (const [what, command] of ALLOWED) {
  test(`the agent may write ${what}`, async () => {
    const { code, output } = await asAgent(command)
    assert.equal(code, 0, output)
  })
}

test('root is read-only for root too, and nobody has a password', async () => {
  const { code, output } = await guest.machine!.shell(
    ': > /etc/new; grep -vE "^[^:]+:(\\*|!\\*?|!!):" /etc/shadow; find / -xdev -perm -4000 -user root | sort',
  )
  assert.equal(code, 0)
  console.log(
    `# setuid programs: ${output
      .split('\n')
      .filter(line => line.startsWith('/'))
      .join(' ')}`,
  )
  assert.match(output, /Read-only file system/)
  assert.doesNotMatch(output, /^\w+:\$/m)
})

test('the agent restarts the system', async () => {
  const from = guest.machine!.now
  guest.machine!.send(`runuser -u adu -- systemctl --no-ask-password reboot\n`)
  await guest.machine!.waitFor(/pi-adu: slot a \(committed\)/, BOOT_MS, from)
})
