import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import type { Finding } from '../../src/cli/doctor/finding.ts'
import { deviceCertificate } from '../../src/cli/doctor/identity.ts'
import * as machine from '../../src/cli/doctor/machine.ts'
import { hubName, login, running } from '../../src/cli/doctor/network.ts'
import { steps } from '../../src/cli/doctor/steps.ts'
import { findingsText } from '../../src/cli/doctor/text.ts'
import { bootState, certificate, slots, swupdate } from '../../src/cli/doctor/update.ts'
import { readConfig } from '../../src/config/config.ts'
import { AgentError, HubError } from '../../src/domain/errors.ts'
import type { BootState } from '../../src/domain/slot.ts'
import type { BootControl } from '../../src/ports/boot-control.ts'
import type { Hub } from '../../src/ports/hub.ts'
import { selfSignedDevice } from '../bench/dps/authority.ts'
import { least } from '../config/examples.ts'

const dir = await mkdtemp(join(tmpdir(), 'pi-adu-doctor-'))
after(() => rm(dir, { recursive: true }))

async function put(name: string, text: string): Promise<string> {
  const path = join(dir, name)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, text)
  return path
}

/** Everything wrong comes with something to do about it. */
function expect({ is, says, remedy }: Finding, wanted: Finding['is'], words: RegExp): void {
  assert.equal(is, wanted, says)
  assert.match(says, words)
  if (is === 'warn' || is === 'fail') assert.match(remedy ?? '', /^[A-Z].+\.$/)
  else assert.equal(remedy, undefined)
}

test('a clock that is behind', () => {
  const now = Date.UTC(2026, 0, 1)
  expect(
    machine.clock({ behind: () => 86_400_000 }, now),
    'fail',
    /2026-01-01 00:00:00, but it is 2026-01-02 00:00:00 or later/,
  )
  expect(machine.clock({ behind: () => 0 }, now), 'ok', /2026-01-01/)
})

test('a data folder that is missing', async () => {
  expect(await machine.dataFolder(join(dir, 'nowhere')), 'fail', /nowhere cannot be used: ENOENT/)
  expect(await machine.dataFolder('/proc'), 'fail', /^0 MiB are free in \/proc/)
})

test('a board that is too hot, or has too little voltage', async () => {
  const sys = join(dir, 'sys')
  expect(await machine.temperature(sys), 'skip', /shows none/)
  expect(await machine.power(sys), 'skip', /does not measure/)
  await put('sys/class/thermal/thermal_zone0/temp', '85123\n')
  expect(await machine.temperature(sys), 'warn', /85 °C/)
  await put('sys/class/thermal/thermal_zone0/temp', '45000\n')
  expect(await machine.temperature(sys), 'ok', /45 °C/)
  await put('sys/class/hwmon/hwmon0/name', 'cpu_thermal\n')
  await put('sys/class/hwmon/hwmon1/name', 'rpi_volt\n')
  await put('sys/class/hwmon/hwmon1/in0_lcrit_alarm', '1\n')
  expect(await machine.power(sys), 'fail', /too low/)
  await put('sys/class/hwmon/hwmon1/in0_lcrit_alarm', '0\n')
  expect(await machine.power(sys), 'ok', /high enough/)
})

test('steps: settings that are wrong, a user that is missing, and nobody at the socket', async () => {
  const socket = join(dir, 'steps.sock')
  assert.equal(await steps({ settings: join(dir, 'none.json'), socket }), undefined)
  const finding = async (settings: object): Promise<Finding> => {
    const found = await steps({ settings: await put('steps/steps.json', JSON.stringify(settings)), socket })
    return found ?? assert.fail('nothing was found')
  }
  expect(await finding({ script: {} }), 'fail', /steps\.json: it script: /)
  expect(await finding({ scripts: { run: 'on', user: 'no-such-user' } }), 'fail', /has no user "no-such-user"/)
  expect(await finding({}), 'fail', /the step service at .* cannot be reached: /)
  const server = createServer().listen(socket)
  await once(server, 'listening')
  expect(await finding({}), 'ok', /^scripts are off, packages are /)
  expect(await finding({ scripts: { run: 'on', user: 'nobody' } }), 'ok', /^scripts are on, as the user nobody/)
  server.close()
})

