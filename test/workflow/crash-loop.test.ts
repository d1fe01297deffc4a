import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { AgentError } from '../../src/domain/errors.ts'
import type { WorkNote } from '../../src/ports/work-notes.ts'
import { CrashGuard, MAX_EXITS } from '../../src/sources/crash-guard.ts'
import { FakeDevice, type Goal, type System } from './fake-device.ts'

const V2: System = { version: '2.0.0' }
const CRASH_LOOP = '32100060'
const INTERNAL = '321000FF'

/** Deploys, with a disturbance at each call of one port; ends when the twin has the end of it. */
async function deployed(effect: string, how: 'killed' | 'cutBefore' | 'fault', goal: Goal = { id: 'W1', system: V2 }) {
  const device = new FakeDevice()
  device.disturbEach(effect, how)
  device.order(goal)
  await device.runUntil(() => [0, 255].includes(device.status.state ?? 6) && device.journalReported)
  return device
}

const codes = (device: FakeDevice): string | undefined => device.status.lastInstallResult?.extendedResultCodes
const details = (device: FakeDevice): string => device.status.lastInstallResult?.resultDetails ?? ''

describe('an order that ends the process', () => {
  for (const [effect, during] of [
    // The verification asks the key store first, and before that nothing of the order was looked at.
    ['keyStore.read', /verified this deployment/],
    ['installer.install', /worked on this deployment/],
    ['boot.arm', /worked on this deployment/],
  ] as const) {
    test(`at ${effect} is refused after ${MAX_EXITS} times, and the twin says so`, async () => {
      const device = await deployed(effect, 'killed')
      assert.equal(device.status.state, 255)
      assert.equal(codes(device)?.split(',')[0], CRASH_LOOP)
      assert.match(details(device), during)
      assert.equal(device.starts, MAX_EXITS + 1)
      assert.equal(device.boots, 1)
      assert.equal(device.system.version, '1.0.0')
    })
  }

  test('is tried again when it is ordered again, and a later order is taken', async () => {
    const device = await deployed('installer.install', 'killed')
    device.disturbEach('installer.install', 'none')
    device.order({ id: 'W1', retryTimestamp: 'now', system: V2 })
    await device.runUntil(() => device.status.lastInstallResult?.resultCode === 700 && device.journalReported)
    assert.equal(device.system.version, '2.0.0')
  })

  test('a machine that goes down in it counts otherwise', async () => {
    const device = await deployed('installer.install', 'cutBefore')
    assert.equal(codes(device)?.split(',')[0], '3210000A')
  })

  test('when all has ended well no note is left', async () => {
    const device = new FakeDevice()
    device.order({ id: 'W1', system: { version: '1.0.0' } })
    await device.runUntil(() => device.journalReported)
    device.order({ id: 'W2', system: V2 })
    await device.runUntil(() => device.status.lastInstallResult?.resultCode === 700 && device.journalReported)
    assert.equal(device.workNotes, '{}')
  })
})

describe('a fault of the agent', () => {
  for (const effect of ['keyStore.read', 'installer.install', 'content.get', 'boot.arm']) {
    test(`at ${effect} is the result of the deployment, once, and no end of the process`, async () => {
      const device = await deployed(effect, 'fault')
      assert.equal(device.status.state, 255)
      assert.equal(codes(device)?.split(',')[0], INTERNAL)
      assert.match(details(device), /^the agent has a fault here: a fault of the test/)
      assert.equal(device.starts, 1)
      device.disturbEach(effect, 'none')
      device.order({ id: 'W2', system: V2 })
      await device.runUntil(() => device.status.lastInstallResult?.resultCode === 700 && device.journalReported)
    })
  }
})

describe('notes of work', () => {
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  let disk: Record<string, WorkNote> = {}
  const toDisk = async (begun: Readonly<Record<string, WorkNote>>): Promise<void> => {
    disk = { ...begun }
  }
  const guardIn = (boot: string, write = toDisk) =>
    new CrashGuard({ log, workNotes: { read: async () => ({ boot, begun: disk }), write } })

  test('count a process that ended, not one that was stopped, nor a machine that went down', async () => {
    disk = {}
    for (let exit = 0; exit < MAX_EXITS; exit++) assert.equal(await guardIn('1').begin('k'), true)
    assert.equal(await guardIn('1').begin('k'), false)
    assert.equal(await guardIn('1').begin('other'), true)
    disk = {}
    for (let stop = 0; stop < 10; stop++) {
      const guard = guardIn('1')
      assert.equal(await guard.begin('k'), true)
      await guard.stop()
    }
    for (let boot = 0; boot < 10; boot++) assert.equal(await guardIn(`boot ${boot}`).begin('k'), true)
    assert.equal(disk.k?.starts, 1)
  })

  test('are few, and gone when all has ended', async () => {
    disk = {}
    const guard = guardIn('1')
    for (let key = 0; key < 100; key++) await guard.begin(`k${key}`)
    assert.ok(Object.keys(disk).length <= 16)
    for (let key = 0; key < 100; key++) await guard.end(`k${key}`)
    assert.deepEqual(disk, {})
  })

  test('that cannot be written hold nothing up', async () => {
    disk = {}
    const guard = guardIn('1', async () => Promise.reject(new AgentError('JOURNAL', 'disk full')))
    assert.equal(await guard.begin('k'), true)
    await guard.end('k')
  })
})
