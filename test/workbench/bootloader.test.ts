import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type BootEnv, readBootEnv, writeBootEnv } from '../bench/workbench/boot-env.ts'
import { type BundleSigner, openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { type PoweredDevice, type PowerOnOptions, startDevice } from '../bench/workbench/control.ts'
import { createDevice } from '../bench/workbench/device.ts'
import { agentLogTail, type DeviceFolder, readBootLog } from '../bench/workbench/device-folder.ts'
import { buildImage } from '../bench/workbench/image.ts'
import { readPower } from '../bench/workbench/power-file.ts'
import { isAlive, marked } from '../bench/workbench/processes.ts'
import { runProgram } from '../bench/workbench/program.ts'
import type { RootTree } from '../bench/workbench/root-tree.ts'
import type { Plan } from './fake-agent.ts'

const agent = fileURLToPath(new URL('fake-agent.js', import.meta.url))
let dir: string
let signer: BundleSigner
let devices = 0
const running: PoweredDevice[] = []

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bootloader-'))
  signer = await openBundleSigner(join(dir, 'state'))
})
afterEach(async () => {
  for (const device of running.splice(0)) await device.powerCut()
})
after(() => rm(dir, { recursive: true }))

async function newDevice(plan: Plan['do'], trees: { a?: RootTree; b?: RootTree } = {}): Promise<DeviceFolder> {
  devices += 1
  const folder = await createDevice(join(dir, `device-${devices}`), {
    connectionString: 'HostName=hub;DeviceId=d;SharedAccessKey=a2V5',
    rootKeys: [],
    bundleCertificate: signer.certificate,
    ...trees,
  })
  await setPlan(folder, plan)
  return folder
}

const setPlan = (folder: DeviceFolder, plan: Plan['do']) =>
  writeFile(join(folder.data, 'plan.json'), JSON.stringify({ do: plan }))

async function powerOn(folder: DeviceFolder, options: PowerOnOptions = {}): Promise<PoweredDevice> {
  const device = await startDevice(folder.dir, { agent, panicDelayMs: 20, ...options })
  running.push(device)
  return device
}

async function until<T>(what: string, look: () => Promise<T | undefined | false>, ms = 10_000): Promise<T> {
  for (const limit = Date.now() + ms; Date.now() < limit; await sleep(20)) {
    const seen = await look()
    if (seen) return seen
  }
  throw new Error(`waited ${ms} ms for ${what}`)
}

async function said(folder: DeviceFolder, event: string, times = 1) {
  return until(`${times} × ${event}`, async () => {
    const lines = (await agentLogTail(folder.dir, 1000)).flatMap(line =>
      line.startsWith('{') ? [JSON.parse(line)] : [],
    )
    const found = lines.filter(line => line.event === event)
    return found.length >= times && found.at(-1)
  })
}

const boots = async (folder: DeviceFolder) =>
  (await readBootLog(folder.dir)).map(({ slot, reason, cause }) => `${slot}: ${reason}, ${cause}`)
const onTrial: BootEnv = { primary: 'b', trial: 'pending', tries: 3 }

describe('a device', () => {
  test('starts its agent from the booted slot, with nothing that says what it is', async () => {
    const folder = await newDevice('idle')
    const device = await powerOn(folder)
    const start = await said(folder, 'start')
    assert.deepEqual([start.version, start.cwd, start.booted], ['1.0.0', folder.dir, 'a'])
    assert.equal((await stat(folder.config)).mode & 0o777, 0o600)
    const status = await device.status()
    assert.deepEqual([status.versions, status.booted], [{ a: '1.0.0', b: undefined }, 'a'])
    assert.match(await readFile(folder.commandLine, 'utf8'), / adu\.slot=a adu\.boot=1\n/)
    await device.powerOff()
    await said(folder, 'stopped')
  })

  test('passes an environment on', async () => {
    const folder = await newDevice('idle')
    const preload = join(dir, 'preload.cjs')
    await writeFile(
      preload,
      'process.stderr.write(JSON.stringify({ event: "preloaded", by: process.env.WHO }) + "\\n")',
    )
    await powerOn(folder, { environment: { NODE_OPTIONS: `--require ${preload}`, WHO: 'a=b' } })
    assert.equal((await said(folder, 'preloaded')).by, 'a=b')
  })

  test('cannot live in a folder whose name fw_env.config cannot hold', async () => {
    const description = { connectionString: 'x', rootKeys: [], bundleCertificate: signer.certificate }
    await assert.rejects(createDevice(join(dir, 'white space'), description), /white space/)
  })

  test('can be switched on only once', async () => {
    const folder = await newDevice('idle')
    await powerOn(folder)
    await assert.rejects(startDevice(folder.dir, { agent }), /did not switch on/)
    assert.match(await readFile(join(folder.dir, 'log/bootloader.log'), 'utf8'), /is switched on already/)
  })

  test('reboots when its agent asks', async () => {
    const folder = await newDevice('idle')
    const device = await powerOn(folder)
    await said(folder, 'start')
    await runProgram([folder.rebootProgram])
    assert.equal((await device.waitForBoot(2)).cause, 'reboot')
    await said(folder, 'start', 2)
    await said(folder, 'stopped')
  })

  test('starts an agent again that ends, five times, then starts over', async () => {
    const folder = await newDevice('die')
    const device = await powerOn(folder)
    assert.equal((await device.waitForBoot(2)).cause, 'panic')
    await device.powerCut()
    const starts = (await agentLogTail(folder.dir)).filter(line => line.includes('"start"')).length
    assert.ok(starts === 5 || starts === 6, `${starts}`)
  })
})

