import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { BOOT_MS, type Guest } from '../bench/qemu/guest.ts'
import { taken } from '../every.ts'
import { accessPointLayer, HIDDEN, LAN } from './access-point.ts'
import { Fleet, UPDATE_MS } from './fleet.ts'
import { until as untilOf } from './until.ts'

// One device lives through all of this, in this order. Wire and WLAN are in one LAN; both reach the bench as 10.0.2.2.
let fleet: Fleet
let guest: Guest
/** Interfaces of the device. The radio's is looked up by the shell, since iwd makes it anew at each start, under the next free name. */
let wire: string
const RADIO = '$(basename $(dirname /sys/class/net/*/phy80211))'

const [SSID, PASSWORD] = ['Pi Net', 'right password']

before(async () => {
  fleet = await Fleet.make(async dir => [await accessPointLayer(join(dir, 'air'), SSID, PASSWORD)])
  guest = await fleet.flash({
    ...LAN,
    // A dead connection is found within two of these, with the default of 60 too; the trial has one try.
    piAdu: {
      hub: { caFile: '/data/adu/hub-ca.pem', keepAliveSeconds: 10 },
      health: { timeoutSeconds: 60, retrySeconds: 3 },
      bootState: { tries: 1 },
    },
  })
  await guest.card.put({
    [`${SSID}.psk`]: `[Security]\nPassphrase=${PASSWORD}\n`,
    [`${HIDDEN}.psk`]: `[Security]\nPassphrase=${PASSWORD}\n[Settings]\nHidden=true\n`,
  })
  await guest.powerOn()
  await fleet.connected()
  await guest.machine!.login(BOOT_MS)
})
after(async () => {
  await guest?.powerCut()
  await fleet?.end()
})

const output = async (command: string) => (await guest.machine!.shell(command)).output.trim()

const until = (what: string, command: string) =>
  untilOf(guest, what, command, {
    more: 'ip address; ip route; networkctl list; systemctl --failed; journalctl -b -u iwd -u air -u air-hidden -u air-radio -u systemd-networkd -o short-monotonic -n 80',
  })

const addressOf = (name: string) => `$(ip -4 -brief address show ${name} | grep -oE '10\\.0\\.2\\.[0-9]+')`
/** Succeeds if packets to the bench leave by this interface. */
const leavesBy = (name: string) => `ip -4 -o route get 10.0.2.2 | grep -q " dev ${name} "`
/** Succeeds if the agent has a connection from the address of this interface. */
const connectedFrom = (name: string) => `ss -Htn state established src "${addressOf(name)}" dst 10.0.2.2 | grep -q .`
const isJoined = `/usr/lib/wlan/connected && ip -4 -brief address show ${RADIO} | grep -q 10.0.2.`

/** The cable is pulled, or put back. */
const cable = (state: 'on' | 'off') => guest.machine!.monitor(`set_link net ${state}`)

test('WLAN: a network of the boot partition is joined, and the device gets an address', async () => {
  await until('the network', isJoined)
  wire = await output('basename -a /sys/class/net/en*')
  assert.match(wire, /^en\w+$/)
  assert.equal(await output('ls /boot/firmware | grep -c psk; /usr/lib/wlan/trouble'), '0')
  assert.match(await output(`networkctl status ${RADIO} --no-pager`), /State: routable \(configured\).*Pi Net/s)
})

test('WLAN: a hidden network that takes WPA3 only is joined, and the first one again when it is back', async () => {
  // Asked for a scan, because the pauses between those of iwd grow to minutes.
  const joins = (name: string, security: string) =>
    `iwctl station ${RADIO} scan >/dev/null 2>&1; iwctl station ${RADIO} show | grep -q "Connected network  *${name}" && iwctl station ${RADIO} show | grep -q "Security  *${security}" && ip -4 -brief address show ${RADIO} | grep -q 10.0.2.`
  const began = performance.now()
  await output('systemctl start air-hidden')
  await until('the hidden network', joins(HIDDEN, 'WPA3-Personal'))
  say('the hidden network: its access point instead of the first to an address', began)
  await output('systemctl start air')
  await until('the first network', joins(SSID, 'WPA2-Personal'))
})

