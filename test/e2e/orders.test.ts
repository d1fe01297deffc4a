import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { JsonObject } from '../bench/hub/json.ts'
import { readPower } from '../bench/workbench/power-file.ts'
import { marked } from '../bench/workbench/processes.ts'
import { type Pi, startRig } from './rig.ts'

/** Orders that change their mind: cancel, replace, retry, deliver again. */

const rig = await startRig()
const { bench } = rig
const two = await rig.system('2.0.0')
const three = await rig.system('3.0.0')
const path = rig.contentPath(two)
const { faults, stats } = bench.content

const cancelled = (id: string) => ({
  state: 0,
  workflow: { action: 3, id },
  lastInstallResult: {
    resultCode: -1,
    extendedResultCodes: '00000000',
    resultDetails: 'cancelled; the running system was not touched',
    stepResults: {
      step_0: {
        resultCode: -1,
        extendedResultCodes: '00000000',
        resultDetails: 'cancelled; the running system was not touched',
      },
    },
  },
})

const idle = (id: string) => ({
  state: 0,
  workflow: { action: 255, id },
  lastInstallResult: { resultCode: 200, extendedResultCodes: '00000000', resultDetails: '', stepResults: null },
})

for (const [name, named] of [
  ['nodeployment', false],
  ['its own id', true],
] as const) {
  rig.test(`cancel with ${name} while downloading`, {}, async pi => {
    const id = await inDownload(pi)
    bench.cancel(pi.id, named ? id : undefined)
    assert.deepEqual(await pi.settled(id), cancelled(id))
    await withoutSwupdate(pi)
    assert.deepEqual(await bootOf(pi), { primary: 'a', trial: 'none', booted: 'a' })
    // Once more the same, and over a new connection: nothing is left to be said about it.
    bench.cancel(pi.id, named ? id : undefined)
    await reconnected(pi)
    await pi.expectResult(pi.deploy(three), { resultCode: 700, version: '3.0.0' })
    assert.deepEqual(pi.reports.map(summary), ['6', '0/-1', '6', '0/700'])
  })
}

rig.test('cancel when idle: answered once, not again over a new connection', {}, async pi => {
  await pi.ready()
  bench.cancel(pi.id)
  assert.deepEqual(await pi.settled('nodeployment', { action: 255 }), idle('nodeployment'))
  bench.cancel(pi.id)
  await reconnected(pi)
  await pi.powerCut()
  await pi.switchOn()
  await pi.expectResult(pi.deploy(two), { resultCode: 700, version: '2.0.0' })
  assert.deepEqual(pi.reports.map(summary), ['0/200', '6', '0/700'])
  // After a deployment the same words are a new cancel.
  bench.cancel(pi.id)
  await pi.waitFor(() => pi.reports.length === 4, 'the answer to the second cancel')
  assert.deepEqual(pi.reports[3], idle('nodeployment'))
})

rig.test('cancel clears a failure', {}, async pi => {
  const id = pi.deploy(two, { signature: null })
  await pi.settled(id)
  bench.cancel(pi.id, id)
  assert.deepEqual(await pi.settled(id, { action: 255 }), idle(id))
  assert.equal(pi.agent?.state, 0)
})

rig.test('cancel when the new system is starting: the trial is settled first', {}, async pi => {
  const id = pi.deploy(two)
  await pi.events.waitFor('reboot')
  bench.cancel(pi.id, id)
  assert.deepEqual(await pi.settled(id, { action: 255 }), idle(id))
  assert.deepEqual(pi.reports.map(summary), ['6', '0/700', '0/200'])
  assert.equal(await pi.version(), '2.0.0')
})

rig.test('replaced while downloading', {}, async pi => {
  const first = await inDownload(pi)
  const second = pi.deploy(three)
  await pi.expectResult(second, { resultCode: 700, version: '3.0.0' })
  assert.deepEqual(pi.finals(first), [], 'nobody asks for the first one any more')
  assert.deepEqual(pi.reports.map(summary), ['6', '6', '0/700'])
})

rig.test('replaced by another manifest under the same id', {}, async pi => {
  const workflowId = await inDownload(pi)
  await pi.expectResult(pi.deploy(three, { workflowId }), { resultCode: 700, version: '3.0.0' })
})

rig.test('an update for the slot that is being written is not started by half', {}, async pi => {
  await inDownload(pi)
  await pi.powerCut()
  await pi.switchOn()
  await pi.events.waitFor('install.begin', 2)
  assert.deepEqual(await bootOf(pi), { primary: 'a', trial: 'none', booted: 'a' })
  delete faults[path]
  await pi.powerCut()
  await pi.switchOn()
  await pi.waitFor(() => pi.reports.some(report => summary(report) === '0/700'), 'success')
})

