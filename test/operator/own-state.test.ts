import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ownState } from '../../src/operator/own-state.ts'
import { deploymentProgress, progress2021 } from '../../src/operator/progress.ts'
import { EVIL, OBEYED } from '../domain/evil.ts'
import { aDevice, aHub, report } from '../hub/support.ts'
import { operator } from './support.ts'

const piAdu = {
  ...{ format: 1, phase: 'waiting', progress: 40 },
  waitsFor: { what: 'gate', why: 'the shop is open', until: '2026-11-27T22:00Z' },
  slots: { booted: 'a', a: '1.0', b: '2.0', trial: 'failed' },
  layers: ['vpn 3', 'till 4'],
  lastTrial: { id: 'w0', reached: 'kernel 0, network 8', end: 'panic' },
  local: { id: 'l', resultCode: 0, cause: 'the stick was pulled' },
  certificate: { sha256: 'AB', notAfter: '2027-01-01T00:00:00.000Z' },
}
const service = { workflow: { action: 3, id: 'w1' } }
const lastInstallResult = { resultCode: 400, extendedResultCodes: '00000000', resultDetails: null }
const agent = { state: 6, workflow: { action: 3, id: 'w1' }, lastInstallResult }

test('watch and fleet --status show what a device of Device Update waits for', async t => {
  const hub = await aHub(t)
  for (const id of ['pi1', 'pi2']) hub.createDevice(id)
  hub.updateDesired('pi1', { deviceUpdate: { __t: 'c', service } })
  const { twin } = await aDevice(t, hub, 'pi1')
  await report(twin, { deviceUpdate: { __t: 'c', agent }, piAdu })
  const fleet = await operator(['fleet', '--query', 'SELECT * FROM devices', '--status'], hub)
  assert.equal(fleet.stderr, '')
  assert.deepEqual(fleet.stdout.split('\n'), [
    '▸ pi1  waiting 40 %: the shop is open (until 2026-11-27T22:00Z)',
    '    slots         a 1.0 (runs), b 2.0, trial failed',
    '    layers        vpn 3, till 4',
    '    last trial    reached kernel 0, network 8; ended by panic',
    '    local update  result 0: the stick was pulled',
    '    certificate   ends 2027-01-01T00:00:00.000Z',
    '· pi2  has never been updated through this hub',
  ])
  const json = await operator(['fleet', '--query', 'SELECT * FROM devices', '--status', '--json'], hub)
  const [one] = JSON.parse(json.stdout)
  assert.deepEqual([one.deviceId, one.updates[0].stage, one.own.phase], ['pi1', 'waiting', 'waiting'])

  await report(twin, { deviceUpdate: { __t: 'c', agent: { ...agent, state: 0 } } })
  const watched = await operator(['watch', '--device', 'pi1', '--json'], hub)
  assert.deepEqual(JSON.parse(watched.stdout).own.lines[0], 'slots         a 1.0 (runs), b 2.0, trial failed')
  assert.equal((await operator(['fleet', '--status'], hub)).exitCode, 64)
})

test('a device that lies about itself commands no terminal, and one of another format is not read', async t => {
  for (const lie of [1, [], null, { format: 2, phase: 'idle' }, { format: 1, phase: 7 }]) {
    assert.equal(ownState({ piAdu: lie }), undefined)
  }
  const hub = await aHub(t)
  hub.createDevice('pi1')
  const { twin } = await aDevice(t, hub, 'pi1')
  await report(twin, {
    piAdu: { format: 1, phase: EVIL, slots: { a: EVIL }, layers: [EVIL], local: { resultCode: 1, cause: EVIL } },
  })
  for (const args of [
    ['fleet', '--query', 'SELECT * FROM devices', '--status'],
    ['watch', '--device', 'pi1'],
  ]) {
    const { exitCode, stdout } = await operator(args, hub)
    assert.equal(exitCode, 0)
    assert.doesNotMatch(stdout, OBEYED)
  }
})

test('without piAdu a running deployment is in progress, as before', () => {
  const progress = deploymentProgress({ deviceUpdate: { service } }, { deviceUpdate: { agent } })
  assert.deepEqual([progress?.stage, progress?.phase, progress?.details], ['in progress', 'running', undefined])
})

const shows = (action: number, state: number, { acknowledged = action, code = 0 } = {}) => {
  const client = { state, resultCode: 200, extendedResultCode: code }
  const reported = { azureDeviceUpdateAgent: { client, service: { value: acknowledged, ac: 200 } } }
  const { stage, phase, details } = progress2021({ azureDeviceUpdateAgent: { service: { action } } }, reported) ?? {}
  return details === undefined ? [stage, phase] : [stage, phase, details]
}

test('the contract of 2021, phase by phase', () => {
  assert.equal(progress2021({}, {}), undefined)
  assert.deepEqual(shows(0, 0), ['downloading', 'running'])
  assert.deepEqual(shows(0, 2), ['downloaded', 'running'])
  assert.deepEqual(shows(1, 2), ['installing', 'running'])
  assert.deepEqual(shows(1, 4), ['installed', 'running'])
  assert.deepEqual(shows(2, 4), ['applying', 'running'])
  assert.deepEqual(shows(2, 0), ['applied', 'succeeded'])
  assert.deepEqual(shows(0, 0, { acknowledged: 2 }), ['downloading', 'running'])
  assert.deepEqual(shows(0, 255, { code: 0x80300001 | 0 }), ['failed', 'failed', '80300001'])
  assert.deepEqual(shows(255, 0), ['cancelled', 'rest'])
  assert.deepEqual(shows(255, 2), ['cancelling', 'rest'])
})
