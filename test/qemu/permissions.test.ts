import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { BOOT_MS, type Guest } from '../bench/qemu/guest.ts'
import { Fleet } from './fleet.ts'
import { until as untilOf } from './until.ts'

let fleet: Fleet
let guest: Guest
before(async () => {
  fleet = await Fleet.make()
  guest = await fleet.flash({ extra: 'adu.owner=wishes' })
  await guest.card.put({
    'Pi Net.psk': '[Security]\nPassphrase=wrong password\n',
    'Office.psk': '[Security]\nPassphrase=any password\n[Settings]\nHidden=true\n',
    'country.txt': 'Germany\n',
    'rpi-preseed.toml': '[locale]\ntimezone = "Europe/Berlin"\n',
  })
  await guest.powerOn()
  await fleet.connected()
  await guest.machine!.login(BOOT_MS)
})
after(async () => {
  await guest?.powerCut()
  await fleet?.end()
})

const until = (what: string, command: string) =>
  untilOf(guest, what, command, {
    more: 'networkctl list; journalctl -b -u iwd -u systemd-networkd -u wlan-retry -o short-monotonic -n 60',
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
  ['lines of the owner for the firmware', ': >> /boot/firmware/usercfg.txt'],
  ['config.txt', 'chmod u+w /boot/firmware/config.txt || : >> /boot/firmware/config.txt'],
  ['a new file on the boot partition', ': > /boot/firmware/new'],
  ['the boot state, away', 'rm /boot/firmware/boot.env'],
  ['/etc', ': > /etc/new'],
  ['the version file', ': >> /etc/adu-version'],
  ['its own program', ': >> /usr/lib/pi-adu/pi-adu.mjs'],
  ['certificates of others', ': >> /data/adu/hub-ca.pem'],
  ['keys of the owner', ': > /data/ssh/authorized_keys'],
  ['the settings of the step service', ': > /etc/pi-adu/steps.json'],
  ['a handler of the owner', ': > /usr/lib/pi-adu/handlers.d/new'],
  ['what the step service remembers', ': > /data/adu-steps/new'],
  ['a unit of its own', 'systemd-run --no-ask-password true'],
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

test('the agent has a limit of memory and tasks, and reaches neither groups nor a metadata service', async () => {
  const { output } = await guest.machine!.shell('systemctl show -P MemoryMax -P TasksMax pi-adu-agent | xargs')
  assert.equal(output.trim(), `${256 * 2 ** 20} 128`)
  // UDP is told at once; a TCP connection that is denied is only never made.
  const send = (host: string): string =>
    `/usr/bin/node -e "require(\\"dgram\\").createSocket(\\"udp4\\").send(\\"x\\", 9, \\"${host}\\", e => { console.log(e ? e.code : \\"sent\\"); process.exit() })"`
  assert.match((await asAgent(send('169.254.169.254'))).output, /EPERM/)
  assert.match((await asAgent(send('224.0.0.251'))).output, /EPERM/)
  // The bench's machine.
  assert.match((await asAgent(send('10.0.2.2'))).output, /sent/)
})

/** What comes back for an empty order. */
const EMPTY_ORDER = `/usr/bin/node -e "require(\\"net\\").connect(\\"/run/pi-adu-steps/socket\\").on(\\"error\\", e => console.log(e.code)).on(\\"data\\", d => process.stdout.write(d)).write(\\"{}\\\\n\\")"`

test('the step service starts for the agent, not for another user, and takes no order that is not signed', async () => {
  const other = await guest.machine!.shell(`setpriv --reuid=65534 --regid=65534 --clear-groups sh -c '${EMPTY_ORDER}'`)
  assert.match(other.output, /EACCES/)
  const stateOf = async () => (await guest.machine!.shell('systemctl is-active pi-adu-steps.service')).output.trim()
  assert.equal(await stateOf(), 'inactive')
  const { output } = await asAgent(EMPTY_ORDER)
  assert.match(output, /STEP_REFUSED/)
  assert.equal(await stateOf(), 'active')
  await until('the end of the step service', '[ "$(systemctl is-active pi-adu-steps.service)" = inactive ]')
})

test('the agent itself tells systemd that it is alive; a program that runs beside it cannot', async () => {
  const show = async (name: string) => (await guest.machine!.shell(`systemctl show -P ${name} pi-adu-agent`)).output
  assert.match(await show('ActiveState'), /^active$/m)
  assert.match(await show('NotifyAccess'), /^main$/m)
  // The agent's log comes over the same line.
  const [fed] = /^\d+(?=\r?$)/m.exec(await show('WatchdogTimestampMonotonic')) ?? []
  assert.ok(fed)
  await asAgent('NOTIFY_SOCKET=/run/systemd/notify systemd-notify STATUS=forged WATCHDOG=1 --no-block')
  assert.doesNotMatch(await show('StatusText'), /forged/)
  const { output } = await guest.machine!.shell('journalctl -b -u pi-adu-agent -o cat')
  assert.doesNotMatch(output, /systemd\.unreachable/)
  // It comes each third of the unit's three minutes.
  await until('a sign of life', `! systemctl show -P WatchdogTimestampMonotonic pi-adu-agent | grep -qx ${fed}`)
})

test('the host is named after the device, and finds itself by that name', async () => {
  const { output } = await guest.machine!.shell(
    'cat /proc/sys/kernel/hostname; getent hosts "$(uname -n)" >/dev/null && echo found',
  )
  assert.deepEqual(output.trim().split(/\s+/), ['pi1', 'found'])
})

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

/** What the agent can do, and which of it a program can do that it starts as SWUpdate, with all the walls around it. */
const AS_SWUPDATE: readonly [label: string, command: string, allowed: boolean][] = [
  ['certificate', 'cat /etc/swupdate/certificate.pem', true],
  ['key', 'cat /data/adu/du-config.json', false],
  ['key-by-its-other-name', 'cat /etc/adu/du-config.json', false],
  ['state', 'ls /data/adu/state', false],
  ['state-written', ': > /data/adu/state/new', false],
  ['state-read', 'cat /data/adu/state/new', false],
  ['boot-state', 'cat /boot/firmware/boot.env', false],
  ['boot-state-written', ': >> /boot/firmware/boot.env', false],
  ['slot', 'head -c 1 /dev/pi-adu/b', false],
  ['slot-written', 'dd if=/dev/zero of=/dev/pi-adu/b bs=512 count=1 conv=notrunc', false],
  ['temporary-folder', ': > /tmp/new', false],
]
for (const [what, command] of AS_SWUPDATE) {
  test(`the agent itself can do it: ${what}`, async () => {
    const { code, output } = await asAgent(command)
    assert.equal(code, 0, output)
  })
}

test('what the agent starts as SWUpdate opens neither key nor journal, neither boot state nor slot', async () => {
  const { machine } = guest
  const root = async (command: string): Promise<void> => {
    const { code, output } = await machine!.shell(command)
    assert.equal(code, 0, output)
  }
  const more: typeof AS_SWUPDATE = [
    ['running-slot', 'head -c 1 /dev/pi-adu/a', false],
    ['agent', 'cat /proc/$PPID/environ', false],
    ['signal', 'kill -0 $PPID', false],
    ['own-folder', ': > new', true],
  ]
  const all = [...AS_SWUPDATE, ...more]
  await root('mkdir /run/probe && mount -t tmpfs -o exec,mode=755 probe /run/probe && cd /run/probe')
  await root("echo '#!/bin/sh' > swupdate")
  for (const [label, command] of all) {
    await root(
      `echo 'if (${command}) >/dev/null 2>&1; then yes="$yes ${label}"; else no="$no ${label}"; fi' >> swupdate`,
    )
  }
  await root(`echo 'echo "[ERROR] : yes:$yes"; echo "[ERROR] : no:$no"; exit 1' >> swupdate; chmod 755 swupdate`)
  // In the agent's mounts only.
  const agent = '$(systemctl show -P MainPID pi-adu-agent)'
  await root(`nsenter -t ${agent} -m mount --bind /run/probe/swupdate /usr/bin/swupdate`)
  const report = await fleet.ended(fleet.deploy(await fleet.author('2.0.0')))
  const labels = (allowed: boolean) => all.flatMap(([label, , each]) => (each === allowed ? [label] : [])).join(' ')
  const said = report.lastInstallResult?.resultDetails ?? ''
  assert.ok(said.includes(`yes: ${labels(true)} | no: ${labels(false)}`), said)
})

const output = async (command: string) => (await guest.machine!.shell(command)).output.trim()

/** The second radio is the access point, in the same iwd. Its router is none of this machine, which would take no route to itself. */
const RADIOS = [
  'mkdir -p /run/systemd/network /run/systemd/system/pi-adu-console.service.d',
  "printf '[Match]\\nName=wlan1\\n[Network]\\nAddress=10.9.0.1/24\\nDHCPServer=yes\\n[DHCPServer]\\nRouter=10.9.0.254\\n' > /run/systemd/network/10-ap.network",
  'networkctl reload',
  'modprobe mac80211_hwsim radios=2',
].join('; ')
/** iwd refuses the change of mode while it still makes the device. */
const ACCESS_POINT = [
  'for i in $(seq 60); do iwctl device wlan1 set-property Mode ap; iwctl ap list | grep -q wlan1 && break; sleep 1; done',
  "iwctl ap wlan1 start 'Pi Net' 'right password' || { iwctl device list; iwctl ap list; false; }",
].join('; ')
const SCAN = 'iwctl station wlan0 scan >/dev/null 2>&1'

/** What the console says of a device whose agent has no hub. The image waits for a minute before it does. */
async function consoleSays(why: string): Promise<void> {
  const soon = '/run/systemd/system/pi-adu-console.service.d/soon.conf'
  const program = '/usr/lib/pi-adu/console /run/pi-adu-agent/agent.json /data/adu/du-config.json /dev/console 1'
  const { machine } = guest
  const from = machine!.now
  const { code, output: said } = await machine!.shell(
    `printf '[Service]\\nExecStart=\\nExecStart=${program}\\n' > ${soon}; systemctl daemon-reload; systemctl stop pi-adu-agent pi-adu-console; systemctl start pi-adu-console`,
  )
  assert.equal(code, 0, said)
  const [line] = await machine!.waitFor(/pi-adu: not connected: [^\n]*\n/, BOOT_MS, from)
  console.log(`# ${line.trim()}`)
  assert.match(line, /, address 10\.0\.2\.15 \(\w+\), /)
  assert.ok(line.trim().endsWith(`, ${why}`), line)
  assert.ok((await output('journalctl -b _SYSTEMD_UNIT=pi-adu-console.service -o cat -n 1')).endsWith(why))
}

test('WLAN: a country that is none is one line on the console and in the journal, and costs nothing else', async () => {
  const why = /country\.txt on the boot partition is refused and stays there: [^\n]*\n/
  const [line] = await guest.machine!.waitFor(why, BOOT_MS)
  console.log(`# ${line.trim()}`)
  assert.match(await output('journalctl -b -u pi-adu-provision -o cat'), why)
  const left = 'ls /boot/firmware | grep -ciE "psk|toml"; date +%Z; systemctl is-active iwd; ls /data/iwd'
  assert.match(await output(left), /^0\s+CES?T\s+inactive\s+Office\.psk\s+Pi Net\.psk$/)
})

test('WLAN: no network on the channels of the country is said so', async () => {
  const { code, output: said } = await guest.machine!.shell(
    `rm /boot/firmware/country.txt; echo US > /boot/firmware/country.txt; systemctl restart pi-adu-provision; ${RADIOS}`,
  )
  assert.equal(code, 0, said)
  await until('the country', 'grep -qx Country=US /run/iwd/main.conf')
  await until('the radio', 'iwctl station list | grep -q wlan0')
  await consoleSays('WLAN: no known network is in reach on the channels of US (Office, Pi Net)')
  assert.equal(await output('dmesg | grep -c "regulatory.db"'), '0')
})

test('WLAN: a wrong password is one line on the console, in the journal and in doctor', async () => {
  const { code, output: said } = await guest.machine!.shell(ACCESS_POINT)
  assert.equal(code, 0, said)
  const why = 'WLAN Pi Net: the password is wrong'
  await until('the wrong password', `{ ${SCAN}; /usr/lib/wlan/trouble | grep -qx "${why}"; }`)
  await consoleSays(why)
  assert.match(await output('pi-adu doctor'), new RegExp(`${why}$`, 'm'))
  assert.doesNotMatch(await output('pi-adu status; journalctl -b'), /wrong password/)
})

test('the agent restarts the system', async () => {
  const from = guest.machine!.now
  guest.machine!.send(`runuser -u adu -- systemctl --no-ask-password reboot\n`)
  await guest.machine!.waitFor(/pi-adu: slot a \(committed\)/, BOOT_MS, from)
})