test('WLAN: the wire has precedence while both are there, also for what others send', async () => {
  assert.equal(await output(`${leavesBy(wire)} && ${connectedFrom(wire)} && echo wire`), 'wire')
  // Both are in one LAN: who asks for the address of the wire must not be sent to the radio.
  const ask = (address: string) =>
    `ip -n air neighbour flush dev bridge; ip netns exec air bash -c "echo > /dev/udp/${address}/9"; for i in $(seq 20); do ip -n air neighbour show ${address} | grep -m1 -o "lladdr [0-9a-f:]*" && break; sleep 0.1; done`
  assert.equal((await guest.machine!.shell('ip -n air address add 10.0.2.100/24 dev bridge')).code, 0)
  for (const name of [wire, RADIO]) {
    const address = await output(`echo ${addressOf(name)}`)
    const found = await output(`for n in $(seq 5); do ${ask(address)}; done | sort -u`)
    assert.equal(found, `lladdr ${await output(`cat /sys/class/net/${name}/address`)}`)
  }
})

test('WLAN: it takes over when the cable is pulled, and the wire when it is put back', async () => {
  let from = guest.machine!.now
  let began = performance.now()
  await cable('off')
  await until('the way over WLAN', leavesBy(RADIO))
  say('the cable is pulled: packets leave by WLAN', began)
  await guest.waitForEvent('hub.connected', BOOT_MS, { from })
  say('the cable is pulled: connected again', began)
  await until('the connection over WLAN', connectedFrom(RADIO))

  from = guest.machine!.now
  began = performance.now()
  await cable('on')
  await until('the way over the wire', leavesBy(wire))
  say('the cable is back: packets leave by the wire', began)
  // The connection of the WLAN's address may go on.
  await until('a connection', `${connectedFrom(wire)} || ${connectedFrom(RADIO)}`)
  from = guest.machine!.now
  await output('systemctl restart pi-adu-agent')
  await guest.waitForEvent('hub.connected', BOOT_MS, { from })
  await until('the connection over the wire', connectedFrom(wire))
})

/** The tests of a device whose only link is WLAN, each of which takes an update. */
const ALONE: readonly [name: string, body: () => Promise<void>][] = [
  [
    'an update whose only link it is, is installed, and its trial commits',
    async () => {
      const from = guest.machine!.now
      const began = performance.now()
      const update = await fleet.author('2.0.0')
      const report = await fleet.ended(fleet.deploy(update))
      say('the update over WLAN: deployment to the committed report', began)
      assert.equal(report.lastInstallResult?.resultCode, 700, JSON.stringify(report.lastInstallResult))
      assert.equal((await guest.running()).version, '2.0.0')
      assert.equal(guest.events('hub.connected', from).length > 0, true)
      assert.equal(
        await output(`cat /sys/class/net/${wire}/carrier; ${isJoined} && ${connectedFrom(RADIO)} && echo air`),
        '0\nair',
      )
    },
  ],
  [
    'a system that cannot use it falls back by itself where there is no other link, and the twin says why',
    async () => {
      const version = await output('cat /etc/adu-version')
      const update = await fleet.author('3.0.0', { 'usr/lib/systemd/system/iwd.service': undefined })
      const began = performance.now()
      const report = await fleet.ended(fleet.deploy(update), UPDATE_MS)
      say('the fall-back: deployment to the report', began)
      const { resultCode, resultDetails = '' } = report.lastInstallResult ?? {}
      console.log(`# ${resultDetails}`)
      assert.equal(resultCode, 0, resultDetails)
      assert.match(
        resultDetails,
        /the hub was not reached.*; the trial boot reached the agent after \d+ s and never the network \(/,
      )
      assert.equal((await guest.running()).version, version)
      assert.equal(await output(`cat /sys/class/net/${wire}/carrier; ${isJoined} && echo air`), '0\nair')
    },
  ],
]
for (const [name, body] of taken(ALONE)) {
  test(`WLAN: ${name}`, async () => {
    await cable('off')
    await body()
  })
}

function say(what: string, since: number): void {
  console.log(`# ${what}: ${((performance.now() - since) / 1000).toFixed(1)} s`)
}
