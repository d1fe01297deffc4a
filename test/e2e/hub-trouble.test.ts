import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Fault } from '../bench/hub/hub.ts'
import { taken } from '../every.ts'
import { appears, type Pi, startRig } from './rig.ts'

/** The hub goes and comes back at each phase of a deployment; answers get lost. */

const rig = await startRig()
const { bench } = rig
const { hub } = bench
const two = await rig.system('2.0.0')
const slow = { bytesPerSecond: 8 << 20 }

const gone = (pi: Pi) => {
  hub.faults.inject({ kind: 'refuseConnections', deviceId: pi.id, times: 'always', how: 'reset' })
  hub.faults.inject({ kind: 'dropSockets', deviceId: pi.id })
}
const back = () => hub.faults.clear('refuseConnections')
/** Waits until the agent has tried in vain once more than it has by now. */
const triedInVain = async (pi: Pi) => {
  const before = (await pi.events.all('hub.lost')).length
  await pi.events.waitFor('hub.lost', before + 1)
}
const succeeds = (pi: Pi, id: string) => pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
const states = (pi: Pi) => pi.reports.map(({ state, lastInstallResult }) => `${state}/${lastInstallResult.resultCode}`)

rig.test('hub gone when the device is switched on', { on: false }, async pi => {
  gone(pi)
  await pi.switchOn()
  await pi.events.waitFor('hub.lost', 2)
  const id = pi.deploy(two)
  back()
  await succeeds(pi, id)
})

rig.test('hub gone when the deployment is made', {}, async pi => {
  await pi.ready()
  gone(pi)
  await triedInVain(pi)
  const id = pi.deploy(two)
  back()
  await succeeds(pi, id)
})

rig.test('hub gone while downloading, and back before the end', {}, async pi => {
  bench.content.faults[rig.contentPath(two)] = { bytesPerSecond: 400_000 }
  const id = pi.deploy(two)
  await pi.events.waitFor('install.progress')
  gone(pi)
  await triedInVain(pi)
  back()
  await pi.events.waitFor('hub.connected', 2)
  assert.deepEqual(await pi.events.all('install.end'), [], 'the download is not over')
  delete bench.content.faults[rig.contentPath(two)]
  await succeeds(pi, id)
  assert.equal((await pi.events.all('install.begin')).length, 1)
  assert.deepEqual(states(pi), ['6/400', '0/700'])
})

rig.test('hub gone from the download until well into the trial boot', {}, async pi => {
  bench.content.faults[rig.contentPath(two)] = slow
  const id = pi.deploy(two)
  await pi.waitFor(() => pi.agent?.state === 6, 'state 6')
  gone(pi)
  await pi.events.waitFor('agent.started', 2)
  await triedInVain(pi)
  assert.deepEqual(await pi.events.all('committed'), [], 'the hub is a part of health')
  back()
  await succeeds(pi, id)
})

/** Once the hub was reached, waits for a word from outside. */
const WAITING_CHECK = `#!/bin/sh
grep -q 'hub reached' "$BOARD_ROOT/../../data/journal.json" || exit 1
: > "$BOARD_ROOT/../waiting"
while [ ! -e "$BOARD_ROOT/../go" ]; do sleep 0.05; done
`

rig.test('hub gone between the proof of health and the final report', {}, async pi => {
  const id = pi.deploy(await rig.system('2.0.0', { tree: { healthChecks: { modem: WAITING_CHECK } } }))
  await pi.events.waitFor('hub.connected', 2)
  await appears(join(pi.folder.run, 'waiting'))
  gone(pi)
  await pi.events.waitFor('hub.lost')
  await writeFile(join(pi.folder.run, 'go'), '')
  await pi.events.waitFor('result')
  assert.equal(pi.agent?.state, 6)
  back()
  await succeeds(pi, id)
})

const lost: { readonly name: string; readonly fault: Fault; readonly finals: number }[] = [
  { name: 'is lost with its connection', fault: { kind: 'dropSockets' }, finals: 2 },
  { name: 'is answered with 429', fault: answer(429), finals: 1 },
  { name: 'is answered with 500', fault: answer(500), finals: 1 },
  { name: 'is answered with something that is not JSON', fault: answer(500, 'malformed'), finals: 1 },
]