describe('a trial', () => {
  test('that is committed stays', async () => {
    const folder = await newDevice('commit', { b: { version: '2.0.0' } })
    await writeBootEnv(folder.bootEnv, onTrial)
    const device = await powerOn(folder)
    await said(folder, 'commit')
    assert.deepEqual(await readBootEnv(folder.bootEnv), { primary: 'b', trial: 'none', tries: 0 })
    await device.powerOff()
    await powerOn(folder)
    await said(folder, 'start', 2)
    assert.deepEqual(await boots(folder), ['b: trial, power on', 'b: committed, power on'])
    assert.equal((await readBootEnv(folder.bootBackup))?.primary, 'b')
  })

  for (const [name, tree, cause, options] of [
    ['panics', { version: '2.0.0', init: 'panics' }, 'panic', {}],
    ['hangs', { version: '2.0.0', init: 'hangs' }, 'watchdog', { watchdogMs: 1500 }],
    ['has no init', { version: '2.0.0', init: 'missing' }, 'slot cannot be started', {}],
    ['is no file system', undefined, 'slot cannot be started', {}],
  ] as const) {
    test(`of a system that ${name} falls back after its tries`, async () => {
      const folder = await newDevice('commit', tree ? { b: tree } : {})
      await writeBootEnv(folder.bootEnv, { primary: 'a', trial: 'none', tries: 0 })
      await writeBootEnv(folder.bootEnv, onTrial)
      await powerOn(folder, options)
      assert.equal((await said(folder, 'start')).version, '1.0.0')
      assert.deepEqual(await boots(folder), [
        'b: trial, power on',
        `b: trial, ${cause}`,
        `b: trial, ${cause}`,
        `a: fell back, ${cause}`,
      ])
      assert.deepEqual(await readBootEnv(folder.bootEnv), { primary: 'a', trial: 'failed', tries: 0 })
    })
  }

  test('that loses power costs a try each time', async () => {
    const folder = await newDevice('idle', { b: { version: '2.0.0' } })
    await writeBootEnv(folder.bootEnv, { ...onTrial, tries: 2 })
    for (let boot = 1; boot <= 3; boot += 1) {
      const device = await powerOn(folder)
      await device.waitForBoot(boot)
      await device.powerCut()
    }
    assert.deepEqual(
      (await readBootLog(folder.dir)).map(({ slot, tries }) => `${slot}${tries}`),
      ['b1', 'b0', 'a0'],
    )
  })
})

describe('a committed slot that cannot be started', () => {
  test('gives way to the other one', async () => {
    const folder = await newDevice('idle', { b: { version: '0.9.0' } })
    await writeFile(folder.slots.a, Buffer.alloc(4 << 20))
    await powerOn(folder)
    assert.equal((await said(folder, 'start')).version, '0.9.0')
    assert.deepEqual(await boots(folder), [
      'a: committed, power on',
      'b: other slot cannot be started, slot cannot be started',
    ])
  })
})