test('an EEPROM that may start the wrong partition', async () => {
  const file = join(dir, 'build-timestamp')
  expect(await machine.eeprom(file), 'skip', /does not say/)
  const rows: readonly [string, Finding['is'], RegExp][] = [
    ['2022-12-01T12:00:00Z', 'ok', /built on 2022-12-01/],
    ['2025-05-31T23:59:59Z', 'ok', /2025-05-31/],
    ['2025-06-01T00:00:00Z', 'warn', /2025-06-01, may start the wrong partition/],
    ['2025-10-07T23:59:59Z', 'warn', /wrong partition after a reset/],
    ['2025-10-08T00:00:00Z', 'ok', /2025-10-08/],
    ['2099-01-01T00:00:00Z', 'ok', /2099-01-01/],
  ]
  for (const [time, is, words] of rows) {
    const cell = Buffer.alloc(4)
    cell.writeUInt32BE(Date.parse(time) / 1000)
    await writeFile(file, cell)
    expect(await machine.eeprom(file), is, words)
  }
  for (const odd of ['', '\0\0\0\0', 'abc', 'abcde']) {
    await writeFile(file, odd)
    expect(await machine.eeprom(file), 'skip', /does not say/)
  }
})

test('lights on pins that the board does not have', async () => {
  const sys = join(dir, 'gpio')
  for (const [name, text] of [
    ['label', 'pinctrl-bcm2711'],
    ['ngpio', '58'],
    ['base', '512'],
  ] as const) {
    await put(`gpio/class/gpio/gpiochip512/${name}`, `${text}\n`)
  }
  expect(await machine.lights([], sys), 'skip', /no LED/)
  expect(await machine.lights([{ gpio: 17 }, { gpio: 27 }], sys), 'ok', /GPIO 17 and GPIO 27/)
  expect(await machine.lights([{ gpio: 17 }, { gpio: 60 }], sys), 'warn', /no GPIO 60/)
  expect(await machine.lights([{ gpio: 17 }], join(dir, 'nowhere')), 'warn', /ENOENT/)
  await put('gpio/class/leds/ACT/trigger', 'none [mmc0]\n')
  expect(await machine.lights([{ led: 'ACT' }], sys), 'ok', /ACT/)
  expect(await machine.lights([{ led: 'led0' }], sys), 'warn', /no .*led0; this board has ACT/)
})

test('a system without a version', async () => {
  expect(await machine.versionFile(join(dir, 'none')), 'fail', /has no version/)
  expect(await machine.versionFile(await put('version', '\n')), 'fail', /has no version/)
  expect(await machine.versionFile(await put('version', '2.0\nmore\n')), 'ok', /this system is 2\.0$/)
})

test('checks that are missing, or not in a folder', async () => {
  expect((await machine.checksFolder(join(dir, 'none')))!, 'skip', /none of your own checks/)
  expect((await machine.checksFolder(await put('checks', '')))!, 'fail', /is not a folder/)
  assert.equal(await machine.checksFolder(dir), undefined)
})

const bootOf = (state: BootState | AgentError) =>
  ({
    read: async () => {
      if (state instanceof AgentError) throw state
      return state
    },
  }) as unknown as BootControl
const calm: BootState = { booted: 'a', primary: 'a', trial: 'none', tries: 0 }

test('a boot state that cannot be read, or has a trial', async () => {
  const broken = new AgentError('BOOT_STATE', 'the boot state /boot/uboot.env is damaged')
  expect((await bootState(bootOf(broken)))[0], 'fail', /is damaged/)
  expect(
    (await bootState(bootOf({ ...calm, booted: 'b', primary: 'b', trial: 'pending', tries: 2 })))[0],
    'warn',
    /slot b is on trial, 2 more/,
  )
  expect((await bootState(bootOf(calm)))[0], 'ok', /slot a is booted, slot a starts next/)
})

