import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import type { Attempt } from '../../src/domain/attempt.ts'
import type { StepRecord } from '../../src/domain/step-record.ts'
import { type Disturbance, errorOf, FakeDevice, type Goal, type System } from './fake-device.ts'
import type { StepSpec } from './fake-steps.ts'
import { damage, MemoryDisk } from './memory-disk.ts'

type Spec = StepSpec | { readonly system: System }
type List = readonly Spec[]

const ID = 'W1'
const IMAGE: Spec = { system: { version: '2.0.0' } }
const PANICS: Spec = { system: { version: '2.0.0', panics: true } }

const isImage = (spec: Spec | undefined): spec is { readonly system: System } => spec !== undefined && 'system' in spec

const isOver = (device: FakeDevice, id: string) => (): boolean =>
  device.status.workflow?.id === id &&
  device.status.state !== 6 &&
  device.boot.trial !== 'pending' &&
  device.journalReported &&
  (device.journal as Attempt).workflow.id === id

/** Runs a list to its end, with every rule that holds whatever disturbs it. */
async function run(list: List, disturbances: readonly Disturbance[] = [], ...ids: string[]): Promise<FakeDevice> {
  const device = new FakeDevice(disturbances)
  device.onEffect = () => allFilesAreThere(device, list)
  device.order({ id: ID, list })
  const ends = [ID, ...ids]
  await device.runUntil(() => ends.some(id => isOver(device, id)()))
  sound(device, list)
  return device
}

/** Before the first effect, the files of each step that is not on the device are there. */
function allFilesAreThere(device: FakeDevice, list: List): void {
  if (device.service.effects.length > 0 || device.installs > 1) return
  for (const [at, spec] of list.entries()) {
    if (isImage(spec) || spec.there) continue
    assert.ok(device.workFolder.files.has(`/downloads/${ID}/${at}/${at}.bin`), `${at} of ${JSON.stringify(list)}`)
  }
}

function sound(device: FakeDevice, list: List): void {
  const { effects, unknown } = device.service
  const context = `${JSON.stringify(list)}: ${effects}; ${JSON.stringify(device.status)}; ${device.effects.slice(-12)}`
  const journal = device.journal as Attempt
  assert.notEqual(device.slots[device.boot.primary], 'broken', context)
  assert.equal(device.booted, device.boot.primary, context)
  // Once, or as often as a step has said itself that it is not there.
  for (const effect of new Set(effects)) {
    const times = effects.filter(each => each === effect).length
    const again = unknown.filter(each => each === effect).length
    assert.ok(times <= 1 + again || effect.startsWith('image'), `${effect} ${times} times: ${context}`)
  }
  // In order.
  const order = effects.map(effect => placeOf(effect, list))
  assert.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
    context,
  )
  if (journal.workflow.id !== ID) return
  // The report is true: what is done has had its effect, what was not begun has had none.
  for (const [at, step] of journal.steps.entries()) {
    const had = effects.some(effect => placeOf(effect, list) === at)
    const spec = list[at]
    if (step.state === 'done' && !isImage(spec)) assert.ok(had, `${at} is done without an effect: ${context}`)
    if (step.state === 'done' && spec && !isImage(spec) && spec.twoStages)
      assert.ok(effects.includes(`apply ${at}`), `${at} is done and was never applied: ${context}`)
    if (step.state === 'skipped' || step.state === 'pending' || step.state === 'ready')
      assert.ok(!had || isImage(spec), `${at} is ${step.state}, and had an effect: ${context}`)
    assert.notEqual(step.state, 'running', context)
  }
  const code = device.status.lastInstallResult?.resultCode
  const states = journal.steps.map(({ state }) => state)
  if (code === 700)
    assert.ok(
      states.every(state => ['done', 'skipped'].includes(state)),
      context,
    )
  else assert.equal(states.filter(state => state === 'failed').length, 1, context)
  // Nothing follows a failure.
  const failed = states.indexOf('failed')
  if (failed >= 0)
    assert.ok(
      order.every(at => at <= failed),
      context,
    )
  assert.equal(device.workFolder.files.size, 0, `files are left: ${context}`)
  const results = device.status.lastInstallResult?.stepResults ?? {}
  assert.deepEqual(
    Object.keys(results),
    list.map((_, at) => `step_${at}`),
    context,
  )
}

