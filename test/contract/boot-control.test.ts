import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { UbootEnv } from '../../src/adapters/uboot-env.ts'
import type { SlotName } from '../../src/domain/slot.ts'
import type { BootControl } from '../../src/ports.ts'
import { decodeBootEnv, writeBootEnv } from '../bench/workbench/boot-env.ts'
import { FakeDevice } from '../workflow/fake-device.ts'

const signal = new AbortController().signal
const folder = await mkdtemp(join(tmpdir(), 'boot-'))
after(() => rm(folder, { recursive: true }))

const envFile = join(folder, 'boot.env')
const options = { fwEnvConfig: join(folder, 'fw_env.config'), kernelCommandLine: join(folder, 'cmdline'), tries: 3 }

/** The real one: fw_printenv and fw_setenv on a file. */
async function real(booted: SlotName): Promise<BootControl> {
  await writeBootEnv(envFile, { primary: booted, trial: 'none', tries: 0 })
  await writeFile(options.fwEnvConfig, `${envFile} 0x0 0x200\n`)
  await writeFile(options.kernelCommandLine, `root=/dev/mmcblk0p2 ro panic=5 adu.slot=${booted} quiet\n`)
  return new UbootEnv(options)
}

async function fake(booted: SlotName): Promise<BootControl> {
  const device = new FakeDevice()
  device.booted = booted
  device.boot.primary = booted
  return device.plainPorts().boot
}

for (const [name, make] of [
  ['the fake', fake],
  ['fw_printenv and fw_setenv', real],
] as const) {
  describe(`BootControl: ${name}`, () => {
    for (const booted of ['a', 'b'] as const) {
      const other = booted === 'a' ? 'b' : 'a'

      test(`${booted}: reads what runs and what starts next`, async () => {
        const boot = await make(booted)
        assert.deepEqual(await boot.read(signal), { booted, primary: booted, trial: 'none', tries: 0 })
      })

      test(`${booted}: tryNext puts the other slot on trial, twice is as once`, async () => {
        const boot = await make(booted)
        for (let i = 0; i < 2; i++) {
          await boot.tryNext(other, signal)
          assert.deepEqual(await boot.read(signal), { booted, primary: other, trial: 'pending', tries: 3 })
        }
      })

      test(`${booted}: keepBooted drops a trial, twice is as once`, async () => {
        const boot = await make(booted)
        await boot.tryNext(other, signal)
        for (let i = 0; i < 2; i++) {
          await boot.keepBooted(signal)
          assert.deepEqual(await boot.read(signal), { booted, primary: booted, trial: 'none', tries: 0 })
        }
      })

      test(`${booted}: fallBack makes the other slot primary, twice is as once`, async () => {
        const boot = await make(booted)
        for (let i = 0; i < 2; i++) {
          await boot.fallBack(signal)
          assert.deepEqual(await boot.read(signal), { booted, primary: other, trial: 'failed', tries: 0 })
        }
      })
    }
  })
}

describe('fw_printenv and fw_setenv only', () => {
  test('the file stays one sector, and other variables stay in it', async () => {
    const boot = await real('a')
    await boot.tryNext('b', signal)
    const bytes = await readFile(envFile)
    assert.equal(bytes.length, 512)
    assert.deepEqual(decodeBootEnv(bytes), { primary: 'b', trial: 'pending', tries: 3 })
  })

  test('an unreadable boot state is named, not guessed', async () => {
    const boot = await real('a')
    await writeFile(envFile, Buffer.alloc(512, 0xff))
    await assert.rejects(boot.read(signal), { code: 'BOOT_STATE' })
  })

  test('a value that makes no sense is named', async () => {
    const boot = await real('a')
    await writeBootEnv(envFile, { primary: 'c' as 'a', trial: 'none', tries: 0 })
    await assert.rejects(boot.read(signal), { code: 'BOOT_STATE', message: /primary/ })
  })

  test('a system that our boot script did not start is named', async () => {
    const boot = await real('a')
    await writeFile(options.kernelCommandLine, 'root=/dev/sda1 quiet\n')
    await assert.rejects(boot.read(signal), { code: 'BOOT_STATE', message: /adu\.slot/ })
    await assert.rejects(boot.keepBooted(signal), { code: 'BOOT_STATE' })
  })

  test('a failing fw_setenv leaves the state and tells its own words', async () => {
    const boot = await real('a')
    const bin = join(folder, 'bin')
    const path = process.env.PATH
    await rm(bin, { recursive: true, force: true })
    const { mkdir } = await import('node:fs/promises')
    await mkdir(bin)
    await writeFile(join(bin, 'fw_setenv'), '#!/bin/sh\necho "Read-only file system" >&2\nexit 3\n')
    await chmod(join(bin, 'fw_setenv'), 0o755)
    process.env.PATH = `${bin}:${path}`
    try {
      await assert.rejects(boot.tryNext('b', signal), {
        code: 'BOOT_STATE',
        exitCode: 3,
        message: /exit code 3: Read-only file system/,
      })
    } finally {
      process.env.PATH = path
    }
    assert.equal((await boot.read(signal)).primary, 'a')
  })

  test('without the program it says so', async () => {
    const boot = await real('a')
    const path = process.env.PATH
    process.env.PATH = folder
    try {
      await assert.rejects(boot.read(signal), { code: 'BOOT_STATE', message: 'fw_printenv is not installed' })
    } finally {
      process.env.PATH = path
    }
  })
})
