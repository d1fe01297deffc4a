import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { NoSlots } from '../../src/adapters/boot/no-slots.ts'
import { UbootEnv } from '../../src/adapters/boot/uboot-env.ts'
import { programs } from '../../src/adapters/system/exec.ts'
import type { BootState, SlotName } from '../../src/domain/slot.ts'
import type { BootControl } from '../../src/ports/boot-control.ts'
import { decodeBootEnv, readBootEnv, writeBootEnv } from '../bench/workbench/boot-env.ts'
import { decide } from '../bench/workbench/boot-rule.ts'
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

function fakeDevice(booted: SlotName): FakeDevice {
  const device = new FakeDevice()
  device.slots.b = { version: '2.0.0' }
  device.booted = booted
  device.boot.primary = booted
  return device
}

const fake = async (booted: SlotName): Promise<BootControl> => fakeDevice(booted).plainPorts().boot

/** A boot control and the bootloader that acts on it. */
interface Machine {
  readonly boot: BootControl
  /** By the reboot order with these arguments; undefined: the power was cut. */
  restart(args: readonly string[] | undefined): Promise<void>
}

async function fakeMachine(): Promise<Machine> {
  const device = fakeDevice('a')
  return { boot: device.plainPorts().boot, restart: async () => device.powerOn() }
}

async function realMachine(): Promise<Machine> {
  const boot = await real('a')
  return {
    boot,
    async restart() {
      const { boot: slot, write } = decide(await readBootEnv(envFile), undefined)
      if (write) await writeBootEnv(envFile, write)
      await writeFile(options.kernelCommandLine, `ro adu.slot=${slot} quiet\n`)
    },
  }
}

type Move = 'arm' | 'start' | 'commit' | 'fallBack' | 'restart' | 'power cut'
type Row = readonly [
  name: string,
  moves: readonly Move[],
  booted: SlotName,
  primary: SlotName,
  trial: BootState['trial'],
]

/** From slot a, committed. What holds for every boot control, whichever restart starts its trials. */
const TABLE: readonly Row[] = [
  ['nothing is asked for', ['restart', 'power cut'], 'a', 'a', 'none'],
  ['armed', ['arm'], 'a', 'b', 'pending'],
  ['armed and started', ['arm', 'start'], 'a', 'b', 'pending'],
  ['the trial', ['arm', 'start', 'restart'], 'b', 'b', 'pending'],
  ['started twice, as after an order that was lost', ['arm', 'start', 'start', 'restart'], 'b', 'b', 'pending'],
  ['armed, the power is cut, started', ['arm', 'power cut', 'start', 'restart'], 'b', 'b', 'pending'],
  ['a good trial', ['arm', 'start', 'restart', 'commit'], 'b', 'b', 'none'],
  ['a good trial stays', ['arm', 'start', 'restart', 'commit', 'power cut', 'restart'], 'b', 'b', 'none'],
  ['a bad trial', ['arm', 'start', 'restart', 'fallBack'], 'b', 'a', 'failed'],
  ['a bad trial is left', ['arm', 'start', 'restart', 'fallBack', 'restart'], 'a', 'a', 'failed'],
  ['a bad trial is left by a power cut', ['arm', 'start', 'restart', 'fallBack', 'power cut'], 'a', 'a', 'failed'],
  ['a trial that nobody settles', ['arm', 'start', 'restart', ...cuts(4)], 'a', 'a', 'failed'],
  ['a failed trial is closed', ['arm', 'start', 'restart', 'fallBack', 'restart', 'commit'], 'a', 'a', 'none'],
  ['dropped before it was started', ['arm', 'commit', 'restart', 'power cut'], 'a', 'a', 'none'],
  ['dropped between start and restart', ['arm', 'start', 'commit', 'power cut'], 'a', 'a', 'none'],
  ['a second trial after a failed one', [...failedOnce(), 'arm', 'start', 'restart', 'commit'], 'b', 'b', 'none'],
]

