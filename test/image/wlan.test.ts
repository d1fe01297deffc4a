import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { WLAN_LAYER } from '../../image/builder/data.ts'
import { readLayer } from '../../image/builder/layer.ts'

// The programs of image/layers/wlan, with a journal of iwd 3.8 and a /sys in place of the real ones.

const home = mkdtempSync(join(tmpdir(), 'wlan-'))
after(() => rmSync(home, { recursive: true, force: true }))
const program = (name: string): string => join(WLAN_LAYER, 'rootfs/usr/lib/wlan', name)

const FOUND = 'event: connect-info, ssid: Pi Net, bss: 02:00:00:00:01:00, signal: -30, load: 0/255'
const WRONG = '4-Way handshake failed for ifindex: 3, reason: 15'
const JOINED = 'event: state, old: connecting (auto), new: connected'
const CONNECTED = { carrier: '1', operstate: 'up' } as const

/** Of its JSON, the members that count; the last argument is the interface. */
const NETWORKCTL = `#!/bin/sh
for name; do :; done
case $name in wlan0) type=station ;; wlan1) type=ap ;; *) exit 1 ;; esac
echo '{"Index":3,"Name":"'$name'","Type":"wlan","WirelessLanInterfaceType":2,"WirelessLanInterfaceTypeString":"'$type'"}'
`

interface Seen {
  readonly journal?: readonly string[]
  readonly networks?: readonly string[]
  readonly country?: string
  readonly radio?: boolean
  /** Of the radio's interface, as the kernel says; undefined for one that is down, whose carrier cannot be read. */
  readonly carrier?: '0' | '1'
  readonly operstate?: 'up' | 'down' | 'dormant'
  /** A second radio, which is an access point that is up. */
  readonly accessPoint?: boolean
  /** The agent's state. */
  readonly agent?: string
}

interface Device {
  readonly trouble: () => string
  /** What it prints, and what it has ordered of systemd. */
  readonly retry: () => { readonly said: string; readonly ordered: string }
}

function device(seen: Seen): Device {
  const { journal = [], networks = ['Pi Net.psk'], country, radio = true, carrier, operstate = 'down' } = seen
  const { accessPoint = false, agent } = seen
  const dir = mkdtempSync(join(home, 'device-'))
  const sys = join(dir, 'sys')
  for (const folder of ['bin', 'iwd', 'sys/class/ieee80211', 'sys/class/net/eth0'])
    mkdirSync(join(dir, folder), { recursive: true })
  writeFileSync(join(sys, 'class/net/eth0/carrier'), '1\n')
  writeFileSync(join(sys, 'class/net/eth0/operstate'), 'up\n')
  if (radio) {
    mkdirSync(join(sys, 'class/ieee80211/phy0'))
    mkdirSync(join(sys, 'class/net/wlan0/phy80211'), { recursive: true })
    if (carrier !== undefined) writeFileSync(join(sys, 'class/net/wlan0/carrier'), `${carrier}\n`)
    writeFileSync(join(sys, 'class/net/wlan0/operstate'), `${operstate}\n`)
  }
  if (accessPoint) {
    mkdirSync(join(sys, 'class/net/wlan1/phy80211'), { recursive: true })
    writeFileSync(join(sys, 'class/net/wlan1/carrier'), '1\n')
    writeFileSync(join(sys, 'class/net/wlan1/operstate'), 'up\n')
  }
  if (agent !== undefined) writeFileSync(join(dir, 'agent.json'), agent)
  for (const name of networks) writeFileSync(join(dir, 'iwd', name), '')
  if (country !== undefined) writeFileSync(join(dir, 'country'), country)
  writeFileSync(join(dir, 'journal'), journal.map(line => `${line}\n`).join(''))
  writeFileSync(join(dir, 'bin/journalctl'), `#!/bin/sh\ncat ${dir}/journal\n`, { mode: 0o755 })
  writeFileSync(join(dir, 'bin/networkctl'), NETWORKCTL, { mode: 0o755 })
  writeFileSync(join(dir, 'bin/systemctl'), `#!/bin/sh\necho "$@" >>${dir}/ordered\n`, { mode: 0o755 })
  writeFileSync(join(dir, 'ordered'), '')
  const env = { ...process.env, PATH: `${join(dir, 'bin')}:${process.env.PATH}` }
  const output = (name: string, argv: readonly string[]): string => {
    const { stdout, stderr } = spawnSync(program(name), argv, { env, encoding: 'utf8' })
    return `${stdout}${stderr}`
  }
  const files = [join(dir, 'iwd'), join(dir, 'country')]
  return {
    trouble: () => output('trouble', [...files, sys]),
    retry: () => ({
      said: output('retry', [sys, join(dir, 'agent.json'), ...files]),
      ordered: readFileSync(join(dir, 'ordered'), 'utf8'),
    }),
  }
}

