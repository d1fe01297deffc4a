import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { SystemHost } from '../../src/adapters/host.ts'
import type { Host } from '../../src/ports.ts'
import { FakeDevice } from '../workflow/fake-device.ts'

const signal = new AbortController().signal
const log = { debug() {}, info() {}, warn() {}, error() {} }
const folder = await mkdtemp(join(tmpdir(), 'host-'))
after(() => rm(folder, { recursive: true }))
const checksFolder = join(folder, 'health.d')
await mkdir(checksFolder)

async function program(file: string, text: string, mode = 0o755): Promise<string> {
  await writeFile(file, `#!/bin/sh\n${text}\n`)
  await chmod(file, mode)
  return file
}

const rebooted = join(folder, 'rebooted')
const rebootCommand = [await program(join(folder, 'reboot'), `echo "$1" > ${rebooted}`), '--now'] as const
const options = {
  manufacturer: 'contoso',
  model: 'ä'.repeat(60),
  versionFile: join(folder, 'adu-version'),
  rebootCommand: [...rebootCommand] as [string, ...string[]],
  failedUnits: false,
  checksFolder,
  checkTimeout: 300,
}
const real = new SystemHost(options, log)

async function with_(version: string, findings: readonly string[]): Promise<Host> {
  await writeFile(options.versionFile, `${version}\nsecond line\n`)
  await rm(checksFolder, { recursive: true })
  await mkdir(checksFolder)
  for (const [i, finding] of findings.entries())
    await program(join(checksFolder, `${i}`), `echo "${finding}" >&2; exit 1`)
  return real
}

async function fake(version: string, findings: readonly string[]): Promise<Host> {
  const device = new FakeDevice()
  device.slots.a = { version, findings }
  return device.plainPorts().host
}

for (const [name, make] of [
  ['the fake', fake],
  ['the system', with_],
] as const) {
  describe(`Host: ${name}`, () => {
    test('gives the version and no findings of a healthy system', async () => {
      const host = await make('2.0 beta', [])
      assert.equal(await host.version(), '2.0 beta')
      assert.deepEqual(await host.findings(signal, []), [])
    })

    test('gives one finding for each thing that is wrong', async () => {
      const findings = await (await make('1', ['disk full', 'no display'])).findings(signal, [])
      assert.equal(findings.length, 2)
      assert.match(findings[0] ?? '', /disk full/)
      assert.match(findings[1] ?? '', /no display/)
    })

    test('takes a reboot order', async () => (await make('1', [])).reboot(signal))

    test('knows what it is', async () => {
      const information = await (await make('1', [])).information()
      assert.equal(information.manufacturer, 'contoso')
      assert.equal(typeof information.totalMemory, 'number')
      for (const value of Object.values(information)) assert.ok(Buffer.byteLength(String(value)) <= 64)
    })
  })
}

describe('the system only', () => {
  test('runs the reboot command as it is configured', async () => {
    await rm(rebooted, { force: true })
    await real.reboot(signal)
    assert.equal(await readFile(rebooted, 'utf8'), '--now\n')
  })

  test('a missing version file is no version', async () => {
    const host = new SystemHost({ ...options, versionFile: join(folder, 'none') }, log)
    assert.equal(await host.version(), '')
  })

  test('a check that hangs or cannot be run is a finding, named', async () => {
    await with_('1', [])
    await program(join(checksFolder, '10-hangs'), 'exec sleep 60')
    await program(join(checksFolder, '20-plain'), 'exit 0', 0o644)
    const findings = await real.findings(signal, [])
    assert.match(findings[0] ?? '', /^health check 10-hangs did not end within/)
    assert.match(findings[1] ?? '', /^health check 20-plain is not executable/)
  })

  test('failed units are findings, but for those that had failed before', async () => {
    await with_('1', [])
    const bin = join(folder, 'bin')
    await mkdir(bin, { recursive: true })
    await program(join(bin, 'systemctl'), 'echo "web.service loaded failed failed The web"')
    const path = process.env.PATH
    process.env.PATH = `${bin}:${path}`
    try {
      const host = new SystemHost({ ...options, failedUnits: true }, log)
      assert.deepEqual(await host.failedUnits(signal), ['web.service'])
      assert.deepEqual(await host.findings(signal, []), ['unit web.service failed'])
      assert.deepEqual(await host.findings(signal, ['web.service', 'other.service']), [])
    } finally {
      process.env.PATH = path
    }
  })
})
