import assert from 'node:assert/strict'
import test from 'node:test'
import { readLine } from '../../src/control/protocol.ts'
import { Publisher } from '../../src/control/publisher.ts'
import { moodOf } from '../../src/lights/mood.ts'
import type { ToldEvent } from '../../src/view/event.ts'
import type { AgentView } from '../../src/view/view.ts'
import { FakeDevice, type System } from './fake-device.ts'

const log = { debug() {}, info() {}, warn() {}, error() {} }

/** What watchers were told of the life of a device; all of it is as the schema of the control socket has it. */
function shown(device: FakeDevice) {
  const views: AgentView[] = []
  const events: ToldEvent[] = []
  const publisher = new Publisher(log)
  publisher.watch({ onView: view => void views.push(view), onEvent: event => void events.push(event) })
  for (const each of device.told) 'event' in each ? publisher.tell(each) : publisher.saw(each)
  for (const view of views) assert.deepEqual(readLine(JSON.stringify({ view })), { view })
  for (const event of events) assert.deepEqual(readLine(JSON.stringify(event)), event)
  return { views, events, last: publisher.view }
}

const once = <T>(values: readonly T[]): readonly T[] => values.filter((value, i) => value !== values[i - 1])
const names = (events: readonly ToldEvent[]) => once(events.map(({ event }) => event))
const phases = (views: readonly AgentView[]) => once(views.map(({ phase }) => phase))
/** As the lights show it in the moment of the view. */
const moods = (views: readonly AgentView[]) => once(views.map(view => moodOf(view, (view.updatedUntil ?? 1) - 1)))

async function deployed(system: System): Promise<FakeDevice> {
  const device = new FakeDevice()
  device.order({ id: 'W1', system })
  await device.runUntil(() => [0, 255].includes(device.status.state ?? 6) && device.journalReported)
  return device
}

test('an update, as it is shown from its beginning to its end', async () => {
  const { views, events, last } = shown(await deployed({ version: '2.0.0' }))
  assert.deepEqual(
    names(events).filter(name => name !== 'hub.connected' && name !== 'writing'),
    [
      ...['deployment.taken', 'install.begin', 'install.progress', 'install.end', 'activated', 'reboot'],
      ...['trial.begun', 'trial.finding', 'committed', 'result', 'reported'].filter(
        name => name !== 'trial.finding' || events.some(({ event }) => event === name),
      ),
    ],
  )
  const wanted = [
    'idle',
    'beginning',
    'installing',
    'activating',
    'rebooting',
    'trial',
    'committing',
    'ending',
    'reporting',
  ]
  const seen = phases(views).filter(phase => phase !== 'stopped')
  assert.deepEqual(
    seen.filter((phase, i) => seen.indexOf(phase) === i),
    wanted,
  )
  assert.deepEqual(
    moods(views).filter(mood => !['starting', 'online', 'downloading'].includes(mood)),
    ['writing', 'rebooting', 'writing', 'rebooting', 'trial', 'writing', 'updated'],
  )
  const sizes = views.flatMap(({ progress }) => (progress ? [progress] : []))
  assert.ok(
    sizes.some(({ bytes, size }) => size !== null && bytes === size),
    'the progress reaches the end',
  )
  assert.equal(last.progress, null)
  assert.deepEqual(last.boot, { booted: 'b', primary: 'b', trial: 'none', tries: 0 })
  assert.deepEqual([last.deployment?.workflowId, last.deployment?.ended, last.slots.b.version], ['W1', true, '2.0.0'])
  assert.deepEqual([last.lastResult?.resultCode, last.lastResult?.extendedResultCodes], [700, ['00000000']])
  assert.equal(last.waitsFor?.what, 'news')
})

test('a fall-back, with its reason', async () => {
  const { views, events, last } = shown(await deployed({ version: '2.0.0', findings: ['web.service failed'] }))
  const found = events.find(({ event }) => event === 'trial.finding')
  assert.equal(found?.event === 'trial.finding' && found.finding, 'web.service failed')
  const trial = views.findLast(({ waitsFor }) => waitsFor?.what === 'health')
  assert.equal(trial?.waitsFor?.why, 'web.service failed')
  assert.ok(trial?.waitsFor?.until)
  const fallBack = events.find(({ event }) => event === 'fall-back')
  assert.match(fallBack?.event === 'fall-back' ? fallBack.why : '', /web\.service failed/)
  const reboots = events.flatMap(event => (event.event === 'reboot' ? [event.why] : []))
  assert.deepEqual(reboots, ['trial', 'fallBack'])
  assert.match(last.lastResult?.details ?? '', /fell back to the old system: .*web\.service failed/)
  assert.equal(last.boot?.trial, 'failed')
  assert.equal(moodOf(last, 0), 'fellBack')
})

test('a deployment that is refused, a failure that is tried again, and a cancel', async () => {
  const device = new FakeDevice()
  device.disturbEach('boot.read', 'error')
  device.order({ id: 'W1', system: { version: '2.0.0' } })
  await device.runUntil(() => device.told.some(each => 'event' in each && each.event === 'action.failed'))
  assert.deepEqual([shown(device).last.waitsFor?.what, shown(device).last.phase], ['retry', 'stopped'])
  device.disturbEach('boot.read', 'none')
  device.order({ id: 'W1', cancel: true })
  await device.runUntil(() => device.status.state === 0 && device.journalReported)
  const result = shown(device).events.findLast(({ event }) => event === 'result' || event === 'reported')
  assert.equal(result?.event, 'reported')
  assert.equal(moodOf(shown(device).last, 0), 'online')

  const refused = new FakeDevice()
  refused.patchDesired({ deviceUpdate: { service: { workflow: { action: 3, id: 'W2' }, updateManifest: '{}' } } })
  await refused.runUntil(() => refused.status.state === 255 && refused.journalReported)
  const { events, last } = shown(refused)
  assert.ok(names(events).includes('deployment.refused'), names(events).join())
  assert.equal(moodOf(last, 0), 'failed')
})
