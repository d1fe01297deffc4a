import assert from 'node:assert/strict'
import test from 'node:test'
import { moodOf } from '../../src/lights/mood.ts'
import { afterEvent, afterLook } from '../../src/view/changes.ts'
import type { Mood } from '../../src/view/event.ts'
import { NOTHING } from '../../src/view/view.ts'
import { type Disturbance, FakeDevice, type Goal } from './fake-device.ts'

/** Whatever leaves something half written when the power goes. */
const WRITES = /^(installer\.install|boot\.(arm|commit|fallBack)|(install|apply|image) .*)$/
/** What comes in the middle of an installation. */
const WITHIN = /^(content|leftovers)\./

/** A device that notes what its lights show whenever something has an effect. */
class LitDevice extends FakeDevice {
  readonly seen: { readonly effect: string; readonly mood: Mood }[] = []

  constructor(disturbances: readonly Disturbance[] = []) {
    super(disturbances)
    let view = NOTHING
    const before = <T>(list: T[], call: (each: T) => void): void => {
      const push = list.push.bind(list)
      list.push = (...items) => {
        for (const each of items) call(each)
        return push(...items)
      }
    }
    before(this.told, each => {
      view = 'event' in each ? afterEvent(view, each, 0) : afterLook(view, each, 0)
    })
    const note = (effect: string): void => void this.seen.push({ effect, mood: moodOf(view, 0) })
    before(this.effects, note)
    before(this.service.effects, note)
  }

  /** Effects that write, and what comes while they do, with another mood. */
  get unseen(): readonly string[] {
    let isInstalling = false
    return this.seen.flatMap(({ effect, mood }) => {
      isInstalling = effect === 'installer.install' || (isInstalling && WITHIN.test(effect))
      return (WRITES.test(effect) || isInstalling) && mood !== 'writing' ? [`${effect}: ${mood}`] : []
    })
  }
}

type Run = readonly [name: string, goal: Goal, more?: (device: LitDevice) => Promise<void>]

const ended = (device: FakeDevice): boolean => [0, 255].includes(device.status.state ?? 6) && device.journalReported

const RUNS: readonly Run[] = [
  ['an update', { id: 'W1', system: { version: '2.0.0' } }],
  ['a fall-back', { id: 'W1', system: { version: '2.0.0', findings: ['web.service failed'] } }],
  ['a panic', { id: 'W1', system: { version: '2.0.0', panics: true } }],
  ['a list', { id: 'W1', list: [{}, { system: { version: '2.0.0' } }, { twoStages: true }] }],
  [
    'a cancel after the boot state was written',
    { id: 'W1', system: { version: '2.0.0' } },
    async device => {
      device.ignoresReboots = true
      await device.runUntil(() => device.boot.trial === 'pending')
      device.order({ id: 'W1', cancel: true })
    },
  ],
]

async function run([, goal, more]: Run, disturbances: readonly Disturbance[] = []): Promise<LitDevice> {
  const device = new LitDevice(disturbances)
  device.order(goal)
  await more?.(device)
  await device.runUntil(() => ended(device))
  return device
}

for (const each of RUNS)
  test(`the lights say that the power must stay on whenever something is written: ${each[0]}`, async () => {
    const device = await run(each)
    assert.ok(device.seen.some(({ effect }) => WRITES.test(effect)))
    assert.deepEqual(device.unseen, [])
    // And not while files of steps are downloaded, nor in the end.
    for (const { effect, mood } of device.seen) if (effect === 'workFolder.write') assert.equal(mood, 'downloading')
    assert.notEqual(device.seen.at(-1)?.mood, 'writing')
  })

test('the same after a power cut, an error or a dead agent at a write, or just before it', async () => {
  const [, fallBack] = RUNS as [Run, Run]
  const { effects } = await run(fallBack)
  const writes = effects.flatMap((effect, at) => (WRITES.test(effect) ? [at - 1, at] : []))
  assert.ok(writes.length >= 6)
  for (const at of writes)
    for (const how of ['cutBefore', 'cutAfter', 'error', 'killed'] as const)
      assert.deepEqual((await run(fallBack, [{ at, how }])).unseen, [], `${how} at ${at}`)
})