function placeOf(effect: string, list: List): number {
  const [verb, what = ''] = effect.split(' ')
  if (verb !== 'image') return Number(what)
  return list.findIndex(spec => isImage(spec) && spec.system.version === what)
}

const codes = (device: FakeDevice): readonly number[] =>
  Object.values(device.status.lastInstallResult?.stepResults ?? {}).map(({ resultCode }) => resultCode)
const codeOf = (device: FakeDevice): string => device.status.lastInstallResult?.extendedResultCodes ?? ''
const detailsOf = (device: FakeDevice): string => device.status.lastInstallResult?.resultDetails ?? ''
const stepsOf = (device: FakeDevice): readonly StepRecord[] => (device.journal as Attempt).steps

describe('a list', () => {
  test('of work: each step is installed, then applied, after the files of all are there', async () => {
    const device = await run([{}, {}, {}])
    assert.deepEqual(device.service.effects, ['install 0', 'apply 0', 'install 1', 'apply 1', 'install 2', 'apply 2'])
    assert.deepEqual(codes(device), [700, 700, 700])
    assert.equal(device.boots, 1)
    assert.equal(JSON.parse(device.status.installedUpdateId ?? '{}').version, '9.0.0')
  })

  test('with an image: it is tried and committed before the next step runs, in the new system', async () => {
    const seen: string[] = []
    const device = new FakeDevice()
    device.onEffect = () => seen.push(`${device.system.version} ${device.boot.trial}`)
    device.order({ id: ID, list: [{}, IMAGE, {}] })
    await device.runUntil(isOver(device, ID))
    assert.deepEqual(codes(device), [700, 700, 700])
    assert.deepEqual(seen, ['1.0.0 none', '1.0.0 none', '1.0.0 none', '2.0.0 none', '2.0.0 none'])
    assert.equal(device.boots, 2)
  })

  test('of two images: one after the other', async () => {
    const device = await run([IMAGE, {}, { system: { version: '3.0.0' } }])
    assert.deepEqual(codes(device), [700, 700, 700])
    assert.deepEqual([device.system.version, device.boots, device.installs], ['3.0.0', 3, 2])
  })

  test('whose image falls back ends there', async () => {
    const device = await run([{}, PANICS, {}])
    assert.deepEqual(codes(device), [700, 0, 0])
    assert.equal(codeOf(device), '3210000C')
    assert.equal(device.system.version, '1.0.0')
  })

  test('goes on after a step that is there already, and fetches nothing for it', async () => {
    const device = await run([{}, { there: true }, {}])
    assert.deepEqual(codes(device), [700, 603, 700])
    assert.deepEqual(device.workFolder.written, ['0.bin', '2.bin'])
  })

  test('that is there already changes nothing, and is no work for the twin to hear of', async () => {
    const device = await run([{ there: true }, { system: { version: '1.0.0' } }, { there: true }])
    assert.deepEqual(codes(device), [603, 603, 603])
    assert.deepEqual(device.workFolder.written, [])
    assert.ok(!JSON.stringify(device.reports).includes('"state":6'))
  })

  test('is reported as at work once', async () => {
    const device = await run([{}, IMAGE, {}])
    const states = device.reports.flatMap(
      each => (each as { deviceUpdate?: { agent?: { state?: number } } }).deviceUpdate?.agent?.state ?? [],
    )
    assert.deepEqual([...new Set(states)], [6, 0])
  })

  test('stops at the step that fails, with its code and words', async () => {
    const device = await run([{}, { install: 0 }, {}])
    assert.deepEqual(codes(device), [700, 0, 0])
    assert.equal(codeOf(device), '30500206')
    assert.match(detailsOf(device), /^step 1, contoso\/work:1: the step says no \(30500206\)$/)
    assert.deepEqual(device.service.effects, ['install 0', 'apply 0', 'install 1'])
  })

  test('whose last step has an unknown handler downloads nothing', async () => {
    const nine: Spec[] = Array.from({ length: 9 }, () => ({}))
    const device = new FakeDevice()
    device.order({ id: ID, list: [...nine, { handler: 'contoso/nobody:1' }] })
    await device.runUntil(isOver(device, ID))
    assert.equal(codeOf(device), '30000003')
    assert.ok(!device.effects.some(effect => effect.startsWith('content.') || effect.startsWith('steps.')))
  })

  test('that does not fit is refused before anything is installed', async () => {
    const device = new FakeDevice()
    device.workFolder.space = 1_000_000
    device.order({ id: ID, list: [{}, {}] })
    await device.runUntil(isOver(device, ID))
    assert.equal(codeOf(device), '32100001')
    assert.deepEqual(device.service.effects, [])
  })

  test('for a device without a step service says so', async () => {
    const device = new FakeDevice()
    device.disturbEach('steps.run', 'error')
    device.order({ id: ID, list: [{}] })
    await device.runUntil(isOver(device, ID))
    assert.equal(codeOf(device), '321000B1')
    assert.deepEqual(device.service.effects, [])
  })
})