rig.test('a failed deployment is run again for a new retryTimestamp, and only then', {}, async pi => {
  faults[path] = { status: 404 }
  const id = pi.deploy(two)
  await pi.expectResult(id, { resultCode: 0, code: '40000005', version: '1.0.0' })
  delete faults[path]
  const { requests } = stats[path]!

  pi.deploy(two, { workflowId: id })
  await acknowledged(pi)
  await reconnected(pi)
  process.kill(await pi.events.pid(), 'SIGKILL')
  await pi.events.waitFor('hub.connected', 3)
  await acknowledged(pi)
  await pi.powerCut()
  await pi.switchOn()
  await pi.events.waitFor('hub.connected', 4)
  await acknowledged(pi)
  assert.equal(stats[path]!.requests, requests)
  assert.equal(pi.reports.length, 2)

  const retryTimestamp = '2026-01-26T11:33:29.9680598Z'
  bench.retry(pi.id, retryTimestamp)
  const report = await pi.expectResult(id, { retryTimestamp, resultCode: 700, version: '2.0.0' })
  assert.deepEqual(report.workflow, { action: 3, id, retryTimestamp })
  assert.deepEqual(pi.reports.map(summary), ['6', '255/0', '6', '0/700'])

  // Of what is installed, a retry only says so.
  bench.retry(pi.id, '2026-01-27T00:00:00Z')
  await pi.expectResult(id, { retryTimestamp: '2026-01-27T00:00:00Z', resultCode: 700, version: '2.0.0' })
  assert.deepEqual(pi.reports.map(summary).slice(4), ['0/700'])
})

rig.test('a retryTimestamp while downloading starts over', {}, async pi => {
  const id = await inDownload(pi)
  delete faults[path]
  bench.retry(pi.id, '2026-01-26T11:33:29Z')
  await pi.expectResult(id, { retryTimestamp: '2026-01-26T11:33:29Z', resultCode: 700, version: '2.0.0' })
  assert.deepEqual(pi.reports.map(summary), ['6', '6', '0/700'])
})

rig.test('a fall-back is not tried again after a restart', { tries: 1 }, async pi => {
  const id = pi.deploy(await rig.system('4.0.0', { tree: { init: 'panics' } }))
  await pi.expectResult(id, { resultCode: 0, code: '3210000C', version: '1.0.0' })
  const boots = await pi.power.bootCount()
  await pi.powerCut()
  await pi.switchOn()
  await pi.events.waitFor('hub.connected', 3)
  await acknowledged(pi)
  assert.equal(await pi.power.bootCount(), boots + 1)
  assert.deepEqual(pi.reports.map(summary), ['6', '255/0'])
})

function summary({ state, lastInstallResult }: Pi['reports'][number]): string {
  return state === 6 ? '6' : `${state}/${lastInstallResult.resultCode}`
}

/** Resolves, with the order's id, in the midst of a download that would take a while longer. */
async function inDownload(pi: Pi): Promise<string> {
  faults[path] = { bytesPerSecond: 400_000, times: 1 }
  const id = pi.deploy(two)
  await pi.events.waitFor('install.progress')
  return id
}

async function withoutSwupdate(pi: Pi): Promise<void> {
  const power = await readPower(pi.folder)
  const names = marked(power!.mark).map(({ pid }) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim())
  assert.ok(!names.includes('swupdate'), names.join(' '))
}

async function bootOf(pi: Pi) {
  const { boot, booted } = await pi.power.status()
  return { primary: boot?.primary, trial: boot?.trial, booted }
}

/** A new connection, over which the twin was read and looked at. */
async function reconnected(pi: Pi): Promise<void> {
  const before = (await pi.events.all('hub.connected')).length
  bench.hub.faults.inject({ kind: 'dropSockets', deviceId: pi.id })
  await pi.events.waitFor('hub.connected', before + 1)
  await acknowledged(pi)
}

/** The agent has looked at the desired properties as they stand. */
async function acknowledged(pi: Pi): Promise<void> {
  const version = bench.hub.updateDesired(pi.id, { deviceUpdate: { service: { note: Math.random() } } })
  const service = () => (pi.reported.deviceUpdate as Record<string, JsonObject> | undefined)?.service
  await pi.waitFor(() => service()?.av === version, `the acknowledgement of ${version}`)
}
