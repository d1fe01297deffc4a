import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import type { Attempt } from '../../src/domain/attempt.ts'
import { Hosts } from '../../src/domain/hosts.ts'
import { type LocalAnswer, LocalSide } from '../../src/sources/local/local-side.ts'
import { type Disturbance, FakeDevice, type Part, type System } from './fake-device.ts'
import type { StepSpec } from './fake-steps.ts'

type List = readonly (StepSpec | Part | { readonly system: System })[]

const IMAGE = { system: { version: '2.0.0' } }

/** A person brings the list, at each start until it has begun. */
function brought(list: List, disturbances: readonly Disturbance[] = [], version?: string) {
  const device = new FakeDevice(disturbances)
  const folder = device.bringList('L', list, version)
  const answers: LocalAnswer[] = []
  const quiet = {
    log: { debug() {}, info() {}, warn() {}, error() {} },
    events: { tell() {}, saw() {} },
  }
  device.once = {
    local: loop => {
      const policy = { allowBundles: false, hosts: new Hosts('test', []) }
      const side = new LocalSide({ ...device.portsForSources(), ...quiet }, policy, loop)
      if (!answers.some(({ is }) => is === 'begun') && device.journal === undefined)
        void side.install(folder).then(answer => answers.push(answer))
      return side
    },
  }
  return { device, answers, back: () => void device.bringList('L', list, version) }
}

async function run(list: List, disturbances: readonly Disturbance[] = []): Promise<FakeDevice> {
  const { device } = brought(list, disturbances)
  await device.runUntil(() => device.journalReported)
  return device
}

const journalOf = (device: FakeDevice) => device.journal as Attempt
const codeOf = (device: FakeDevice) => journalOf(device).result?.resultCode
const shown = (device: FakeDevice) =>
  (device.reported as { piAdu: { local: { resultCode: number; codes?: string; cause?: string } } }).piAdu.local
const states = (device: FakeDevice) => journalOf(device).steps.map(({ state }) => state)

test('a list from a folder is carried out as one of the twin: all its files come from there', async () => {
  const device = await run([{}, IMAGE, {}])
  assert.deepEqual(device.service.effects, ['install 0', 'apply 0', 'image 2.0.0', 'install 2', 'apply 2'])
  assert.equal(shown(device).resultCode, 700)
  assert.deepEqual([device.system.version, device.boot.trial, device.boots], ['2.0.0', 'none', 2])
  assert.match(device.status.installedUpdateId ?? '', /9\.0\.0/)
  assert.equal(device.status.lastInstallResult, undefined)
  assert.equal(device.workFolder.files.size, 0)
})

test('parts of a device, steps that want a reboot, and those that want another process', async () => {
  const { device } = brought([{ apply: 705 }, { group: 'motors', child: [{}] }, { apply: 707 }])
  device.components = ['left', 'right'].map(id => ({ id, name: id, group: 'motors', properties: {} }))
  await device.runUntil(() => device.journalReported)
  assert.equal(codeOf(device), 700, JSON.stringify(journalOf(device)))
  assert.equal(new Set(device.service.effects).size, device.service.effects.length)
  assert.equal(device.service.effects.length, 8)
  assert.ok(device.boots > 1 && device.starts > 2, `${device.boots} ${device.starts}`)
})

test('a failed step ends it, with the step and its cause', async () => {
  const device = await run([{}, { install: 0 }, {}])
  assert.deepEqual(states(device), ['done', 'failed', 'ready'])
  assert.equal(shown(device).resultCode, 0)
  assert.match(shown(device).cause ?? '', /^step 1, /)
})

test('an older list than the system is refused if it has an image, and not otherwise', async () => {
  const older = brought([{}, IMAGE], [], '0.5.0')
  await older.device.runUntil(() => older.answers.length > 0)
  assert.equal(older.answers[0]?.is === 'refused' && older.answers[0].code, '32100015')
  const work = brought([{}], [], '0.5.0')
  await work.device.runUntil(() => work.device.journalReported)
  assert.equal(codeOf(work.device), 700)
})