describe('a bootloader env', () => {
  for (const [name, spoil] of [
    ['torn in the middle', (env: Buffer) => env.fill(0xff, 10, 200)],
    ['too short', (env: Buffer) => env.subarray(0, 100)],
    ['of zeros', (env: Buffer) => env.fill(0)],
  ] as const) {
    test(`${name} leads to the slot of the second copy, which commits itself`, async () => {
      const folder = await newDevice('commit', { b: { version: '2.0.0' } })
      await writeBootEnv(folder.bootBackup, { primary: 'b', trial: 'none', tries: 0 })
      await writeFile(folder.bootEnv, spoil(await readFile(folder.bootEnv)))
      await powerOn(folder)
      assert.equal((await said(folder, 'start')).version, '2.0.0')
      await said(folder, 'commit')
      assert.deepEqual(await boots(folder), ['b: env recovered, power on'])
      assert.deepEqual(await readBootEnv(folder.bootEnv), { primary: 'b', trial: 'none', tries: 0 })
      assert.equal((await stat(folder.bootEnv)).size, 512)
    })
  }

  test('torn in the trial of a bad system, which the second copy names, leads back to the good one', async () => {
    const folder = await newDevice('commit', { b: { version: '2.0.0', init: 'panics' } })
    await writeBootEnv(folder.bootBackup, { primary: 'b', trial: 'none', tries: 0 })
    await rm(folder.bootEnv)
    await powerOn(folder)
    assert.equal((await said(folder, 'start')).version, '1.0.0')
    assert.deepEqual(await boots(folder), [
      'b: env recovered, power on',
      'b: trial, panic',
      'b: trial, panic',
      'b: trial, panic',
      'a: fell back, panic',
    ])
  })

  test('and second copy both missing lead to slot a', async () => {
    const folder = await newDevice('commit')
    await rm(folder.bootEnv)
    await powerOn(folder)
    assert.equal((await said(folder, 'start')).version, '1.0.0')
    await said(folder, 'commit')
    assert.deepEqual(await readBootEnv(folder.bootEnv), { primary: 'a', trial: 'none', tries: 0 })
  })
})

describe('a power cut', () => {
  test('leaves nothing running, and touches nobody else', async () => {
    const folder = await newDevice('idle')
    const device = await powerOn(folder)
    await said(folder, 'start')
    const power = (await readPower(folder))!
    const before = marked(power.mark, power.bootloader)
    // bootloader, init, what feeds the watchdog, the agent
    assert.ok(before.length >= 4, `${before.length} processes`)
    // One of the same name and folder that is not the device's.
    const stranger = spawn('sleep', ['60'], { cwd: folder.dir })
    await device.powerCut()
    assert.ok(!before.some(isAlive))
    assert.deepEqual(marked(power.mark), [])
    assert.equal(stranger.exitCode ?? stranger.signalCode, null)
    stranger.kill()
    await once(stranger, 'exit')
  })

  test('that hits the bootloader alone leaves leftovers, which the next one ends', async () => {
    const folder = await newDevice('idle')
    const device = await powerOn(folder)
    await said(folder, 'start')
    const power = (await readPower(folder))!
    process.kill(power.bootloader.pid, 'SIGKILL')
    await device.ended
    assert.ok(marked(power.mark).length >= 3)
    await powerOn(folder)
    await said(folder, 'start', 2)
    assert.deepEqual(marked(power.mark), [])
  })

  test('at any moment of endless updates never costs the last good system', async () => {
    const folder = await newDevice('updates')
    await buildImage(join(folder.data, 'next.img'), { version: '2.0.0' })
    const activations = async () =>
      (await agentLogTail(folder.dir, 1000)).filter(line => line.includes('"activate"')).length
    // Longer for as long as the machine is too slow to come to an activation.
    let longest = 600
    for (let round = 0; round < 15; round += 1) {
      const device = await powerOn(folder)
      await sleep(Math.random() * longest)
      await device.powerCut()
      if ((await activations()) === 0) longest = Math.min(longest * 1.4, 10_000)
      const env = await readBootEnv(folder.bootEnv)
      assert.ok(env, 'the env is whole')
      const { versions } = await device.status()
      assert.ok(versions[env.primary], `round ${round}: ${JSON.stringify({ env, versions })}`)
    }
    await setPlan(folder, 'commit')
    const before = (await readBootLog(folder.dir)).length
    const device = await powerOn(folder)
    await device.waitForBoot(before + 1)
    await until('a committed boot', async () => (await readBootEnv(folder.bootEnv))?.trial !== 'pending')
    assert.ok((await activations()) > 0, 'updates did go on')
    // Nothing was ever unbootable, so nothing ever fell back to recovery.
    assert.deepEqual(
      (await boots(folder)).filter(line => /recovered|cannot/.test(line)),
      [],
    )
  })

  test('of the process that switched the device on switches it off', async () => {
    const folder = await newDevice('idle')
    const script = `import { startDevice } from ${JSON.stringify(new URL('../bench/workbench/control.js', import.meta.url).href)}
      await startDevice(${JSON.stringify(folder.dir)}, { agent: ${JSON.stringify(agent)} })
      setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' })
    await said(folder, 'start')
    const power = (await readPower(folder))!
    child.kill('SIGKILL')
    await until('the end of the bootloader', async () => !isAlive(power.bootloader))
    assert.deepEqual(marked(power.mark), [])
  })
})