const SAID: readonly [what: string, seen: Seen, said: string][] = [
  ['no network', { networks: [] }, ''],
  ['no radio', { radio: false }, 'WLAN: the kernel has found no radio\n'],
  ['in a network', { ...CONNECTED, journal: [FOUND, JOINED] }, ''],
  ['in a network, of which the journal has nothing left', CONNECTED, ''],
  ['in a network, with an older failure in what is left of the journal', { ...CONNECTED, journal: [WRONG] }, ''],
  ['in a network, while another radio is an access point', { ...CONNECTED, accessPoint: true }, ''],
  [
    'a wrong password, while another radio is an access point',
    { accessPoint: true, journal: [FOUND, WRONG] },
    'WLAN Pi Net: the password is wrong\n',
  ],
  [
    'a handshake that is not over',
    { carrier: '1', operstate: 'dormant', journal: [FOUND, WRONG] },
    'WLAN Pi Net: the password is wrong\n',
  ],
  [
    'a wrong password',
    { journal: [FOUND, WRONG, 'event: connect-failed, status: 1'] },
    'WLAN Pi Net: the password is wrong\n',
  ],
  [
    'a wrong password of WPA3',
    { journal: [FOUND, 'event: connect-failed, status: 15'] },
    'WLAN Pi Net: the password is wrong\n',
  ],
  [
    'no answer',
    { journal: [FOUND, 'event: authentication-timeout, ', 'event: connect-failed, status: 1'] },
    'WLAN Pi Net: the access point does not answer, or the password is wrong\n',
  ],
  [
    'a refusal',
    { journal: [FOUND, 'event: connect-failed, status: 17'] },
    'WLAN Pi Net: the access point does not let it in (status 17)\n',
  ],
  ['a mended password', { ...CONNECTED, journal: [FOUND, WRONG, FOUND, JOINED] }, ''],
  [
    'a network that was lost',
    { journal: [FOUND, JOINED, 'event: disconnect-info, reason: 3'] },
    'WLAN: no known network is in reach (Pi Net)\n',
  ],
  ['nothing in reach', { networks: ['Home.psk', 'Work.8021x'] }, 'WLAN: no known network is in reach (Home, Work)\n'],
  [
    'nothing in reach in a country',
    { country: 'US\n' },
    'WLAN: no known network is in reach on the channels of US (Pi Net)\n',
  ],
  [
    'an SSID with a line end and an escape in it',
    { journal: ['event: connect-info, ssid: a\u001b[2J, bss: 0', WRONG] },
    'WLAN a[2J: the password is wrong\n',
  ],
]
for (const [what, seen, said] of SAID)
  test(`the console says of ${what}`, () => assert.equal(device(seen).trouble(), said))

const RESTART = 'try-restart iwd.service\n'
const RETRIED: readonly [what: string, seen: Seen, ordered: string][] = [
  ['is restarted after a failed handshake', { carrier: '0', journal: [FOUND, WRONG] }, RESTART],
  ['is restarted without a word in the journal', {}, RESTART],
  ['is restarted, though another radio is an access point', { accessPoint: true, journal: [FOUND, WRONG] }, RESTART],
  ['is restarted where the agent has no hub', { agent: '{"hub":{"connected":false,"why":"x"}}' }, RESTART],
  ['is left alone in a network', { ...CONNECTED, journal: [FOUND, JOINED] }, ''],
  ['is left alone in a network, of which the journal has nothing left', CONNECTED, ''],
  ['is left alone in a network, whatever the journal says', { ...CONNECTED, journal: [FOUND, WRONG] }, ''],
  ['is left alone while the agent has its hub by wire', { journal: [FOUND, WRONG], agent: '{"connected":true}' }, ''],
  ['is left alone without a network to join', { networks: [] }, ''],
]
for (const [what, seen, ordered] of RETRIED)
  test(`iwd ${what}`, () => {
    const result = device(seen).retry()
    assert.equal(result.ordered, ordered)
    assert.match(result.said, ordered === '' ? /^$/ : /^WLAN.*: trying again\n$/)
  })

test('iwd starts with the country of the card, or with none', () => {
  const [country, config] = [join(home, 'country'), join(home, 'main.conf')]
  const configure = (): string => {
    const { status, stderr } = spawnSync(program('configure'), [country, config], { encoding: 'utf8' })
    assert.equal(status, 0, stderr)
    return readFileSync(config, 'utf8')
  }
  assert.equal(configure(), '[General]\nEnableNetworkConfiguration=false\n')
  writeFileSync(country, 'DE\n')
  assert.equal(configure(), '[General]\nEnableNetworkConfiguration=false\nCountry=DE\n')
})

test('the layer is a layer like any other', async () => {
  const { name, firmware, modules } = await readLayer(WLAN_LAYER)
  assert.equal(name, 'wlan')
  assert.ok(firmware.includes('firmware-brcm80211 brcm/brcmfmac43455-sdio.bin'))
  assert.ok(modules.includes('brcmfmac'))
})