test('slots that are missing, not storage, or in use', async () => {
  const storage = {
    find: async (path: string) => ({ kind: 'file', number: '0:0', fileSystem: '8:1', inode: path }) as const,
    below: async () => ({ parts: [] }),
    mounts: async () => [],
    swaps: async () => [join(dir, 'b.img')],
    loops: async () => [],
  }
  const devices = { a: await put('a.img', ''), b: await put('b.img', '') }
  expect(
    await slots({ ...devices, b: join(dir, 'gone') }, 'a', storage),
    'fail',
    /slot b is missing: there is no .*gone/,
  )
  expect(await slots({ ...devices, a: dir }, 'a', storage), 'fail', /neither a block device nor a file/)
  expect(await slots(devices, undefined, storage), 'skip', /boot state would tell/)
  expect(await slots(devices, 'a', storage), 'fail', /slot b, .* is in use: used as swap/)
  expect(await slots(devices, 'b', storage), 'ok', /next update goes to slot a/)
})

test('SWUpdate that is missing or does not run', async () => {
  const path = process.env.PATH
  try {
    process.env.PATH = join(dir, 'empty')
    expect(await swupdate(), 'fail', /not installed/)
    await chmod(await put('bin/swupdate', '#!/bin/sh\necho broken >&2\nexit 3\n'), 0o755)
    process.env.PATH = `${join(dir, 'bin')}:${path}`
    expect(await swupdate(), 'fail', /broken|3/)
    await put('bin/swupdate', '#!/bin/sh\necho "SWUpdate v2022.12.0"\n')
    expect(await swupdate(), 'ok', /^2022\.12\.0$/)
  } finally {
    process.env.PATH = path
  }
})

test('a certificate that is missing, none, or no longer valid', async t => {
  expect(await certificate(join(dir, 'none.pem')), 'fail', /cannot be read: ENOENT/)
  expect(await certificate(await put('text.pem', 'hello')), 'fail', /has no certificate/)
  const [key, pem] = [join(dir, 'key.pem'), join(dir, 'old.pem')]
  const subject = ['-subj', '/CN=test', '-days', '1']
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', pem, ...subject], {
    stdio: 'ignore',
  })
  expect(await certificate(pem), 'ok', /checks the signatures/)
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 7 * 86_400_000 })
  expect(await certificate(pem), 'fail', /old\.pem ended on/)
})

const hubThat = (connect: Hub['connect']): Hub => ({ connect })
const refusing = (why: string): Hub => hubThat(async () => Promise.reject(new HubError(why)))
const told = (hub: { connected: boolean; why: string | null }, phase: 'idle' | 'starting' = 'idle') =>
  running({ phase, hub: { since: 0, ...hub } })

test('a hub that is not reached: the remedy fits the reason', async () => {
  const reasons: readonly (readonly [why: string, remedy: RegExp])[] = [
    ['Not authorized: connection refused', /exists at the hub, is enabled, and has this key/],
    ['unable to get local issuer certificate', /caFile/],
    ['certificate is not yet valid', /clock/],
    ['getaddrinfo ENOTFOUND hub.example.com', /host name/],
    ['connect ECONNREFUSED 127.0.0.1:8883', /firewall/],
    ['no answer within 30 s', /firewall/],
    ['through the proxy: 407', /https_proxy/],
    [
      "the server's certificate is not trusted: x (if the hub, gateway or proxy has its own, set piAdu.hub.caFile)",
      /setting that the message names/,
    ],
    ['something new', /Read the message/],
  ]
  for (const [why, remedy] of reasons) {
    const finding = await login(refusing(why))
    expect(finding, 'fail', new RegExp(why.slice(0, 12)))
    assert.match(finding.remedy ?? '', remedy, why)
    const said = told({ connected: false, why })
    expect(said, 'fail', /the agent is not connected/)
    assert.equal(said.remedy, finding.remedy)
  }
  let closed = 0
  const connection = { close: async () => void closed++ } as unknown as Awaited<ReturnType<Hub['connect']>>
  expect(await login(hubThat(async () => connection)), 'ok', /accepts this device/)
  assert.equal(closed, 1)
  expect(told({ connected: true, why: null }), 'ok', /agent is connected/)
  expect(told({ connected: false, why: 'the agent has just started' }, 'starting'), 'skip', /just started/)
})

