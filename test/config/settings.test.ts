import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { readConfig, settings } from '../../src/config/config.ts'
import { valueAt } from '../../src/config/setting.ts'
import { KEY, least } from './examples.ts'
import { PICTURE, picture } from './lights-picture.ts'
import { currentPage, PAGES } from './table.ts'

const dir = await mkdtemp(join(tmpdir(), 'settings-'))
after(() => rm(dir, { recursive: true }))

async function fileOf(config: unknown): Promise<string> {
  const file = join(dir, 'du-config.json')
  await writeFile(file, JSON.stringify(config), { mode: 0o600 })
  return file
}

test('every setting has one line of documentation, in a form that a table takes', () => {
  const names = settings().map(({ name }) => name)
  assert.ok(names.length > 50)
  assert.equal(new Set(names).size, names.length)
  for (const { name, doc } of settings()) {
    assert.match(`${doc.meaning}${doc.otherwise ?? ''}`, /^[^|\n]+$/, name)
  }
})

test('the tables in the documentation that are made from the code are current', () => {
  for (const page of PAGES) {
    assert.equal(readFileSync(page.path, 'utf8'), currentPage(page), `${page.path} is out of date: run npm run docs`)
  }
  assert.equal(readFileSync(PICTURE, 'utf8'), picture(), `${PICTURE} is out of date: run npm run docs`)
})

test('every place in a configuration that has a value is a documented setting', async () => {
  const config = await readConfig(await fileOf(least()), {})
  const documented = settings().map(({ name }) => name)
  const places = (value: unknown, name: string): string[] => {
    if (documented.includes(name) || typeof value !== 'object' || value === null) return [name]
    const inside = Array.isArray(value) ? value.map((each, i) => [`[${i}]`, each]) : Object.entries(value)
    return inside.flatMap(([key, each]) =>
      places(each, `${name}${key.startsWith('[') || name === '' ? '' : '.'}${key}`),
    )
  }
  const {
    warnings: _,
    hasSlots: _slots,
    hubCa: _hub,
    contentCa: _content,
    provisioningCa: _dps,
    proxies: _proxies,
    ...file
  } = config
  for (const name of places(file, '')) assert.ok(documented.includes(name), name)
})

test('the default that is documented is the one that applies', async () => {
  const config = await readConfig(await fileOf(least()), {})
  for (const { name, path, fallback } of settings()) {
    if (fallback === undefined) continue
    assert.deepEqual(valueAt(config, path), fallback, name)
  }
})

test('0 minutes for a download are the default, as in the reference agent', async () => {
  const { downloadTimeoutInMinutes } = await readConfig(await fileOf({ ...least(), downloadTimeoutInMinutes: 0 }), {})
  assert.equal(downloadTimeoutInMinutes, (await readConfig(await fileOf(least()), {})).downloadTimeoutInMinutes)
})

function show(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const argv = [join(repositoryRoot(), 'dist/src/main.js'), 'check-config', '--config', file, ...args]
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8', env })
  assert.deepEqual([status, stderr], [0, ''])
  return stdout
}

/** A configuration with something in most sections. */
async function rich() {
  const pem = join(dir, 'ca.pem')
  await writeFile(pem, '-----BEGIN CERTIFICATE-----\nCONTENT\n-----END CERTIFICATE-----\n')
  const key = join(dir, 'swupdate.key')
  await writeFile(key, `${'ab'.repeat(32)} ${'cd'.repeat(16)}\n`, { mode: 0o600 })
  return {
    ...least(),
    downloadTimeoutInMinutes: 30,
    edgegatewayCertPath: pem,
    piAdu: {
      slots: { a: { device: '/dev/one', selection: 'x,1' }, compareBeforeWrite: false },
      swupdate: { keyFile: key, confine: 'off' },
      bundle: { allow: ['scripts'] },
      hub: { keepAliveSeconds: 60 },
      content: { allowedHosts: ['*', 'files.local'], caFile: pem, rangeBytes: 4096 },
      host: { rebootCommand: ['/sbin/reboot', '--password=hunter2'] },
      firmwareUpdate: { enabled: true, allowedHosts: ['files.local'] },
      leds: { green: 5 },
    },
  }
}

const PROXY = 'http://me:pass%2540word@proxy.example.com:3128'

