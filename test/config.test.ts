import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { repositoryRoot } from '../image/builder/repository.ts'
import { readConfig } from '../src/config/config.ts'
import { SETTINGS } from '../src/config/reference.ts'
import { ConfigError } from '../src/domain/errors.ts'
import { KEY, least } from './config/examples.ts'
import { encodings } from './domain/encodings.ts'

const dir = await mkdtemp(join(tmpdir(), 'config-'))
after(() => rm(dir, { recursive: true }))

async function read(content: string | Buffer) {
  const file = join(dir, 'du-config.json')
  await writeFile(file, content, { mode: 0o600 })
  return readConfig(file, {})
}

test('a configuration of a Windows editor is read', async () => {
  for (const [name, bytes] of Object.entries(encodings(JSON.stringify({ ...least(), model: 'Gerät' }, null, '\t')))) {
    assert.equal((await read(bytes)).model, 'Gerät', name)
  }
  const ansi = Buffer.from(JSON.stringify({ ...least(), model: 'Gerät' }), 'latin1')
  await assert.rejects(
    read(ansi),
    /du-config\.json is not UTF-8 \(it looks like an 8-bit code page .*save it as UTF-8$/,
  )
})

test('an adu-conf.txt, given or beside a missing du-config.json, is named for what it is', async () => {
  const text = `connection_string=HostName=h;DeviceId=d;SharedAccessKey=${KEY}\naduc_manufacturer=contoso\n`
  const says = /adu-conf\.txt is the configuration of the reference agent of 2021 .*du-config\.json$/
  const folder = await mkdtemp(join(dir, 'old-'))
  const old = join(folder, 'adu-conf.txt')
  await writeFile(old, text, { mode: 0o600 })
  for (const file of [old, join(folder, 'du-config.json')]) {
    await assert.rejects(readConfig(file, {}), (error: Error) => {
      assert.ok(error instanceof ConfigError)
      assert.match(error.message, says)
      assert.doesNotMatch(error.message, new RegExp(KEY))
      return true
    })
  }
})

// biome-ignore lint/suspicious/noExplicitAny: the rows below change the file in every way
type Any = Record<string, any>

async function changed(change: (config: Any) => unknown) {
  const config: Any = least()
  change(config)
  return read(JSON.stringify(config))
}

const connection = (change: (text: string) => string) => (config: Any) => {
  const source = config.agents[0].connectionSource
  source.connectionData = change(source.connectionData)
}

/** Where each setting of the reference's file stands, by its published list; the value is one that it may have. */
const ALL: Readonly<Record<string, (config: Any) => unknown>> = {
  schemaVersion: c => (c.schemaVersion = '1.2'),
  aduShellTrustedUsers: c => (c.aduShellTrustedUsers = ['adu', 'do']),
  manufacturer: c => (c.manufacturer = 'fabrikam'),
  model: c => (c.model = 'toaster'),
  'agents.0.name': c => (c.agents[0].name = 'aduagent'),
  'agents.0.runas': c => (c.agents[0].runas = 'adu'),
  'agents.0.connectionSource.connectionType': c => (c.agents[0].connectionSource.connectionType = 'AIS'),
  'agents.0.connectionSource.connectionData': connection(text => text.replace('pi1', 'pi2')),
  'agents.0.manufacturer': c => (c.agents[0].manufacturer = 'fabrikam'),
  'agents.0.model': c => (c.agents[0].model = 'toaster'),
  'agents.0.additionalDeviceProperties': c => (c.agents[0].additionalDeviceProperties = { region: 'eu' }),
  iotHubProtocol: c => (c.iotHubProtocol = 'amqp'),
  compatPropertyNames: c => (c.compatPropertyNames = 'model'),
  edgegatewayCertPath: c => (c.edgegatewayCertPath = '/no/such/gateway.pem'),
  downloadTimeoutInMinutes: c => (c.downloadTimeoutInMinutes = 30),
  aduShellFolder: c => (c.aduShellFolder = '/usr/lib/adu'),
  dataFolder: c => (c.dataFolder = '/data/adu'),
  downloadsFolder: c => (c.downloadsFolder = '/data/downloads'),
  extensionsFolder: c => (c.extensionsFolder = '/data/extensions'),
  apiRequestFifoPath: c => (c.apiRequestFifoPath = '/run/adu/apireq.fifo'),
  idlePauseMilliseconds: c => (c.idlePauseMilliseconds = 1000),
  'agents.0.connectionSource.connectionX509CertFilePath': c =>
    (c.agents[0].connectionSource.connectionX509CertFilePath = '/data/cert.pem'),
  'agents.0.connectionSource.connectionX509PrivateKeyFilePath': c =>
    (c.agents[0].connectionSource.connectionX509PrivateKeyFilePath = '/data/key.pem'),
  'agents.0.connectionSource.connectionX509CaCertFilePath': c =>
    (c.agents[0].connectionSource.connectionX509CaCertFilePath = '/data/ca.pem'),
  'agents.0.connectionSource.opensslEngine': c => (c.agents[0].connectionSource.opensslEngine = 'pkcs11'),
}

test('each setting of the reference agent is taken, refused or warned about by its name', async () => {
  const plain = await read(JSON.stringify(least()))
  assert.deepEqual(plain.warnings, [])
  const without = ({ warnings: _, ...config }: Any) => config
  for (const [field, set] of Object.entries(ALL)) {
    const names = new RegExp(`(^|[ :])${field.replaceAll('.', '\\.')}(:|, )`)
    try {
      const config = await changed(set)
      const isTaken = JSON.stringify(without({ ...plain, ...config })) !== JSON.stringify(without(plain))
      const isNamed = config.warnings.some(text => names.test(text))
      const isKept = JSON.stringify(without(config)).includes(`"${field.split('.').at(-1)}"`)
      assert.ok(isTaken && isKept, field)
      assert.equal(isNamed, NO_EFFECT.has(field), `${field}: ${config.warnings}`)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      assert.match(error.message, names)
    }
  }
})

/** What is the reference's own business: it has a helper with set-uid, plug-ins, and folders for downloads. */
const NO_EFFECT: ReadonlySet<string> = new Set([
  ...['aduShellTrustedUsers', 'agents.0.runas', 'aduShellFolder', 'extensionsFolder'],
  ...['apiRequestFifoPath', 'idlePauseMilliseconds'],
])

test('the list of settings that the agent knows is that of this test', () => {
  const paths = [
    ...Object.keys(SETTINGS.top).filter(name => name !== 'agents' && name !== 'piAdu'),
    ...Object.keys(SETTINGS.agent)
      .filter(name => name !== 'connectionSource')
      .map(name => `agents.0.${name}`),
    ...Object.keys(SETTINGS.connectionSource).map(name => `agents.0.connectionSource.${name}`),
  ]
  assert.deepEqual(paths.sort(), Object.keys(ALL).sort())
})

test('what would silently do nothing stops the start, with its name', async () => {
  const rows: readonly (readonly [string, (config: Any) => unknown, RegExp])[] = [
    ['our section in small letters', c => (c.piadu = { hub: {} }), /: piadu: must be spelled piAdu$/],
    ['our section with a hyphen', c => (c['pi-adu'] = {}), /: pi-adu: must be spelled piAdu$/],
    ['a section outside ours', c => (c.trust = {}), /: trust: belongs in the section piAdu, as piAdu\.trust$/],
    ['the same in another case', c => (c.firmwareupdate = {}), /belongs .* as piAdu\.firmwareUpdate$/],
    ['a setting in another case', c => (c.datafolder = '/data'), /: datafolder: must be spelled dataFolder$/],
    [
      'an agent’s in another case',
      c => (c.agents[0].additionaldeviceproperties = {}),
      /agents\.0\.additionaldeviceproperties: must be spelled additionalDeviceProperties$/,
    ],
    [
      'a connection’s in another case',
      c => (c.agents[0].connectionSource.ConnectionData = ''),
      /connectionSource\.ConnectionData: must be spelled connectionData$/,
    ],
    ['a template’s mark', c => (c.model = '%%MODEL%%'), /: model: is still a placeholder$/],
    [
      'a template’s sentence',
      c => (c.manufacturer = '<Place your manufacturer here>'),
      /: manufacturer: is still a pl/,
    ],
    ['an older template’s', c => (c.agents[0].model = '[NOTE] Insert your model'), /agents\.0\.model: is still a/],
    [
      'a template’s key',
      connection(() => '<Place your Azure IoT device connection string here>'),
      /connectionData: is still a placeholder$/,
    ],
    [
      'a part of one',
      connection(text => text.replace('hub.example.com', '<hub>.azure-devices.net')),
      /connectionData: is still a placeholder$/,
    ],
    ['one in our section', c => (c.piAdu = { hub: { caFile: '/data/%%CA%%' } }), /piAdu\.hub\.caFile: is still a pl/],
    [
      'an address for a host name',
      connection(text => text.replace('HostName=', 'HostName=https://')),
      /connectionData: has a HostName that is none: it must be a host name alone, without https:\/\//,
    ],
    [
      'a host name with a blank',
      connection(text => text.replace('HostName=', 'HostName= ')),
      /has a HostName that is none/,
    ],
    ['a path behind it', connection(text => text.replace('.com', '.com/')), /has a HostName that is none/],
    ['a gateway that is none', connection(text => `${text};GatewayHostName=https://g`), /GatewayHostName that is none/],
    ['a field in another case', connection(text => text.replace('HostName', 'hostname')), /has no HostName/],
    ['a field twice', connection(text => `${text};DeviceId=pi2`), /has a field twice/],
    ['a field that nobody knows', connection(text => `${text};Modul=x`), /has a field that is none of HostName, /],
    [
      'a certificate',
      connection(text => text.replace(/SharedAccessKey=.*/, 'x509=true')),
      /has x509: connectionType must be "X509"$/,
    ],
    [
      'a token',
      connection(text => text.replace(/SharedAccessKey=.*/, 'SharedAccessSignature=sr&sig')),
      /has a SharedAccessSignature/,
    ],
    [
      'a method without a host',
      c => (c.piAdu = { firmwareUpdate: { enabled: true } }),
      /piAdu\.firmwareUpdate: is enabled, but allowedHosts is empty/,
    ],
    ['two lights on one pin', c => (c.piAdu = { leds: { green: 5, red: 5 } }), /piAdu\.leds: green and red are the/],
    [
      'a light twice',
      c => (c.piAdu = { leds: { green: 5, lights: [{ gpio: 5 }] } }),
      /piAdu\.leds: two lights are GPIO 5/,
    ],
    [
      'an LED twice',
      c => (c.piAdu = { leds: { lights: [{ led: 'ACT' }, { led: 'ACT', role: 'fault' }] } }),
      /piAdu\.leds: two lights are ACT/,
    ],
    ['a light that is nowhere', c => (c.piAdu = { leds: { lights: [{}] } }), /lights\.0: must have either gpio or led/],
    [
      'a light in two places',
      c => (c.piAdu = { leds: { lights: [{ gpio: 5, led: 'ACT' }] } }),
      /lights\.0: must have either gpio or led/,
    ],
    [
      'a pin that no board has',
      c => (c.piAdu = { leds: { lights: [{ gpio: 54 }] } }),
      /lights\.0\.gpio: must be a whole/,
    ],
    ['an LED outside', c => (c.piAdu = { leds: { lights: [{ led: '../x' }] } }), /lights\.0\.led: must be a name/],
    [
      'a role',
      c => (c.piAdu = { leds: { lights: [{ gpio: 5, role: 'x' }] } }),
      /role: must be one of status, activity/,
    ],
    ['brightness of a pin', c => (c.piAdu = { leds: { lights: [{ gpio: 5, brightness: 5 }] } }), /no effect with gpio/],
    ['level of an LED', c => (c.piAdu = { leds: { lights: [{ led: 'a', activeLow: true }] } }), /no effect with led/],
    [
      'an interface',
      c => (c.piAdu = { gates: { metered: { interfaces: ['a/b'] } } }),
      /metered\.interfaces\.0: must be the name of a network interface/,
    ],
    ['a unit', c => (c.piAdu = { gates: { busy: { units: ['-x'] } } }), /busy\.units\.0: must be the name of a unit/],
    [
      'a battery',
      c => (c.piAdu = { gates: { batteryBelow: 0 } }),
      /batteryBelow: must be a whole number from 1 to 100/,
    ],
    [
      'a button on the pin of a light',
      c => (c.piAdu = { leds: { green: 5 }, button: { gpio: 5 } }),
      /piAdu\.button\.gpio: a light has this pin/,
    ],
    ['an order', c => (c.piAdu = { button: { gpio: 5, short: 'commit' } }), /button\.short: must be one of consent, /],
    ['a night that is none', c => (c.piAdu = { leds: { green: 5, off: ['22-6'] } }), /leds\.off\.0: must be like/],
  ]
  for (const [name, change, says] of rows) {
    await assert.rejects(changed(change), (error: Error) => {
      assert.ok(error instanceof ConfigError, `${name}: ${error.stack}`)
      assert.match(error.message, says, name)
      assert.ok(!error.message.includes(KEY), name)
      return true
    })
  }
})

test('a name that is there twice stops the start', async () => {
  const text = JSON.stringify(least(), null, 2).replace('"schemaVersion"', '"piAdu": {},\n  "schemaVersion"')
  await read(text)
  const twice = text.replace(/\}$/, ', "piAdu": {"trust": {"allowDowngrade": false}}}')
  await assert.rejects(read(twice), /is not valid JSON: line \d+, column 3: this name is here for the second time$/)
})

