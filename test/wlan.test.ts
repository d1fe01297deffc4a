import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { describeWlan, readWlans } from '../src/adapters/system/wlan.ts'
import { wlan } from '../src/cli/doctor/network.ts'
import { ProcessError } from '../src/domain/errors.ts'
import type { Runner } from '../src/ports/runner.ts'

// What `pi-adu status` and `doctor` say of WLAN.

let root: string
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'wlan-'))
  for (const name of ['eth0', 'wlan0/phy80211', 'wlan1/phy80211'])
    await mkdir(join(root, 'sys/class/net', name), { recursive: true })
  await mkdir(join(root, 'proc/net'), { recursive: true })
  await writeFile(
    join(root, 'proc/net/wireless'),
    'Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n wlan0: 0000   58.  -52.  -256        0      0      0      0      0        0\n wlan1: 0000    0  -256  -256        0      0      0      0      0        0\n',
  )
})
after(() => rm(root, { recursive: true }))

/** As networkctl(1) of systemd 257 has it, without what nobody reads. */
const link = (name: string, more: object): string =>
  `${JSON.stringify({ Index: 3, Name: name, Type: 'wlan', OperationalState: 'routable', ...more })}\n`
const STATION = { WirelessLanInterfaceType: 2, WirelessLanInterfaceTypeString: 'station' }
const ACCESS_POINT = { WirelessLanInterfaceType: 3, WirelessLanInterfaceTypeString: 'ap', SSID: 'Pi' }
const LINKS: Readonly<Record<string, string>> = {
  wlan0: link('wlan0', { ...STATION, SSID: 'Pi (2) ☕', BSSID: [2, 0, 0, 0, 1, 0] }),
  wlan1: link('wlan1', STATION),
}

function runnerOf(trouble?: string, links = LINKS): Runner {
  const run: Runner['run'] = async argv => {
    if (argv[0] === 'networkctl') return links[argv.at(-1)!] ?? ''
    if (trouble !== undefined) return trouble
    throw new ProcessError('INTERNAL', 'ENOENT', argv)
  }
  return { run, runQuietly: async () => {} }
}

test('an interface has its network and its signal, and one without a network has none', async () => {
  const found = await readWlans(runnerOf(), root)
  assert.deepEqual(found, [{ name: 'wlan0', ssid: 'Pi (2) ☕', signal: -52 }, { name: 'wlan1' }])
  assert.deepEqual(found.map(describeWlan), ['wlan0 is in "Pi (2) ☕", signal -52 dBm', 'wlan1 is in no network'])
  assert.deepEqual(await readWlans(runnerOf(), join(root, 'nowhere')), [])
  for (const damaged of ['', '[]', 'null', link('wlan0', { ...STATION, SSID: 7 }), '{"SSID":"Pi"}'])
    assert.deepEqual((await readWlans(runnerOf('', { wlan0: damaged }), root))[0], { name: 'wlan0', signal: -52 })
})

test('without networkd, as in Raspberry Pi OS, the network is the one in the text of networkctl', async () => {
  const saying = async (line: string) => {
    const run: Runner['run'] = async argv => {
      if (argv[0] !== 'networkctl' || argv.includes('--json=short')) throw new ProcessError('INTERNAL', '1', argv)
      return `● 3: ${argv.at(-1)}\n                  Type: wlan\n${line}\n`
    }
    return (await readWlans({ run, runQuietly: async () => {} }, root))[0]?.ssid
  }
  assert.equal(await saying('    Wi-Fi access point: Home (5 GHz) (02:00:00:00:01:00)'), 'Home (5 GHz)')
  assert.equal(await saying('    Wi-Fi access point: Pi (00:00:00:00:00:00)'), undefined)
  assert.equal(await saying('    Wi-Fi access point: (null) (00:00:00:00:00:00)'), undefined)
  assert.equal(await saying('                 State: no-carrier'), undefined)
})

test('an access point is in no network, and no trouble of another radio is its own', async () => {
  const links = { wlan0: link('wlan0', STATION), wlan1: link('wlan1', ACCESS_POINT) }
  assert.deepEqual((await readWlans(runnerOf('', links), root))[1], { name: 'wlan1', isAccessPoint: true })
  assert.deepEqual(
    (await wlan(runnerOf('WLAN Home: the password is wrong', links), root)).map(({ is, says }) => [is, says]),
    [
      ['warn', 'WLAN Home: the password is wrong'],
      ['skip', 'wlan1 is an access point'],
    ],
  )
})

test('doctor: no line without a radio; in a network it is ok; trouble is a warning with what to do', async () => {
  assert.deepEqual(await wlan(runnerOf(), join(root, 'nowhere')), [])
  const plain = await wlan(runnerOf(), root)
  assert.deepEqual(
    plain.map(({ is, says }) => [is, says]),
    [
      ['ok', 'wlan0 is in "Pi (2) ☕", signal -52 dBm'],
      ['skip', 'wlan1 is in no network'],
    ],
  )
  const [, second] = await wlan(runnerOf('WLAN Home: the password is wrong'), root)
  assert.deepEqual([second?.is, second?.says], ['warn', 'WLAN Home: the password is wrong'])
  assert.match(second?.remedy ?? '', /NAME\.psk/)
})