describe('restarts', () => {
  const rows: readonly (readonly [string, List, boots: number, starts: number])[] = [
    ['now, after install', [{ install: 605, twoStages: true }, {}], 2, 2],
    ['now, after install, which was enough', [{ install: 605 }, {}], 2, 2],
    ['now, after apply', [{ apply: 705 }, {}], 2, 2],
    ['now, after both', [{ install: 605, apply: 705, twoStages: true }, {}], 3, 3],
    ['later, of two steps', [{ install: 606 }, { apply: 706 }, {}], 2, 2],
    ['later, and another now', [{ apply: 706 }, { apply: 705 }, {}], 2, 2],
    ['later, and an image', [{ apply: 706 }, IMAGE, {}], 2, 2],
    ['of the agent, now', [{ apply: 707 }, {}], 1, 2],
    ['of the agent, after install', [{ install: 607, twoStages: true }, {}], 1, 2],
    ['of the agent, later', [{ apply: 708 }, { install: 608 }, {}], 1, 2],
    ['of the agent and the machine, later', [{ apply: 708 }, { apply: 706 }, {}], 2, 2],
    ['later, after the last step', [{ apply: 706 }], 2, 2],
  ]
  for (const [name, list, boots, starts] of rows) {
    test(`${name}: ${boots} boots, ${starts} starts of the agent, each step once`, async () => {
      const device = await run(list)
      assert.equal(device.status.lastInstallResult?.resultCode, 700)
      assert.deepEqual([device.boots, device.starts], [boots, starts])
    })
  }

  test('that never happen end the list', async () => {
    const device = new FakeDevice()
    device.ignoresReboots = true
    device.order({ id: ID, list: [{ apply: 705 }, {}] })
    await device.runUntil(isOver(device, ID))
    assert.equal(codeOf(device), '32100012')
    assert.deepEqual(codes(device), [0, 0])
  })

  test('of a step that is not there after it: it fails, and does not restart again', async () => {
    const device = new FakeDevice()
    device.order({ id: ID, list: [{ apply: 705, twoStages: true }, {}] })
    device.service.forgets = true
    await device.runUntil(isOver(device, ID))
    assert.equal(codeOf(device), '32100004')
    assert.equal(device.boots, 2)
  })
})

/** Every kind of step. */
const KINDS: Readonly<Record<string, Spec>> = {
  work: {},
  twoStages: { twoStages: true },
  silent: { silent: true },
  there: { there: true },
  fails: { install: 0 },
  failsLate: { apply: 0, twoStages: true },
  nothing: { install: 603 },
  rebootNow: { install: 605, twoStages: true },
  rebootAfter: { apply: 705 },
  rebootLater: { apply: 706 },
  agentNow: { apply: 707 },
  agentLater: { apply: 708 },
  image: IMAGE,
  panics: PANICS,
}

