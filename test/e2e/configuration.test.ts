import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, link, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { startRig } from './rig.ts'

/** A mistake in the configuration stops the start, with one line that says where and what; never with a secret in it. */

type Config = Record<string, unknown> & { agents: Record<string, unknown>[]; piAdu: Record<string, unknown> }

const rig = await startRig()
const dir = await rig.bench.addDevice('pi')
const file = join(dir, 'du-config.json')
const good = await readFile(file, 'utf8')
const secret = /SharedAccessKey=([^;"]+)/.exec(good)![1]!

const connection = (change: (text: string) => string) => (config: Config) => {
  const source = config.agents[0]!.connectionSource as { connectionData: string }
  source.connectionData = change(source.connectionData)
}
const section = (name: string, value: unknown) => (config: Config) => Object.assign(config.piAdu, { [name]: value })
/** Of what the configuration says of the slots, some said otherwise. */
const slots = (changes: Record<string, object>) => (config: Config) => {
  const section = config.piAdu.slots as Record<string, object>
  for (const [name, change] of Object.entries(changes)) section[name] = { ...section[name], ...change }
}
const slotA = join(dir, 'slots/a.img')
await symlink(slotA, join(dir, 'link'))
await link(slotA, join(dir, 'hard-link'))

const cases: { readonly name: string; readonly change: (config: Config) => unknown; readonly says: RegExp }[] = [
  { name: 'no manufacturer', change: c => delete c.manufacturer, says: /: manufacturer: is missing$/ },
  { name: 'empty model', change: c => Object.assign(c, { model: '' }), says: /: model: must not be empty$/ },
  { name: 'model as a number', change: c => Object.assign(c, { model: 3 }), says: /: model: must be a text$/ },
  { name: 'no agents', change: c => Object.assign(c, { agents: [] }), says: /: agents: must have at least one entry$/ },
  { name: 'agents that are no list', change: c => Object.assign(c, { agents: {} }), says: /: agents: must be a list/ },
  {
    name: 'agent without connectionSource',
    change: c => delete c.agents[0]!.connectionSource,
    says: /: agents\.0\.connectionSource: is missing$/,
  },
  {
    name: 'connection type that is not supported',
    change: c => Object.assign(c.agents[0]!.connectionSource as object, { connectionType: 'TPM' }),
    says: /: agents\.0\.connectionSource\.connectionType: must be "string"/,
  },
  {
    name: 'connection string that is empty',
    change: connection(() => ''),
    says: /: agents\.0\.connectionSource\.connectionData: must not be empty$/,
  },
  {
    name: 'connection string without a host',
    change: connection(text => text.replace(/HostName=[^;]*;/, '')),
    says: /connectionData: .*HostName/,
  },
  {
    name: 'connection string without a device',
    change: connection(text => text.replace(/DeviceId=[^;]*;/, '')),
    says: /connectionData: .*DeviceId/,
  },
  {
    name: 'connection string without a key',
    change: connection(text => text.replace(/SharedAccessKey=[^;]*/, '')),
    says: /connectionData: .*SharedAccessKey/,
  },
  {
    name: 'connection string of the service',
    change: connection(() => `HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey=${secret}`),
    says: /connectionData: .*DeviceId/,
  },
  { name: 'connection string that is none', change: connection(() => `not ${secret}`), says: /connectionData: / },
  {
    name: 'key that is no base64',
    change: connection(text => text.replace(/SharedAccessKey=[^;]*/, `SharedAccessKey=${secret}!`)),
    says: /connectionData: .*SharedAccessKey.*base64/,
  },
  {
    name: 'AMQP',
    change: c => Object.assign(c, { iotHubProtocol: 'amqp' }),
    says: /: iotHubProtocol: must be "mqtt" or "mqtt\/ws"$/,
  },
  {
    name: 'relative data folder',
    change: c => Object.assign(c, { dataFolder: 'data' }),
    says: /: dataFolder: must be an absolute path$/,
  },
  { name: 'mistyped section', change: section('slot', {}), says: /: piAdu\.slot: is not a setting of this agent$/ },
  {
    name: 'mistyped setting',
    change: section('host', { reboot: [] }),
    says: /: piAdu\.host\.reboot: is not a setting of this agent$/,
  },
  { name: 'section that is a text', change: section('health', 'good'), says: /: piAdu\.health: must be a section/ },
  {
    name: 'one selection for both slots',
    change: slots({ a: { selection: 'stable,b' } }),
    says: /: piAdu\.slots: a and b have the same selection/,
  },
  {
    name: 'one device for both slots',
    change: slots({ b: { device: slotA } }),
    says: /: piAdu\.slots: a and b must be two devices: \S+a\.img$/,
  },
  {
    name: 'one device for both slots, by another path',
    change: slots({ b: { device: slotA.replace('/slots/', '/slots/../slots/') } }),
    says: /: piAdu\.slots: a and b must be two devices: /,
  },
  {
    name: 'one device for both slots, by a symbolic link',
    change: slots({ b: { device: join(dir, 'link') } }),
    says: /: piAdu\.slots: a and b must be two devices: \S+ and \S+link are one device$/,
  },
  {
    name: 'one device for both slots, by a hard link',
    change: slots({ b: { device: join(dir, 'hard-link') } }),
    says: /: piAdu\.slots: a and b must be two devices: /,
  },
  {
    name: 'a name that bundles cannot be allowed',
    change: section('bundle', { allow: ['files', 'script'] }),
    says: /: piAdu\.bundle\.allow\.1: must be some of scripts, lua, /,
  },
  {
    name: 'no reboot command',
    change: section('host', { rebootCommand: [] }),
    says: /: piAdu\.host\.rebootCommand(\.0)?: /,
  },
  {
    name: 'no tries',
    change: section('bootState', { tries: 0 }),
    says: /: piAdu\.bootState\.tries: must be a whole number from 1 to 9$/,
  },
  {
    name: 'health checks that outlast the trial guard',
    change: section('health', { timeoutSeconds: 1001 }),
    says: /: piAdu\.health\.timeoutSeconds: must be at most 1000: a trial is ended after 20 minutes$/,
  },
  {
    name: 'range as a text',
    change: section('content', { rangeBytes: '1M' }),
    says: /: piAdu\.content\.rangeBytes: must be a whole number from 4096/,
  },
  {
    name: 'CA file that is missing',
    change: section('hub', { caFile: '/nonexistent' }),
    says: /^pi-adu: .*piAdu\.hub\.caFile: cannot be read: ENOENT/,
  },
  {
    name: 'CA file that is none',
    change: section('content', { caFile: file }),
    says: /piAdu\.content\.caFile: .* has no PEM certificate$/,
  },
  {
    name: 'key file that is missing',
    change: section('swupdate', { keyFile: '/nonexistent' }),
    says: /piAdu\.swupdate\.keyFile: cannot be read: ENOENT/,
  },
  {
    name: 'key file that everybody may read',
    change: section('swupdate', { keyFile: '/etc/passwd' }),
    says: /piAdu\.swupdate\.keyFile: \/etc\/passwd holds the key, but everybody can read it: chmod 640 it$/,
  },
  {
    name: 'root key that is no base64url',
    change: section('trust', { rootKeys: [{ kid: 'k', n: '+/==', e: 'AQAB' }] }),
    says: /: piAdu\.trust\.rootKeys\.0\.n: must be base64url$/,
  },
  {
    name: 'root key that is no key',
    change: section('trust', { rootKeys: [{ kid: 'k', n: 'AQAB', e: 'AQAB' }] }),
    says: /piAdu\.trust\.rootKeys\.0: /,
  },
  {
    name: 'connectionSource that is the connection string',
    change: c => Object.assign(c.agents[0]!, { connectionSource: `SharedAccessKey=${secret}` }),
    says: /: agents\.0\.connectionSource: must be/,
  },
]

for (const { name, change, says } of cases) {
  test(`configuration: ${name}`, async () => {
    const config = JSON.parse(good) as Config
    change(config)
    await refused(JSON.stringify(config), says)
  })
}

test('configuration: not JSON', () =>
  refused(good.replace(',', ''), /du-config\.json is not valid JSON: line \d+, column \d+: "," or "}" is expected$/))
test('configuration: cut off', () =>
  refused(
    good.slice(0, good.lastIndexOf('}')),
    /du-config\.json is not valid JSON: line \d+, column \d+: the file ends here, but [^;]*$/,
  ))
test('configuration: empty', () =>
  refused('', /du-config\.json is not valid JSON: line 1, column 1: the file is empty$/))
test('configuration: a list', () => refused('[]', /du-config\.json: schemaVersion: is missing; /))

test('configuration: readable by everybody', async () => {
  await writeFile(file, good)
  await chmod(file, 0o644)
  await stops(file, /everybody can read it: chmod 600/)
  await chmod(file, 0o600)
})

test('configuration: no file', () => stops('/nonexistent/du-config.json', /cannot be read: ENOENT/))
test('configuration: a folder', () => stops(dir, /(cannot be read: EISDIR|everybody can read it)/))

async function refused(text: string, says: RegExp): Promise<void> {
  await writeFile(file, text, { mode: 0o600 })
  await stops(file, says)
}

async function stops(config: string, says: RegExp): Promise<void> {
  const child = spawn(process.execPath, [join(repositoryRoot(), 'dist/src/main.js'), 'run', '--config', config])
  let said = ''
  child.stderr.on('data', chunk => {
    said += chunk
  })
  child.stdout.on('data', chunk => {
    said += chunk
  })
  const [code] = await once(child, 'close', { signal: AbortSignal.timeout(60_000) }).finally(() =>
    child.kill('SIGKILL'),
  )
  assert.ok(!said.includes(secret), 'the key is not printed')
  assert.equal(code, 78, said)
  const lines = said.trimEnd().split('\n')
  assert.equal(lines.length, 1, said)
  assert.match(lines[0]!, /^pi-adu: /)
  assert.match(lines[0]!, says)
}
