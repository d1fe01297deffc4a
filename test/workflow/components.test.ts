import assert from 'node:assert/strict'
import test from 'node:test'
import type { Attempt } from '../../src/domain/attempt.ts'
import { EXTENDED_RESULT_CODE, ercText } from '../../src/domain/result-codes.ts'
import { type Disturbance, FakeDevice, type Goal } from './fake-device.ts'

const COMPONENTS = ['left', 'cam', 'right'].map(id => ({
  ...{ id, name: id, group: id === 'cam' ? 'cameras' : 'motors' },
  properties: {},
}))
const LIST: Extract<Goal, { list: unknown }>['list'] = [{}, { group: 'motors', child: [{}, {}] }, {}]
const ALL = ['0', '1.0@left', '1.1@left', '1.0@right', '1.1@right', '2'].flatMap(key => [
  `install ${key}`,
  `apply ${key}`,
])

async function run(list: typeof LIST, disturbances: readonly Disturbance[] = []): Promise<FakeDevice> {
  const device = new FakeDevice(disturbances)
  device.components = COMPONENTS
  device.order({ id: 'W1', list })
  await device.runUntil(() => device.journalReported && (device.journal as Attempt).workflow.id === 'W1')
  return device
}

const codes = (device: FakeDevice): readonly number[] =>
  Object.values(device.status.lastInstallResult?.stepResults ?? {}).map(({ resultCode }) => resultCode)

test('two of three components match: each gets every step of the child, between the steps of the parent', async () => {
  const device = await run(LIST)
  assert.deepEqual(device.service.effects, ALL)
  assert.deepEqual(codes(device), [700, 700, 700])
})

test('files of one name are kept apart, and components share those of a step', async () => {
  const device = new FakeDevice()
  device.components = COMPONENTS
  const seen: string[][] = []
  device.onEffect = () => seen.push([...device.workFolder.files.keys()].sort())
  device.order({ id: 'W1', list: LIST })
  await device.runUntil(() => device.journalReported)
  assert.deepEqual(seen[0], [
    ...['/downloads/W1/0/0.bin', '/downloads/W1/1.0/0.bin', '/downloads/W1/1.1/1.bin', '/downloads/W1/2/2.bin'],
  ])
})

test('a component that fails ends the list; the report has one result for all of them', async () => {
  const device = await run([{}, { group: 'motors', child: [{ install: 0 }] }, {}])
  assert.deepEqual(device.service.effects, ['install 0', 'apply 0', 'install 1.0@left'])
  assert.deepEqual(codes(device), [700, 0, 0])
  assert.match(device.status.lastInstallResult?.resultDetails ?? '', /component "left": the step says no/)
})

test('a part that nobody is for is skipped', async () => {
  const device = await run([{ group: 'pumps', child: [{ install: 0 }] }, {}])
  assert.deepEqual(
    [codes(device), device.service.effects],
    [[604, 700], ['install 0', 'apply 0'].map(each => each.replace('0', '1'))],
  )
})

test('a power cut or a kill at every effect: each component is updated once, or the report says which is unknown', async () => {
  const list: typeof LIST = [{ group: 'motors', child: [{}] }, {}]
  const installs = ['install 0.0@left', 'install 0.0@right', 'install 1']
  const undisturbed = (await run(list)).effects.length
  const unknown = ercText(EXTENDED_RESULT_CODE.STEP_UNKNOWN)
  for (let at = 0; at < undisturbed; at += 1) {
    const how = (['cutBefore', 'killed', 'cutAfter'] as const)[at % 3] ?? 'killed'
    const device = await run(list, [{ at, how }])
    const effects = device.service.effects.filter(effect => effect.startsWith('install'))
    const different = [...new Set(effects)]
    const context = `${how} at ${at} (${device.effects[at]}): ${effects}; ${JSON.stringify(device.status)}`
    const { resultCode, extendedResultCodes, resultDetails } = device.status.lastInstallResult ?? {}
    // In order, and none left out; once each, but for what the step itself has denied.
    assert.deepEqual(different, installs.slice(0, different.length), context)
    assert.ok(effects.length <= different.length + device.service.unknown.length, context)
    if (resultCode === 700) assert.deepEqual(different, installs, context)
    else {
      assert.equal(extendedResultCodes?.slice(0, 8), unknown, context)
      assert.match(resultDetails ?? '', /^step (0\.0|1)/, context)
    }
  }
  assert.ok(undisturbed > 40)
})
