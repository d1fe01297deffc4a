import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { SystemConditions } from '../../src/adapters/system/conditions.ts'
import type { CommandLine } from '../../src/ports/runner.ts'
import { CALM } from '../gates/calm.ts'

const dir = await mkdtemp(join(tmpdir(), 'pi-adu-conditions-'))
after(() => rm(dir, { recursive: true }))

const locks = join(dir, 'locks')
const consentFile = join(dir, 'consent')
const timeSyncFile = join(dir, 'synchronized')
const conditions = (change: object = {}) =>
  new SystemConditions({
    locks,
    consentFile,
    timeSyncFile,
    time: { behind: () => 0, built: 7 },
    consentFor: 'reboot',
    metered: { interfaces: [] },
    busy: { units: [] },
    underVoltageSinceBoot: false,
    ...{ sys: join(dir, 'sys'), proc: join(dir, 'proc') },
    ...change,
  })

test('a device without any of these files', async () => {
  const facts = { ...CALM, consent: false, timeTrusted: false, notBefore: 7 }
  assert.deepEqual(await conditions().read(), facts)
  assert.deepEqual(await conditions({ consentFor: undefined }).read(), { ...facts, consent: undefined })
})

test('locks: empty, with an end and a reason, and what cannot be understood', async () => {
  await mkdir(locks)
  const all = ['download', 'install', 'reboot']
  const put = (name: string, text: string) => writeFile(join(locks, name), text)
  await put('a-empty', '')
  await put('b-till', '{"gates":["reboot"],"until":"2026-11-27T14:00:00Z","why":"a customer \\u001b[31m pays"}')
  await put('c-bad', '{"gates":["lunch"]}')
  await put('c-odd', '{"until":"2026-01-01T00:00:00+05"}')
  await put('d-none', 'hello')
  await put('e-huge', 'x'.repeat(5000))
  await put('.hidden', '')
  await mkdir(join(locks, 'f-folder'))
  await symlink('/nowhere', join(locks, 'g-gone'))
  const { locks: found } = await conditions().read()
  assert.deepEqual(
    found.map(({ name }) => name),
    ['a-empty', 'b-till', 'c-bad', 'c-odd', 'd-none', 'e-huge', 'f-folder'],
  )
  assert.deepEqual(found[0], { name: 'a-empty', gates: all, until: undefined, why: undefined })
  const why = 'a customer \\u001b[31m pays'
  assert.deepEqual(found[1], { name: 'b-till', gates: ['reboot'], until: Date.UTC(2026, 10, 27, 14), why })
  for (const each of found.slice(2)) {
    assert.deepEqual(each.gates, all, each.name)
    assert.match(each.why ?? '', /^its file cannot be understood \(.+\)$/)
  }
})

test('ten thousand locks do not cost ten thousand reads', async () => {
  const many = join(dir, 'many')
  await mkdir(many)
  for (let i = 0; i < 1000; i++) await writeFile(join(many, `lock-${i}`), '')
  assert.equal((await conditions({ locks: many }).read()).locks.length, 100)
})

test('consent is there until it was used', async () => {
  await writeFile(consentFile, '')
  const device = conditions()
  assert.equal((await device.read()).consent, true)
  await device.forgetConsent()
  assert.equal((await device.read()).consent, false)
  await device.forgetConsent()
})

test('the clock is trusted once it was synchronised, and is not behind what is known', async () => {
  await writeFile(timeSyncFile, '')
  assert.equal((await conditions().read()).timeTrusted, true)
  assert.equal((await conditions({ time: { behind: () => 1, built: 7 } }).read()).timeTrusted, false)
})

test('under-voltage is what the kernel says', async () => {
  const chip = join(dir, 'sys/class/hwmon/hwmon0')
  await mkdir(chip, { recursive: true })
  await writeFile(join(chip, 'name'), 'rpi_volt\n')
  assert.equal((await conditions().read()).underVoltage, undefined)
  await writeFile(join(chip, 'in0_lcrit_alarm'), '1\n')
  assert.equal((await conditions().read()).underVoltage, true)
})

test('a consent that cannot be removed is said: it would count for every update', async () => {
  const folder = join(dir, 'no-file')
  await mkdir(folder)
  await assert.rejects(conditions({ consentFile: folder }).forgetConsent(), /the consent .*no-file cannot be removed: /)
})

test('under-voltage that has passed counts only if configured: what the Pi kernel remembers, else what was seen', async () => {
  const alarm = join(dir, 'sys/class/hwmon/hwmon0/in0_lcrit_alarm')
  const [device, forgetful] = [conditions({ underVoltageSinceBoot: true }), conditions()]
  await writeFile(alarm, '1\n')
  for (const each of [device, forgetful]) await each.read()
  await writeFile(alarm, '0\n')
  assert.equal((await device.read()).underVoltage, false)
  assert.equal((await device.read()).wasUnderVoltage, true)
  assert.equal((await forgetful.read()).wasUnderVoltage, false)
  const firmware = join(dir, 'sys/devices/platform/soc/soc:firmware')
  await mkdir(firmware, { recursive: true })
  for (const [word, was] of [
    ['0', false],
    ['50000', true],
    ['40000', false],
    ['odd', false],
  ] as const) {
    await writeFile(join(firmware, 'get_throttled'), `${word}\n`)
    assert.equal((await conditions({ underVoltageSinceBoot: true }).read()).wasUnderVoltage, was, word)
  }
})