for (const { name, fault, finals } of taken(lost)) {
  rig.test(`the final report ${name}, and is repeated`, { a: { version: '2.0.0' } }, async pi => {
    await pi.ready()
    // The acknowledgement of the order comes first.
    const off = hub.onReported((_, patch) => {
      // What the agent says of itself comes in between.
      if (!('deviceUpdate' in patch)) return
      const agent = (patch.deviceUpdate as { agent?: { state?: number } }).agent
      const strikes = fault.kind === 'dropSockets' ? agent?.state === 0 : agent === undefined
      if (!strikes) return
      off()
      hub.faults.inject({ ...fault, deviceId: pi.id } as Fault)
    })
    const id = pi.deploy(two)
    await succeeds(pi, id)
    await pi.events.waitFor('reported')
    assert.equal(pi.finals(id).length, finals)
    assert.deepEqual(pi.finals(id)[0], pi.finals(id).at(-1))
    // It is the last word, also after a restart.
    await pi.powerCut()
    await pi.switchOn()
    await pi.events.waitFor('mood', 2, ({ mood }) => mood === 'online')
    assert.equal(pi.finals(id).length, finals)
  })
}

rig.test('a final report that the hub will not have goes out without its text', {}, async pi => {
  await pi.ready()
  // Else the fault might strike this report.
  await pi.waitFor(() => (pi.reported as { piAdu?: { phase?: string } }).piAdu?.phase === 'idle', 'piAdu')
  const off = hub.onReported((_, patch) => {
    if (!('deviceUpdate' in patch) || (patch.deviceUpdate as { agent?: object }).agent) return
    off()
    hub.faults.inject({ ...answer(400), deviceId: pi.id } as Fault)
  })
  const id = pi.deploy(two, { signature: null })
  const { lastInstallResult } = await pi.settled(id)
  assert.deepEqual([lastInstallResult.extendedResultCodes, lastInstallResult.resultDetails], ['80300001', ''])
})

const passing: readonly Fault[] = [
  { kind: 'loseDesired' },
  { kind: 'duplicatePublish', times: 4 },
  { kind: 'expireTokens', times: 1 },
  { kind: 'forgetSessions' },
  { kind: 'refuseConnections', how: 'unavailable' },
  { kind: 'twinAnswer', to: 'get', times: 2, do: { do: 'fail', status: 429 } },
  { kind: 'twinAnswer', to: 'get', do: { do: 'fail', status: 500, body: 'malformed' } },
  { kind: 'twinAnswer', to: 'patch', times: 2, do: { do: 'delay', ms: 500 } },
]

for (const fault of taken(passing)) {
  rig.test(`hub fault ${JSON.stringify(fault)}`, {}, async pi => {
    await pi.ready()
    hub.faults.inject({ ...fault, deviceId: pi.id } as Fault)
    if (/refuse|twinAnswer/.test(fault.kind)) hub.faults.inject({ kind: 'dropSockets', deviceId: pi.id })
    const id = pi.deploy(two)
    // A patch that got lost is noticed at the next one.
    hub.updateDesired(pi.id, { lamp: { on: true } })
    await succeeds(pi, id)
    assert.deepEqual(states(pi).filter(state => state === '0/700').length, 1)
    assert.equal((await pi.events.all('install.begin')).length, 1)
  })
}

rig.test('a hub that falls silent while downloading', { piAdu: { hub: { keepAliveSeconds: 5 } } }, async pi => {
  const id = pi.deploy(two)
  await pi.waitFor(() => pi.agent?.state === 6, 'state 6')
  hub.faults.inject({ kind: 'blackHole', deviceId: pi.id })
  await succeeds(pi, id)
})

function answer(status: number, body?: 'malformed'): Fault {
  return { kind: 'twinAnswer', to: 'patch', do: { do: 'fail', status, ...(body ? { body } : {}) } }
}