test('an issued certificate that cannot be read is a finding, not the end of the run', async () => {
  const key = await put('dps.key', Buffer.alloc(32).toString('base64'))
  await chmod(key, 0o600)
  const { agents: _, ...rest } = least()
  const provisioning = { idScope: '0ne1', registrationId: 'pi', symmetricKeyFile: key, issueCertificate: true }
  const text = JSON.stringify({
    ...rest,
    agents: [{ name: 'main', manufacturer: 'contoso', model: 'pi4' }],
    dataFolder: join(dir, 'issuing'),
    piAdu: { provisioning },
  })
  const file = await put('issuing.json', text)
  await chmod(file, 0o600)
  const config = await readConfig(file, {})
  assert.deepEqual(await deviceCertificate(config), [])
  const { cert, key: pem } = await selfSignedDevice('pi', { until: new Date(Date.now() + 90 * 86_400_000) })
  const pair = { chain: cert, key: pem, clockWasWrong: false }
  const issued = { version: 1, registrationId: 'pi', current: pair }
  const at = await put('issuing/identity/issued.json', JSON.stringify(issued))
  const [good] = await deviceCertificate(config)
  expect(good as Finding, 'ok', /valid until/)
  await writeFile(at, JSON.stringify({ ...issued, refused: 'the hub refused it' }))
  const [refused] = await deviceCertificate(config)
  expect(refused as Finding, 'warn', /was not renewed: the hub refused it/)
  await rm(at)
  await put('issuing/identity/issued.json/in-the-way', '')
  const [finding] = await deviceCertificate(config)
  assert.ok(finding)
  expect(finding, 'fail', /cannot read .*issued\.json: EISDIR/)
})

test('a name that nobody knows', async () => {
  expect(await hubName('hub.invalid', false), 'fail', /hub\.invalid cannot be resolved/)
  expect(await hubName('hub.invalid', true), 'skip', /proxy/)
  expect(await hubName('127.0.0.1', false), 'ok', /127\.0\.0\.1/)
})

test('the text fits 80 columns and is safe for a terminal', () => {
  const text = findingsText([
    { name: 'temperature', is: 'fail', says: `bad \u009b31m ${'word '.repeat(40)}`, remedy: 'Do it.' },
  ])
  assert.ok(text.split('\n').every(line => line.length <= 80))
  assert.ok(text.startsWith('fail  temperature   bad \\u009b31m'))
  assert.match(text, /\n {20}→ Do it\.\n$/)
})

const program = join(repositoryRoot(), 'dist/src/main.js')
const run = (...args: string[]) =>
  spawnSync(process.execPath, [program, 'doctor', ...args], { encoding: 'utf8', timeout: 120_000 })

test('a configuration that is refused is one line, and the rest is looked at all the same', async () => {
  const { status, stdout } = run('--config', await put('bad.json', '{"schemaVersion": 1}'))
  assert.equal(status, 1)
  assert.match(stdout, /^fail {2}configuration/)
  assert.match(stdout, /\n\w+ +temperature/)
})

test('a whole run on a machine that is no device: many things fail, each with a remedy, and no key is shown', async () => {
  const configuration = {
    ...least(),
    dataFolder: dir,
    piAdu: { slots: {}, versionFile: await put('v', '1.0\n'), health: { failedUnits: false } },
  }
  configuration.agents[0]!.connectionSource.connectionData =
    'HostName=hub.invalid;DeviceId=pi;SharedAccessKey=c2VjcmV0c2VjcmV0'
  const file = await put('config.json', JSON.stringify(configuration))
  await chmod(file, 0o600)
  const { status, stdout, stderr } = run('--config', file, '--json')
  assert.equal(stderr, '')
  assert.equal(status, 1)
  assert.doesNotMatch(stdout, /c2VjcmV0/)
  const findings = JSON.parse(stdout) as Finding[]
  const isOf = (name: string) => findings.find(each => each.name === name)?.is
  assert.deepEqual(['configuration', 'version', 'boot state', 'slots', 'name', 'hub'].map(isOf), [
    'ok',
    'ok',
    'fail',
    'fail',
    'fail',
    'fail',
  ])
  for (const each of findings)
    assert.equal(each.remedy !== undefined, each.is === 'warn' || each.is === 'fail', each.name)
})