/** Each kind at each position of lists of one to four steps, among steps that only do their work. */
const LISTS: readonly (readonly [string, List])[] = Object.entries(KINDS).flatMap(([name, spec]) =>
  [1, 2, 3, 4].flatMap(length =>
    Array.from({ length }, (_, at): readonly [string, List] => [
      `${name} at ${at} of ${length}`,
      Array.from({ length }, (_, each) => (each === at ? spec : {})),
    ]),
  ),
)

const NEXT: Goal = { id: 'W2', list: [{ there: true }] }
const CANCEL: Goal = { id: 'nodeployment', cancel: true }

test('every kind of step at every place, disturbed at every effect, in turn by all that can happen', async () => {
  const HOWS: readonly Disturbance['how'][] = ['cutBefore', 'cutAfter', 'killed', NEXT, CANCEL]
  let runs = 0
  for (const [index, [, list]] of LISTS.entries()) {
    const { effects } = await run(list)
    // Not at each effect of each list: the numbers have no common divisor, so that all kinds of effect have their turn.
    for (let at = index % 23; at < effects.length; at += 23) {
      const effect = effects[at] ?? ''
      const how = HOWS[(index + at) % HOWS.length] as Disturbance['how']
      const ids = how === NEXT ? ['W2'] : how === CANCEL ? ['nodeployment'] : []
      try {
        await run(list, [{ at, how }], ...ids)
      } catch (error) {
        throw new Error(
          `${JSON.stringify(list)}, ${typeof how === 'string' ? how : JSON.stringify(how)} at ${at} ${effect}`,
          { cause: error },
        )
      }
      runs += 1
    }
  }
  assert.ok(runs > 600, `${runs} runs`)
})

describe('a list of each kind of step', () => {
  for (const list of [
    [{}, IMAGE, { apply: 706 }],
    [{ install: 605, twoStages: true }, { silent: true }],
    [{ apply: 707 }, { twoStages: true }],
  ] as const) {
    test(`${JSON.stringify(list)}: at each effect an error, and in turn a power cut, a kill, a cancel and a replacement`, async () => {
      const { effects } = await run(list)
      for (const [at, effect] of effects.entries()) {
        const hows = ['cutBefore', 'cutAfter', 'killed'] as const
        if (at % 2 === 0) await run(list, [{ at, how: hows[at % 3] ?? 'killed' }])
        else if (at % 4 === 1) await run(list, [{ at, how: NEXT }], 'W2')
        else await run(list, [{ at, how: CANCEL }], 'nodeployment')
        if (at % 3 > 0 || effect.startsWith('service.') || !errorOf(effect)) continue
        await run(list, [{ at, how: 'error' }])
      }
    })
  }
})

test('a power cut in the midst of a step that cannot say how far it came: unknown, and never run again', async () => {
  const list = [{ silent: true }, {}] as const
  const { effects } = await run(list)
  const at = effects.lastIndexOf(
    'service.done',
    effects.indexOf('journal.write', effects.indexOf('service.done', effects.indexOf('service.done') + 1)),
  )
  assert.ok(at > 0)
  let found = 0
  for (const [at, effect] of effects.entries()) {
    if (effect !== 'service.begun' && effect !== 'service.done') continue
    const device = await run(list, [{ at, how: 'cutBefore' }])
    if (device.service.unknown.length === 0 || device.service.unknown[0]?.startsWith('download')) continue
    if (!device.service.unknown[0]?.endsWith(' 0')) continue
    found += 1
    assert.equal(codeOf(device), '321000B0')
    assert.match(detailsOf(device), /outcome unknown: the power went off/)
    assert.equal(stepsOf(device)[1]?.state, 'ready')
  }
  assert.ok(found >= 3)
})