describe('a stick that is pulled', () => {
  test('when the files of all steps are there: the list goes on', async () => {
    const { device } = brought([{}, {}])
    device.onEffect = () => device.pull()
    await device.runUntil(() => device.journalReported)
    assert.equal(codeOf(device), 700)
  })

  test('before that: one line, and nothing was done', async () => {
    const { device } = brought([{}, {}])
    device.disturbEach('workFolder.write', 'none')
    let count = 0
    const write = device.workFolder.write.bind(device.workFolder)
    device.workFolder.write = async (...given) => {
      if (count++ === 1) device.pull()
      return write(...given)
    }
    await device.runUntil(() => device.journalReported)
    assert.deepEqual(device.service.effects, [])
    assert.equal(shown(device).codes, '32100611')
  })

  test('before a reboot that a step wants: the rest fails with one line, unless it comes back in time', async () => {
    for (const comesBack of [false, true]) {
      const { device, back } = brought([{ apply: 705 }, {}])
      device.onEffect = () => device.pull()
      let at: number | undefined
      await device.runUntil(() => {
        if (device.boots > 1) at ??= device.passed
        if (comesBack && at !== undefined && device.passed > at + 60_000) back()
        return device.journalReported
      })
      const context = JSON.stringify(journalOf(device))
      assert.equal(codeOf(device), comesBack ? 700 : 0, context)
      assert.equal(shown(device).codes, comesBack ? undefined : '32100611', context)
      assert.deepEqual(device.service.effects.slice(0, 2), ['install 0', 'apply 0'])
      assert.ok(device.passed < 600_000)
    }
  })

  test('in a step during which the power goes: its outcome is found out, and it does not run twice', async () => {
    const first = await run([{}, {}])
    for (const [at, effect] of first.effects.entries()) {
      if (!effect.startsWith('service.') && effect !== 'steps.run') continue
      const { device } = brought([{}, {}], [{ at, how: 'cutAfter' }])
      device.onEffect = () => device.pull()
      await device.runUntil(() => device.journalReported)
      const context = `${effect} ${at}: ${device.service.effects} ${JSON.stringify(journalOf(device))}`
      assert.equal(new Set(device.service.effects).size, device.service.effects.length, context)
      assert.ok(!states(device).includes('running'), context)
      if (device.service.effects.length > 0 && device.service.effects.length < 4)
        assert.equal(codeOf(device), 0, context)
    }
  })

  test('for another one: that is not what was begun', async () => {
    const { device } = brought([{ apply: 705 }, {}])
    device.onEffect = () => void device.bringList('L', [{}], '9.1.0')
    await device.runUntil(() => device.journalReported)
    assert.equal(shown(device).codes, '32100610')
    assert.deepEqual(device.service.effects, ['install 0', 'apply 0'])
  })
})

test('a deployment of the twin takes the place of the rest of a list, after the step that was begun', async () => {
  const { device } = brought([{}, {}])
  let isOrdered = false
  device.onEffect = () => {
    if (!isOrdered) device.order({ id: 'W1', system: { version: '3.0.0' } })
    isOrdered = true
  }
  await device.runUntil(() => device.system.version === '3.0.0' && device.journalReported)
  assert.deepEqual(device.service.effects, ['install 0', 'apply 0', 'image 3.0.0'])
  assert.equal(shown(device).resultCode, 0)
})

test('an owner who takes no local deployments any more ends a list with one line', async () => {
  const { device } = brought([{ apply: 705 }, {}])
  device.onEffect = () => {
    device.once = {}
  }
  await device.runUntil(() => device.journalReported)
  assert.equal(shown(device).codes, '32100610')
})

describe('whatever disturbs it, each step has its effect once and in order, and the result is true', async () => {
  const list = [{ twoStages: true }, IMAGE, { apply: 705, twoStages: true }] as const
  const wanted = ['install 0', 'apply 0', 'image 2.0.0', 'install 2', 'apply 2']
  const { effects } = await run(list)
  // `lists.test.ts` has every combination for a list of the twin, which takes the same path.
  for (const [number, how] of (['cutAfter', 'killed', 'error'] as const).entries()) {
    test(`${how} at many of ${effects.length} effects`, async () => {
      for (const [at, effect] of effects.entries()) {
        if (number > 0 && at % 2 !== number - 1) continue
        const { device, answers } = brought(list, [{ at, how }])
        const isRefused = () => device.journal === undefined && answers.at(-1)?.is === 'refused'
        await device.runUntil(() => device.journalReported || isRefused())
        const context = `${how} at ${effect} ${at}: ${device.service.effects} ${JSON.stringify(device.journal)}`
        if (isRefused()) {
          assert.deepEqual(device.service.effects, [], context)
          continue
        }
        const done = [...new Set(device.service.effects)]
        assert.deepEqual(done, wanted.slice(0, done.length), context)
        const again = device.service.effects.filter((each, index, all) => all.indexOf(each) !== index)
        assert.ok(
          again.every(each => each.startsWith('image') || device.service.unknown.includes(each)),
          context,
        )
        if (codeOf(device) === 700) assert.equal(done.length, wanted.length, context)
        else assert.equal(states(device).filter(state => state === 'failed').length, 1, context)
        assert.equal(device.booted, device.boot.primary, context)
        assert.notEqual(device.boot.trial, 'pending', context)
      }
    })
  }
})
