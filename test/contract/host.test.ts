import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { programs } from '../../src/adapters/system/exec.ts'
import { SystemHost } from '../../src/adapters/system/host.ts'
import type { Host } from '../../src/ports/host.ts'
import type { Runner } from '../../src/ports/runner.ts'
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
const rebootCommand = [await program(join(folder, 'reboot'), `echo "$1 $2" > ${rebooted}`), '--now'] as const
const options = {
  manufacturer: 'contoso',
  model: 'ä'.repeat(60),
  versionFile: join(folder, 'adu-version'),
  kernelCommandLine: '/proc/cmdline',
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
      assert.deepEqual(await host.findings(signal, [], 60_000), [])
    })

    test('gives one finding for each thing that is wrong', async () => {
      const findings = await (await make('1', ['disk full', 'no display'])).findings(signal, [], 60_000)
      assert.equal(findings.length, 2)
      assert.match(findings[0] ?? '', /disk full/)
      assert.match(findings[1] ?? '', /no display/)
    })

    test('takes a reboot order', async () => (await make('1', [])).reboot([], signal))

    test('knows what it is', async () => {
      const information = await (await make('1', [])).information()
      assert.equal(information.manufacturer, 'contoso')
      assert.equal(typeof information.totalMemory, 'number')
      for (const value of Object.values(information)) assert.ok(Buffer.byteLength(String(value)) <= 64)
    })
  })
}

describe('the system only', () => {
  test('names the date of the bootloader in the EEPROM, where there is one', async () => {
    const bootloaderFile = join(folder, 'build-timestamp')
    const host = new SystemHost({ ...options, bootloaderFile }, log)
    assert.equal((await host.information()).bootloaderBuilt, undefined)
    await writeFile(bootloaderFile, Buffer.from('68663f80', 'hex'))
    assert.equal((await host.information()).bootloaderBuilt, '2025-07-03')
  })

  test('runs the reboot command as it is configured', async () => {
    await rm(rebooted, { force: true })
    await real.reboot([], signal)
    assert.equal(await readFile(rebooted, 'utf8'), '--now \n')
    await real.reboot(['0 tryboot'], signal)
    assert.equal(await readFile(rebooted, 'utf8'), '--now 0 tryboot\n')
  })

  test('a missing version file is no version', async () => {
    const host = new SystemHost({ ...options, versionFile: join(folder, 'none') }, log)
    assert.equal(await host.version(), '')
  })

  test('a check that hangs or cannot be run is a finding, named', async () => {
    await with_('1', [])
    await program(join(checksFolder, '10-hangs'), 'exec sleep 60')
    await program(join(checksFolder, '15-hangs-around-a-child'), 'sleep 60; exit 0')
    await writeFile(join(checksFolder, '20-other'), '#!/usr/bin/no-such-shell\nexit 0\n', { mode: 0o755 })
    await writeFile(join(checksFolder, '30-crlf'), '#!/bin/bash\r\nexit 0\r\n', { mode: 0o755 })
    await writeFile(join(checksFolder, '40-env-crlf'), '#!/usr/bin/env bash\r\nexit 0\r\n', { mode: 0o755 })
    const findings = await real.findings(signal, [], 60_000)
    const expected = [
      /^health check 10-hangs did not end within/,
      /^health check 15-hangs-around-a-child did not end within/,
      /^health check 20-other cannot be started: its interpreter \/usr\/bin\/no-such-shell does not exist/,
      /^health check 30-crlf cannot be started: it has Windows line ends \(CRLF\): its interpreter would be "\/bin\/bash\\r"/,
      /^health check 40-env-crlf failed with exit code 127: .*\(it has Windows line ends \(CRLF\); save it with LF\)/,
    ]
    assert.equal(findings.length, expected.length, findings.join('\n'))
    for (const [i, pattern] of expected.entries()) assert.match(findings[i] ?? '', pattern)
  })

  test('what is not an executable regular file is no check, and is said once', async () => {
    await with_('1', ['the only check'])
    for (const name of ['.gitkeep', 'README']) await writeFile(join(checksFolder, name), 'text')
    await program(join(checksFolder, '10-check~'), 'exit 1')
    await program(join(checksFolder, '.10-check.swp'), 'exit 1')
    await program(join(checksFolder, '10-check.dpkg-old'), 'exit 1')
    await program(join(checksFolder, '20-plain'), 'exit 1', 0o644)
    await mkdir(join(checksFolder, 'folder'))
    await symlink('nowhere', join(checksFolder, 'link'))
    const ignored: string[] = []
    const noting = { ...log, warn: (_: string, fields?: object) => ignored.push(JSON.stringify(fields)) }
    const host = new SystemHost(options, noting)
    for (const _ of [1, 2]) {
      const findings = await host.findings(signal, [], 60_000)
      assert.deepEqual(findings, ['health check 0 failed with exit code 1: the only check'])
    }
    assert.equal(ignored.length, 8, ignored.join('\n'))
  })

  test('a check that leaves a process running and exits with 0 has passed', async () => {
    await with_('1', [])
    await program(join(checksFolder, '10-starts'), 'sleep 60 & exit 0')
    assert.deepEqual(await real.findings(signal, [], 60_000), [])
  })

  test('checks together take no longer than they are given, and each that was cut short is named', async () => {
    await with_('1', [])
    for (const name of ['1', '2', '3']) await program(join(checksFolder, name), 'sleep 60; exit 0')
    const host = new SystemHost({ ...options, checkTimeout: 86_400_000 }, log)
    const begun = performance.now()
    const findings = await host.findings(signal, [], 500)
    assert.ok(performance.now() - begun < 5000)
    assert.match(findings.join('\n'), /^health check 1 did not end.*\nhealth check 2 was not run.*\nhealth check 3 was/)
  })

  test('a folder of checks that cannot be read is a finding, one that is missing has no checks', async () => {
    const none = new SystemHost({ ...options, checksFolder: join(folder, 'none') }, log)
    assert.deepEqual(await none.findings(signal, [], 60_000), [])
    const file = new SystemHost({ ...options, checksFolder: rebootCommand[0] }, log)
    assert.match((await file.findings(signal, [], 60_000)).join(), /^the health checks in .* cannot be read/)
  })

  test('failed units are findings, but for those that had failed before', async () => {
    await with_('1', [])
    const runner: Runner = {
      ...programs,
      run: async ([program]) => {
        assert.equal(program, 'systemctl')
        return 'web.service loaded failed failed The web'
      },
    }
    const host = new SystemHost({ ...options, failedUnits: true }, log, runner)
    assert.deepEqual(await host.failedUnits(signal), ['web.service'])
    assert.deepEqual(await host.findings(signal, [], 60_000), ['unit web.service failed'])
    assert.deepEqual(await host.findings(signal, ['web.service', 'other.service'], 60_000), [])
  })
})