test('what is strange but harmless is a warning', async () => {
  const rows: readonly (readonly [(config: Any) => unknown, readonly RegExp[]])[] = [
    [c => (c.agents[1] = {}), [/^agents: only the first of 2 is used$/]],
    [c => (c.fancy = 1), [/^fancy: unknown setting, no effect/]],
    [c => (c._comment = 'x'), []],
    [c => (c.compatPropertyNames = 'manufacturer,modell'), [/^compatPropertyNames: "modell" is not a property/]],
    [connection(text => `${text};GatewayHostName=edge:8883;ModuleId=m`), []],
  ]
  for (const [change, expected] of rows) {
    const config: Any = least()
    change(config)
    // The second agent is not looked at, so it may be anything.
    if (config.agents.length > 1) config.agents[1] = config.agents[0]
    const { warnings } = await read(JSON.stringify(config))
    assert.equal(warnings.length, expected.length, warnings.join())
    for (const [index, says] of expected.entries()) assert.match(warnings[index] ?? '', says)
  }
})

test('a gateway’s certificate is that of the hub connection, unless our own section names one', async () => {
  const pem = join(dir, 'gateway.pem')
  await writeFile(pem, '-----BEGIN CERTIFICATE-----\n')
  const own = join(dir, 'own.pem')
  await writeFile(own, '-----BEGIN CERTIFICATE-----\nown\n')
  const gateway = await changed(c => (c.edgegatewayCertPath = pem))
  assert.equal(gateway.hubCa, '-----BEGIN CERTIFICATE-----\n')
  const both = await changed(c => Object.assign(c, { edgegatewayCertPath: pem, piAdu: { hub: { caFile: own } } }))
  assert.match(both.hubCa ?? '', /own/)
})