function cuts(count: number): Move[] {
  return Array<Move>(count).fill('power cut')
}

function failedOnce(): Move[] {
  return ['arm', 'start', 'restart', 'fallBack', 'restart', 'commit']
}

async function play({ boot, restart }: Machine, moves: readonly Move[]): Promise<BootState> {
  let args: readonly string[] = []
  for (const move of moves) {
    switch (move) {
      case 'arm': {
        await boot.arm((await boot.read(signal)).booted === 'a' ? 'b' : 'a', signal)
        break
      }
      case 'start':
        args = await boot.start(signal)
        break
      case 'restart':
        await restart(args)
        args = []
        break
      case 'power cut':
        await restart(undefined)
        args = []
        break
      default:
        await boot[move](signal)
    }
  }
  return boot.read(signal)
}

for (const [name, machine] of [
  ['the fake', fakeMachine],
  ['U-Boot’s rule, fw_printenv and fw_setenv', realMachine],
] as const) {
  describe(`a trial: ${name}`, () => {
    for (const [row, moves, booted, primary, trial] of TABLE) {
      test(row, async () => {
        const { tries: _, ...state } = await play(await machine(), moves)
        assert.deepEqual(state, { booted, primary, trial })
      })
    }
  })
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

      test(`${booted}: arm puts the other slot on trial, twice is as once`, async () => {
        const boot = await make(booted)
        for (let i = 0; i < 2; i++) {
          await boot.arm(other, signal)
          assert.deepEqual(await boot.read(signal), { booted, primary: other, trial: 'pending', tries: 3 })
        }
      })

      test(`${booted}: commit drops a trial, twice is as once`, async () => {
        const boot = await make(booted)
        await boot.arm(other, signal)
        for (let i = 0; i < 2; i++) {
          await boot.commit(signal)
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
    await boot.arm('b', signal)
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
    await assert.rejects(boot.commit(signal), { code: 'BOOT_STATE' })
  })

  test('a failing fw_setenv leaves the state and tells its own words', async () => {
    const boot = await real('a')
    const failing = new UbootEnv(options, {
      ...programs,
      run: (argv, limits) =>
        argv[0] === 'fw_setenv'
          ? programs.run(['sh', '-c', 'echo "Read-only file system" >&2; exit 3'], limits)
          : programs.run(argv, limits),
    })
    await assert.rejects(failing.arm('b', signal), {
      code: 'BOOT_STATE',
      exitCode: 3,
      message: /exit code 3: Read-only file system/,
    })
    assert.equal((await boot.read(signal)).primary, 'a')
  })

  test('without the program it says so', async () => {
    await real('a')
    const boot = new UbootEnv(options, {
      ...programs,
      run: (argv, limits) => programs.run(argv, { ...limits, env: { PATH: folder } }),
    })
    await assert.rejects(boot.read(signal), { code: 'BOOT_STATE', message: 'fw_printenv is not installed' })
  })

  test('a write that the file does not show is not taken for done', async () => {
    await real('a')
    const deaf = new UbootEnv(options, {
      ...programs,
      run: async (argv, limits) => (argv[0] === 'fw_setenv' ? '' : programs.run(argv, limits)),
    })
    await assert.rejects(deaf.arm('b', signal), { code: 'BOOT_STATE', message: /is not what was written/ })
  })
})

test('without slots: at rest in the only one, and nothing can be armed', async () => {
  const boot: BootControl = new NoSlots()
  const atRest = { booted: 'a', primary: 'a', trial: 'none', tries: 0 }
  assert.deepEqual(await boot.read(signal), atRest)
  await assert.rejects(boot.arm('b', signal), { code: 'BOOT_STATE', message: /no A\/B slots/ })
  await assert.rejects(boot.fallBack(signal), { code: 'BOOT_STATE' })
  assert.deepEqual(await boot.start(signal), [])
  await boot.commit(signal)
  assert.deepEqual(await boot.read(signal), atRest)
})