test('check-config --show prints every setting once, marks defaults and shows no secret', async () => {
  const stdout = show(await fileOf(await rich()), ['--show'], { https_proxy: PROXY })
  const lines = stdout.trimEnd().split('\n')
  const named = lines.map(line => line.split(' ')[0])
  assert.deepEqual(named, [...settings().map(({ name }) => name), 'http_proxy', 'https_proxy', 'no_proxy'])
  const line = (name: string): string => lines.find(each => each.startsWith(`${name} `)) ?? assert.fail(name)
  assert.match(line('piAdu.bootState.tries'), / {2}3 {2}\(default\)$/)
  assert.match(line('downloadTimeoutInMinutes'), / {2}30$/)
  // In the file, although it is the default value.
  assert.match(line('piAdu.hub.keepAliveSeconds'), / {2}60$/)
  assert.match(line('piAdu.slots.a.device'), / {2}"\/dev\/one"$/)
  assert.match(line('piAdu.slots.b.device'), / {2}"\/dev\/pi-adu\/b" {2}\(default\)$/)
  assert.match(line('piAdu.swupdate.hardware'), / {2}not set: from \/etc\/hwrevision {2}\(default\)$/)
  assert.match(line('piAdu.leds.red'), / {2}not set {2}\(default\)$/)
  assert.match(line('https_proxy'), / {2}"http:\/\/…@proxy\.example\.com:3128\/"$/)
  const connection = line('agents[0].connectionSource.connectionData')
  assert.match(connection, / {2}"HostName=hub\.example\.com;DeviceId=pi1;SharedAccessKey=…"$/)
  for (const secret of [KEY, '40word', 'hunter2', 'CONTENT', 'abab']) assert.ok(!stdout.includes(secret), secret)
})

test('the key is masked wherever it stands, whatever its field is called and however short it is', async () => {
  const config = { ...(await rich()), model: `pi ${KEY}` }
  const source = config.agents[0]!.connectionSource
  for (const key of [KEY, 'YQ==']) {
    source.connectionData = `HostName=hub.example.com;DeviceId=pi1;SharedAccessKey=${key};SharedAccessKeyName=x`
    for (const option of ['--show', '--json']) {
      const stdout = show(await fileOf(config), [option])
      assert.ok(stdout.includes('SharedAccessKey=…;SharedAccessKeyName=x'))
      assert.ok(!stdout.includes(`=${key}`) && (key !== KEY || !stdout.includes(key)), option)
    }
  }
})

test('check-config --json has all that a configuration needs to be the same', async () => {
  const wanted = await rich()
  const stdout = show(await fileOf(wanted), ['--json'])
  const shown: Record<string, { value: unknown; default: boolean }> = JSON.parse(stdout)
  // biome-ignore lint/suspicious/noExplicitAny: a tree of any depth
  const built: any = {}
  for (const { name, path } of settings()) {
    const { value } = shown[name] ?? assert.fail(name)
    if (value === null) continue
    let inside = built
    for (const [i, step] of path.slice(0, -1).entries())
      inside = inside[step] ??= typeof path[i + 1] === 'number' ? [] : {}
    inside[path.at(-1)!] = value
  }
  built.agents[0].connectionSource.connectionData = wanted.agents[0]!.connectionSource.connectionData
  built.piAdu.host.rebootCommand = wanted.piAdu.host.rebootCommand
  assert.deepEqual(await readConfig(await fileOf(built), {}), await readConfig(await fileOf(wanted), {}))
  assert.equal(shown['piAdu.leds.red']?.value, null)
  assert.deepEqual(shown['piAdu.leds.green'], { value: 5, default: false })
  assert.deepEqual(shown['piAdu.bootState.tries'], { value: 3, default: true })
})

test('check-config --show of a file that is refused prints no setting', async () => {
  const file = await fileOf({ ...least(), piAdu: { hub: { keepAliveSeconds: 1 } } })
  const argv = [join(repositoryRoot(), 'dist/src/main.js'), 'check-config', '--config', file, '--show']
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' })
  assert.deepEqual([status, stdout], [78, ''])
  assert.match(stderr, /piAdu\.hub\.keepAliveSeconds: must be a whole number from 5 to 1200\n$/)
})