test('check-config shows the warnings, and says that the agent would run', async () => {
  const piAdu = { health: { checksFolder: '/no/such/folder' } }
  await read(JSON.stringify({ ...least(), aduShellTrustedUsers: ['adu'], extensionsFolder: '/d', piAdu }))
  const args = [join(repositoryRoot(), 'dist/src/main.js'), 'check-config', '--config', join(dir, 'du-config.json')]
  const { status, stderr, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  assert.deepEqual([status, stdout], [0, ''])
  assert.equal(
    stderr,
    'pi-adu: warning: aduShellTrustedUsers, extensionsFolder: no effect in this agent\n' +
      'pi-adu: warning: piAdu.health.checksFolder: there is no /no/such/folder, so none of your own checks is run\n',
  )
})

test('a device has slots if its configuration names slots or boot state, or a boot state is set up', async () => {
  const fwEnvConfig = join(dir, 'fw_env.config')
  const slotted = async (piAdu: object) => (await read(JSON.stringify({ ...least(), piAdu }))).hasSlots
  // Whether /etc/fw_env.config exists is this machine's affair.
  assert.equal(await slotted({}), existsSync('/etc/fw_env.config'))
  assert.equal(await slotted({ slots: {} }), true)
  assert.equal(await slotted({ bootState: { fwEnvConfig } }), true)
})