test('the emptiest battery of the device that is being discharged', async () => {
  const put = async (name: string, files: Readonly<Record<string, string>>) => {
    const folder = join(dir, 'sys/class/power_supply', name)
    await mkdir(folder, { recursive: true })
    for (const [file, text] of Object.entries(files)) await writeFile(join(folder, file), `${text}\n`)
  }
  const battery = async (batteryBelow?: number) => (await conditions({ batteryBelow }).read()).battery
  assert.equal(await battery(30), undefined)
  await put('mains', { type: 'Mains', online: '1' })
  await put('ups', { type: 'Battery', status: 'Charging', capacity: '5' })
  await put('keyboard', { type: 'Battery', scope: 'Device', status: 'Discharging', capacity: '1' })
  await put('odd', { type: 'Battery', status: 'Discharging', capacity: 'lots' })
  assert.equal(await battery(30), undefined)
  await put('ups', { type: 'Battery', status: 'Discharging', capacity: '55' })
  await put('second', { type: 'Battery', scope: 'System', status: 'Discharging', capacity: '40' })
  assert.equal(await battery(30), 40)
  assert.equal(await battery(), undefined, 'where batteries do not count nothing is read')
})

test('a metered network: the interface of the best default route, or a file', async () => {
  await mkdir(join(dir, 'proc/net'), { recursive: true })
  const flag = join(dir, 'metered')
  const why = async (interfaces: readonly string[]) =>
    (await conditions({ metered: { interfaces, file: flag } }).read()).metered
  assert.equal(await why(['wwan0']), undefined, 'without a route there is no network')
  const head = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT'
  const route = (name: string, to: string, metric: number, mask = '00000000', flags = '0003') =>
    `${name}\t${to}\t0102A8C0\t${flags}\t0\t0\t${metric}\t${mask}\t0\t0\t0`
  const routes = (...lines: readonly string[]) =>
    writeFile(join(dir, 'proc/net/route'), `${[head, ...lines].join('\n')}\n`)
  await routes(
    route('eth0', '00000000', 100),
    route('wwan0', '00000000', 700),
    route('wwan0', '0002A8C0', 0, '00FFFFFF'),
  )
  assert.equal(await why(['wwan0']), undefined)
  assert.equal(await why(['eth*']), 'the network is reached by eth0')
  await routes(route('eth0', '00000000', 100, '00000000', '0002'), route('wwan0', '00000000', 700))
  assert.equal(await why(['wwan0']), 'the network is reached by wwan0', 'a route that is down does not count')
  await routes()
  const zero = '0'.repeat(32)
  const six = (name: string, metric: string, flags: string) =>
    `${zero} 00 ${zero} 00 ${'fe8'.padEnd(32, '0')} ${metric} 00000001 00000000 ${flags} ${name.padStart(8)}`
  const lines = [
    six('lo', 'ffffffff', '00200200'),
    six('ppp0', '00000400', '00000003'),
    six('eth0', '00000401', '00000003'),
  ]
  await writeFile(join(dir, 'proc/net/ipv6_route'), `${lines.join('\n')}\n`)
  assert.equal(await why(['ppp*']), 'the network is reached by ppp0')
  assert.equal(await why(['eth0']), undefined)
  await writeFile(flag, '')
  assert.equal(await why([]), `${flag} exists`)
})

test('a busy device: a unit that is active, or whose state is not known, or a file', async () => {
  const flag = join(dir, 'busy')
  const asked: CommandLine[] = []
  const busy = async (said: string | Error, units: readonly string[] = ['one.service', 'two.service']) => {
    const run = async (argv: CommandLine): Promise<string> => {
      asked.push(argv)
      if (said instanceof Error) throw said
      return said
    }
    return (await conditions({ busy: { units, file: flag }, runner: { run } }).read()).busy
  }
  assert.equal(await busy('active', []), undefined)
  assert.equal(asked.length, 0)
  assert.equal(await busy('inactive\n\nfailed'), undefined)
  assert.deepEqual(asked[0]?.slice(-3), ['--', 'one.service', 'two.service'])
  assert.equal(await busy('inactive\n\nactive'), 'two.service is active')
  assert.equal(await busy('activating\n\ninactive'), 'one.service is activating')
  assert.match(
    (await busy(new Error('no bus'))) ?? '',
    /whether one.service or two.service is active is not known: no bus/,
  )
  await writeFile(flag, '')
  assert.equal(await busy('inactive\n\ninactive'), `${flag} exists`)
})