test('a cancel during a step comes after its end, and says what was done', async () => {
  const list = [{}, {}, {}] as const
  const { effects } = await run(list)
  const at = effects.indexOf(
    'service.done',
    effects.indexOf('service.done', effects.lastIndexOf('workFolder.write')) + 1,
  )
  const device = await run(list, [{ at, how: CANCEL }])
  assert.equal(device.status.lastInstallResult?.resultCode, -1)
  assert.match(detailsOf(device), /^cancelled after 1 of 3 steps$/)
  assert.deepEqual(device.service.effects, ['install 0', 'apply 0'])
})

test('an agent that dies as its deployment is taken back: the service knows each order, or that it was never begun', async () => {
  const list = [{}, {}] as const
  const { effects } = await run(list)
  for (const at of effects.keys()) {
    for (const [how, id] of [
      [NEXT, 'W2'],
      [CANCEL, 'nodeployment'],
    ] as const) {
      const device = await run(
        list,
        [
          { at, how },
          { at, how: 'killed' },
        ],
        id,
      )
      assert.doesNotMatch(JSON.stringify(device.reports), /outcome unknown/, `${at} ${effects[at]}`)
    }
  }
})

test('two power cuts anywhere in a list', async () => {
  const list = [{}, { install: 605, twoStages: true }, { apply: 708 }] as const
  const { effects } = await run(list)
  for (let first = 0; first < effects.length; first += 7) {
    for (let second = first + 1; second < first + 30; second += 9) {
      await run(list, [
        { at: first, how: 'cutAfter' },
        { at: second, how: 'cutBefore' },
      ])
    }
  }
})

describe('a damaged journal', () => {
  const LIST = [{}, { twoStages: true }, { apply: 706 }] as const

  /** The last write, or all of it, rots at effect `at`, and the agent starts again. */
  async function rotten(list: List, at: number, files: readonly string[]): Promise<FakeDevice> {
    const disk = new MemoryDisk()
    const rot = () => {
      for (const file of files) damage(disk, file, () => Buffer.from('rotten'))
    }
    const device = new FakeDevice([
      { at, how: rot },
      { at, how: 'killed' },
    ])
    device.disk = disk
    device.order({ id: ID, list })
    await device.runUntil(isOver(device, ID))
    return device
  }

  for (const files of [['journal.json'], ['journal.json', 'journal.json.old']]) {
    test(`${files.join(' and ')}: no step that is there runs again`, async () => {
      const { effects } = await run(LIST)
      for (let at = 0; at < effects.length; at += 3) {
        const device = await rotten(LIST, at, files)
        const done = device.service.effects
        assert.equal(
          new Set(done.filter(each => each !== 'install 1')).size,
          done.filter(each => each !== 'install 1').length,
          `${at} ${effects[at]}: ${done}`,
        )
        assert.ok([700, 0].includes(device.status.lastInstallResult?.resultCode ?? -1))
      }
    })

    test(`${files.join(' and ')}: a step that cannot say whether it ran does not run again`, async () => {
      const list = [{ silent: true }, {}] as const
      const { effects } = await run(list)
      for (const at of effects.keys()) {
        const device = await rotten(list, at, files)
        const done = device.service.effects
        assert.equal(new Set(done).size, done.length, `${at} ${effects[at]}: ${done}`)
        if (codes(device)[0] === 0) assert.equal(codeOf(device).slice(0, 8), '321000B0')
      }
    })
  }

  test('whose step has lost its files too: a step that cannot say whether it ran does not run again', async () => {
    const list = [{ silent: true }] as const
    const { effects } = await run(list)
    for (const [at, effect] of effects.entries()) {
      if (effect !== 'service.done') continue
      const device: FakeDevice = new FakeDevice([
        {
          at,
          how: () => {
            damage(device.disk as MemoryDisk, 'journal.json', () => Buffer.from('rotten'))
            device.workFolder.files.clear()
          },
        },
        { at, how: 'cutBefore' },
      ])
      device.disk = new MemoryDisk()
      device.order({ id: ID, list })
      await device.runUntil(isOver(device, ID))
      const done = device.service.effects
      assert.equal(new Set(done).size, done.length, `${at}: ${done}`)
    }
  })
})
