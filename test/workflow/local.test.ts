import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { ContentError } from '../../src/domain/errors.ts'
import { Hosts } from '../../src/domain/hosts.ts'
import type { Content } from '../../src/ports/content.ts'
import { watchFolder } from '../../src/sources/local/folder-watch.ts'
import { type LocalAnswer, LocalSide } from '../../src/sources/local/local-side.ts'
import type { AgentEvent } from '../../src/view/event.ts'
import { FakeDevice, type System } from './fake-device.ts'

/** Somebody at the device asks at each start until the answer is that it began; `pulled`: and then pulls the stick. */
function atDevice(device: FakeDevice, target: () => string, more: { readonly allowBundles?: boolean } = {}) {
  const answers: LocalAnswer[] = []
  device.once = {
    local: loop => {
      const policy = { allowBundles: more.allowBundles ?? false, hosts: new Hosts('test', ['content.test']) }
      const side = new LocalSide({ ...device.portsForSources(), ...QUIET }, policy, loop)
      if (!answers.some(({ is }) => is === 'begun')) void side.install(target()).then(answer => answers.push(answer))
      return side
    },
  }
  return answers
}

const QUIET = {
  log: { debug() {}, info() {}, warn() {}, error() {} },
  events: { tell() {}, saw() {} },
}

type Shown = { readonly local?: { readonly id: string; readonly resultCode: number; readonly codes?: string } }
const lastLocal = (device: FakeDevice) => (device.reported as { piAdu?: Shown }).piAdu?.local
const journal = (device: FakeDevice) =>
  device.journal as
    | { readonly result?: { resultCode: number }; readonly owed?: object; readonly reported: boolean }
    | undefined
const refusal = (answers: readonly LocalAnswer[]) => answers.flatMap(each => (each.is === 'refused' ? [each] : []))

test('a folder is installed, committed and reported, and is no workflow of the cloud', async () => {
  const device = new FakeDevice()
  const folder = device.bring({ version: '2.0.0' })
  const answers = atDevice(device, () => folder)
  await device.runUntil(() => device.journalReported)
  assert.equal(answers[0]?.is, 'begun')
  assert.equal(device.system.version, '2.0.0')
  assert.equal(lastLocal(device)?.resultCode, 700)
  assert.equal(device.status.installedUpdateId, '{"provider":"contoso","name":"toaster","version":"2.0.0"}')
  assert.equal(device.status.lastInstallResult, undefined)
  assert.equal(device.status.workflow, undefined)
})

test('without a network it is committed all the same, and reported when there is one', async () => {
  const device = new FakeDevice()
  device.network = false
  const folder = device.bring({ version: '2.0.0' })
  atDevice(device, () => folder)
  await device.runUntil(() => journal(device)?.result !== undefined)
  assert.deepEqual([device.system.version, device.boot.trial], ['2.0.0', 'none'])
  assert.ok(device.passed >= 600_000, 'the new system had all of its time to reach the hub')
  assert.equal(device.journalReported, false)
  device.network = true
  await device.runUntil(() => device.journalReported)
  assert.equal(lastLocal(device)?.resultCode, 700)
})

test('a system that finds something wrong falls back, without a network too', async () => {
  const device = new FakeDevice()
  device.network = false
  const folder = device.bring({ version: '2.0.0', findings: ['no light'] })
  atDevice(device, () => folder)
  await device.runUntil(() => journal(device)?.result !== undefined)
  assert.equal(device.system.version, '1.0.0')
  assert.equal(journal(device)?.result?.resultCode, 0)
})

test('with a network, the new system has to reach the hub', async () => {
  const device = new FakeDevice()
  const folder = device.bring({ version: '2.0.0', deaf: true })
  const answers = atDevice(device, () => folder)
  await device.runUntil(() => answers.length > 0 && device.journalReported)
  assert.equal(device.system.version, '1.0.0')
  assert.equal(lastLocal(device)?.codes, '3210000D')
})

test('a device whose connection is just away is none without a network: the new system has to reach the hub', async () => {
  const device = new FakeDevice()
  const stop = watching(device, '/stick/2.0.0')
  let isLost = false
  await device.runUntil(() => {
    if (device.connected && !isLost) {
      isLost = true
      device.loseNetwork()
      device.bring({ version: '2.0.0', deaf: true })
    }
    if (journal(device)?.result) device.network = true
    return device.installs === 1 && device.journalReported
  })
  assert.equal(device.system.version, '1.0.0')
  assert.equal(lastLocal(device)?.codes, '3210000D')
  stop()
})

test('an update that began before the first connection is committed as soon as the new system reaches the hub', async () => {
  const device = new FakeDevice()
  device.network = false
  const folder = device.bring({ version: '2.0.0' })
  atDevice(device, () => folder)
  await device.runUntil(() => {
    device.network = device.boots > 1
    return journal(device)?.result !== undefined
  })
  assert.equal(device.system.version, '2.0.0')
  assert.ok(device.passed < 600_000)
})

test('the next folder need not wait until the result of the last one was reported', async () => {
  const device = new FakeDevice()
  device.network = false
  for (const version of ['2.0.0', '3.0.0']) {
    const folder = device.bring({ version })
    const answers = atDevice(device, () => folder)
    await device.runUntil(() => device.system.version === version && journal(device)?.result !== undefined)
    assert.equal(answers[0]?.is, 'begun')
  }
  assert.equal(journal(device)?.owed, undefined)
  device.network = true
  device.once = {}
  await device.runUntil(() => device.journalReported)
  assert.match(device.status.installedUpdateId ?? '', /3\.0\.0/)
  assert.equal(lastLocal(device)?.resultCode, 700)
})

test('a result that the cloud waits for is reported before that of the folder', async () => {
  const device = new FakeDevice()
  device.order({ id: 'W1', system: { version: '1.1.0', findings: ['no light'] } })
  // It goes with the connection, at the next reboot.
  device.onEffect = () => {
    device.network = false
  }
  await device.runUntil(() => journal(device)?.result !== undefined)
  assert.equal(device.journalReported, false)
  const folder = device.bring({ version: '2.0.0' })
  const answers = atDevice(device, () => folder)
  await device.runUntil(() => device.system.version === '2.0.0' && journal(device)?.result !== undefined)
  assert.equal(answers.at(-1)?.is, 'begun')
  assert.ok(journal(device)?.owed)
  device.network = true
  await device.runUntil(() => device.journalReported)
  assert.equal(device.status.workflow?.id, 'W1')
  assert.equal(device.status.state, 255)
  assert.equal(lastLocal(device)?.resultCode, 700)
  assert.equal(journal(device)?.owed, undefined)
  // The twin still shows W1, which is answered.
  await device.runUntil(() => device.connected)
  assert.equal(device.system.version, '2.0.0')
})

test('what must not begin is refused at once, with its code, and leaves the journal alone', async () => {
  const cases: readonly (readonly [string, System, string, ((service: Record<string, unknown>) => unknown)?])[] = [
    ['older than what runs', { version: '0.9.0' }, '32100015'],
    ['what runs', { version: '1.0.0' }, '32100614'],
    ['not signed', { version: '2.0.0' }, '80300001', service => ({ ...service, updateManifestSignature: undefined })],
    ['another manifest', { version: '2.0.0' }, '80300001', service => ({ ...service, updateManifest: '{}' })],
    ['a path', { version: '2.0.0' }, '32100610', service => ({ ...service, fileUrls: { f1: '../a.swu' } })],
    [
      'a URL',
      { version: '2.0.0' },
      '32100610',
      service => ({ ...service, fileUrls: { f1: 'https://content.test/a' } }),
    ],
    ['no file', { version: '2.0.0' }, '40000007', service => ({ ...service, fileUrls: {} })],
    ['no object', { version: '2.0.0' }, '32100610', () => [1]],
    ['10 MB', { version: '2.0.0' }, '32100610', service => ({ ...service, updateManifest: 'x'.repeat(10_000_000) })],
  ]
  for (const [what, system, code, change] of cases) {
    const device = new FakeDevice()
    const folder = device.bring(system, change)
    const answers = atDevice(device, () => folder)
    await device.runUntil(() => answers.length > 0 && device.connected)
    assert.equal(refusal(answers)[0]?.code, code, `${what}: ${JSON.stringify(answers)}`)
    assert.equal(device.journal, undefined, what)
    assert.equal(device.installs, 0)
  }
})

test('a folder that is not there is one clear line', async () => {
  const device = new FakeDevice()
  const answers = atDevice(device, () => '/stick/nothing')
  await device.runUntil(() => answers.length > 0 && device.connected)
  assert.equal(refusal(answers)[0]?.code, '32100611')
})

test('an older one is taken where the owner allows that', async () => {
  const device = new FakeDevice()
  device.downgrade = { allowDowngrade: false, allowLocalDowngrade: true }
  const folder = device.bring({ version: '0.9.0' })
  atDevice(device, () => folder)
  await device.runUntil(() => device.journalReported)
  assert.equal(device.system.version, '0.9.0')
})

test('a bundle without a deployment is taken only where the owner allows it', async () => {
  for (const target of ['/stick/a.swu', 'https://content.test/a.swu']) {
    const refused = new FakeDevice()
    const no = atDevice(refused, () => target)
    await refused.runUntil(() => no.length > 0 && refused.connected)
    assert.equal(refusal(no)[0]?.code, '32100613')
    const device = new FakeDevice()
    device.bring({ version: '2.0.0' })
    device.publish({ version: '2.0.0' }, 'a.swu')
    device.copy('file:///stick/2.0.0/a.swu', 'file:///stick/a.swu')
    atDevice(device, () => target, { allowBundles: true })
    await device.runUntil(() => device.journalReported)
    assert.equal(device.system.version, '2.0.0')
    assert.equal(lastLocal(device)?.resultCode, 700)
  }
  for (const [target, code] of [
    ['http://content.test/a.swu', '40000007'],
    ['https://me:secret@content.test/a.swu', '40000007'],
    ['https://elsewhere.test/a.swu', '32100050'],
    ['file:///etc/passwd', '40000007'],
  ] as const) {
    const device = new FakeDevice()
    const answers = atDevice(device, () => target, { allowBundles: true })
    await device.runUntil(() => answers.length > 0 && device.connected)
    assert.equal(refusal(answers)[0]?.code, code, target)
  }
})

test('a deployment of the cloud that runs is not disturbed, and one that comes takes the place of the folder', async () => {
  const device = new FakeDevice()
  const folder = device.bring({ version: '2.0.0' })
  atDevice(device, () => folder)
  let isOrdered = false
  device.onEffect = () => {
    if (!isOrdered) device.order({ id: 'W1', system: { version: '3.0.0' } })
    isOrdered = true
  }
  await device.runUntil(() => device.system.version === '3.0.0' && device.journalReported)
  assert.equal(device.status.workflow?.id, 'W1')
  assert.ok(lastLocal(device), 'how the local one ended is reported too')
})

test('a stick that is pulled costs nothing: one line, the running slot is as it was, and it can start over', async () => {
  const device = new FakeDevice()
  const folder = device.bring({ version: '2.0.0' })
  let isPulled = false
  atDevice(device, () => folder)
  device.onEffect = () => {
    if (!isPulled) device.pull()
    isPulled = true
  }
  await device.runUntil(() => device.journalReported)
  assert.equal(lastLocal(device)?.codes, '32100611')
  assert.equal(device.system.version, '1.0.0')
  assert.deepEqual(device.boot, { primary: 'a', trial: 'none', tries: 0 })
  device.bring({ version: '2.0.0' })
  atDevice(device, () => folder)
  await device.runUntil(() => device.system.version === '2.0.0' && device.journalReported)
})

/**
 * The agent watches the folder of the stick, as it does on a device. `hides`: whether a look fails that is made so many milliseconds
 * after the start, the n-th of all.
 */
function watching(
  device: FakeDevice,
  folder: string,
  hides: (passed: number, look: number) => boolean = () => false,
  thrown: (signal: AbortSignal) => unknown = () =>
    new ContentError('the medium gave an error', 'never', { code: 'LOCAL_FILE' }),
  told: AgentEvent[] = [],
) {
  let looks = 0
  const ends: AbortController[] = []
  device.once = {
    local: loop => {
      for (const end of ends) end.abort()
      const end = new AbortController()
      ends.push(end)
      const policy = { allowBundles: false, hosts: new Hosts('test', []) }
      const ports = device.portsForSources()
      const side = new LocalSide({ ...ports, ...QUIET }, policy, loop)
      const start = device.passed
      const content: Content = {
        get: async (...given) => {
          if (hides(device.passed - start, looks++)) throw await thrown(given[2])
          return ports.content.get(...given)
        },
      }
      const events = { ...QUIET.events, tell: (event: AgentEvent) => void told.push(event) }
      watchFolder(folder, side, { ...ports, ...QUIET, events, content }, end.signal).catch(error =>
        assert.ok(end.signal.aborted, error),
      )
      return side
    },
  }
  return () => {
    for (const end of ends) end.abort()
  }
}

/** Until so many milliseconds of the device's time have passed. */
const later = (device: FakeDevice, ms: number) => {
  const until = device.passed + ms
  return device.runUntil(() => device.passed > until)
}

test('a stick that is plugged in is installed, once', async () => {
  const device = new FakeDevice()
  const stop = watching(device, '/stick/2.0.0')
  await later(device, 60_000)
  assert.equal(device.installs, 0)
  device.bring({ version: '2.0.0' })
  await device.runUntil(() => device.system.version === '2.0.0' && device.journalReported)
  await later(device, 3_600_000)
  assert.equal(device.installs, 1)
  stop()
})

test('a system that fails is not tried again and again from a stick that stays, but once more when it comes back', async () => {
  const device = new FakeDevice()
  device.bring({ version: '2.0.0', findings: ['no light'] })
  const stop = watching(device, '/stick/2.0.0')
  await device.runUntil(() => device.journalReported)
  const { boots } = device
  await later(device, 3_600_000)
  assert.deepEqual([device.installs, device.boots - boots], [1, 1], 'runUntil starts it once more')
  assert.equal(device.system.version, '1.0.0')
  // Taken out and brought back while the agent runs.
  const { passed } = device
  let isAway = false
  let isBack = false
  await device.runUntil(() => {
    if (!isAway && device.passed > passed + 60_000) {
      device.pull()
      isAway = true
    }
    if (!isBack && device.passed > passed + 120_000) {
      device.bring({ version: '2.0.0', findings: ['no light'] })
      isBack = true
    }
    return device.installs === 2 && device.journalReported
  })
  assert.equal(device.system.version, '1.0.0')
  stop()
})

test('a stick that is mounted late, or has a bad contact, does not bring a failed system again', async () => {
  const cases: Readonly<Record<string, (passed: number, look: number) => boolean>> = {
    'mounted late': passed => passed < 12_000,
    'mounted after minutes': passed => passed < 300_000,
    'one error now and then': (_, look) => look % 10 === 9,
    'three errors in a row now and then': (_, look) => look % 20 > 16,
  }
  for (const [what, hides] of Object.entries(cases)) {
    const device = new FakeDevice()
    device.bring({ version: '2.0.0', findings: ['no light'] })
    const stop = watching(device, '/stick/2.0.0', hides)
    await device.runUntil(() => device.journalReported)
    for (let starts = 0; starts < 3; starts++) await later(device, 1_800_000)
    assert.equal(device.installs, 1, what)
    assert.equal(device.system.version, '1.0.0')
    stop()
  }
})

test('a stick that is away for ten minutes from the start of the agent on was taken away while it was off', async () => {
  const device = new FakeDevice()
  const failing = { version: '2.0.0', findings: ['no light'] }
  device.bring(failing)
  const stop = watching(device, '/stick/2.0.0')
  await device.runUntil(() => device.journalReported)
  await later(device, 60_000)
  device.pull()
  // The next run is a new process, which has never seen the stick.
  const { passed } = device
  let isBack = false
  await device.runUntil(() => {
    if (!isBack && device.passed > passed + 660_000) {
      device.bring(failing)
      isBack = true
    }
    return device.installs === 2 && device.journalReported
  })
  assert.equal(device.system.version, '1.0.0')
  stop()
})

test('a new system that cannot read the stick does not make it a stick that came back', async () => {
  const device = new FakeDevice()
  device.network = false
  device.bring({ version: '2.0.0', findings: ['no light'] })
  const stop = watching(device, '/stick/2.0.0', () => device.booted === 'b')
  await device.runUntil(() => journal(device)?.result !== undefined)
  assert.ok(device.passed > 600_000, 'the trial took longer than it takes a stick to be away')
  await later(device, 3_600_000)
  assert.deepEqual([device.installs, device.system.version], [1, '1.0.0'])
  stop()
})

describe('a stick that cannot be used is told until it is taken away', () => {
  const eio = () =>
    new ContentError('cannot read it: the medium gave an error', 'never', {
      code: 'LOCAL_FILE',
      cause: { code: 'EIO' },
    })
  const gone = () => new ContentError('it is not there', 'never', { code: 'LOCAL_FILE', cause: { code: 'ENOENT' } })
  for (const [what, isOn, thrown, bring, expected] of [
    ['it cannot be read', () => true, eio, undefined, /the medium gave an error/],
    ['it is older than the device', () => false, gone, '0.9.0', /0\.9\.0/],
    ['whoever mounts it says so', () => false, gone, 'trouble', /^the file system of sda1 is damaged .*, format it$/],
  ] as const) {
    test(what, async () => {
      const device = new FakeDevice()
      const told: AgentEvent[] = []
      let isThere = true
      if (bring === 'trouble')
        device.put('/stick/x/trouble.txt', 'the file system of sda1 is damaged \u001b[31m,\nformat it\n')
      else if (bring) device.bring({ version: bring })
      const stop = watching(
        device,
        bring === '0.9.0' ? '/stick/0.9.0' : '/stick/x',
        () => isThere && isOn(),
        thrown,
        told,
      )
      await device.runUntil(() => {
        if (isThere && device.passed > 120_000) {
          assert.deepEqual([told[0]?.event, told.length], ['stick.refused', 1])
          isThere = false
          device.pull()
        }
        return device.passed > 150_000
      })
      assert.match((told[0] as { why: string }).why, expected)
      assert.deepEqual(told.slice(1), [{ event: 'stick.away' }])
      assert.equal(device.installs, 0)
      stop()
    })
  }
})

test('a medium that hangs for minutes is no stick that was taken out: what failed is not tried again', async () => {
  const silence = { code: 'LOCAL_FILE', cause: { code: 'ETIMEDOUT' } } as const
  const hanging: Readonly<Record<string, (signal: AbortSignal) => unknown>> = {
    'the call that hangs': signal =>
      new Promise(resolve => signal.addEventListener('abort', () => resolve(signal.reason), { once: true })),
    'another call hangs': () => new ContentError('the medium does not answer', 'never', silence),
  }
  for (const [what, thrown] of Object.entries(hanging)) {
    const device = new FakeDevice()
    device.bring({ version: '2.0.0', findings: ['no light'] })
    const isHanging = (passed: number) => passed % 1_200_000 > 900_000
    const stop = watching(device, '/stick/2.0.0', isHanging, thrown)
    await device.runUntil(() => device.journalReported)
    await later(device, 3_600_000)
    assert.equal(device.installs, 1, what)
    stop()
  }
})

test('whatever the medium throws, the agent goes on and installs when the medium can be read', async () => {
  const device = new FakeDevice()
  device.bring({ version: '2.0.0' })
  const broken = () => Object.assign(new Error('EIO: i/o error, close'), { code: 'EIO' })
  const stop = watching(device, '/stick/2.0.0', (_, look) => look < 5, broken)
  await device.runUntil(() => device.system.version === '2.0.0' && device.journalReported)
  stop()
})

test('a stick that stays plugged in does not undo what the operator deploys later', async () => {
  for (const isInstalled of [false, true]) {
    const device = new FakeDevice()
    const system = { version: '2.0.0' }
    // As it comes: by the stick, or the system runs already when the stick is seen first.
    if (isInstalled) device.order({ id: 'W0', system })
    else device.bring(system)
    const stop = watching(device, '/stick/2.0.0')
    await device.runUntil(() => device.system.version === '2.0.0' && device.journalReported)
    device.bring(system)
    await later(device, 60_000)
    device.order({ id: 'W1', system: { version: '1.5.0' } })
    await device.runUntil(() => device.system.version === '1.5.0' && device.journalReported)
    await later(device, 3_600_000)
    await later(device, 3_600_000)
    assert.equal(device.system.version, '1.5.0')
    assert.equal(device.installs, 2)
    // Taken out for long enough while the agent runs: somebody wants it.
    const { passed } = device
    let isAway = false
    let isBack = false
    await device.runUntil(() => {
      if (!isAway && device.passed > passed + 30_000) {
        device.pull()
        isAway = true
      }
      if (!isBack && device.passed > passed + 90_000) {
        device.bring(system)
        isBack = true
      }
      return isBack && device.system.version === '2.0.0' && device.journalReported
    })
    stop()
  }
})

const probe = new FakeDevice()
const probed = probe.bring({ version: '2.0.0' })
atDevice(probe, () => probed)
await probe.runUntil(() => probe.journalReported)
for (const how of ['cutBefore', 'killed'] as const) {
  test(`${how} at every effect: the system is there in the end, and that is reported`, async () => {
    for (const [at, effect] of probe.effects.entries()) {
      const device = new FakeDevice([{ at, how }])
      const folder = device.bring({ version: '2.0.0' })
      atDevice(device, () => folder)
      await device.runUntil(() => device.system.version === '2.0.0' && device.journalReported)
      assert.equal(device.boot.trial, 'none', `${at} ${effect}`)
      assert.equal(lastLocal(device)?.resultCode, 700, `${at} ${effect}`)
    }
  })
}

describe('one disturbance at each effect of a stick that stays, and a deployment of the cloud at the same moment', async () => {
  const undisturbed = new FakeDevice()
  undisturbed.bring({ version: '2.0.0' })
  const stopIt = watching(undisturbed, '/stick/2.0.0')
  await undisturbed.runUntil(() => undisturbed.system.version === '2.0.0' && undisturbed.journalReported)
  stopIt()
  assert.ok(undisturbed.effects.includes('tried.write'))
  for (const how of ['cutBefore', 'cutAfter', 'error', 'killed'] as const) {
    test(`${how}: the stick brings its system once`, async () => {
      for (const [at, effect] of undisturbed.effects.entries()) {
        const order = () => device.order({ id: 'W1', system: { version: '1.5.0' } })
        const device: FakeDevice = new FakeDevice([
          { at, how: order },
          { at, how },
        ])
        device.bring({ version: '2.0.0' })
        const stop = watching(device, '/stick/2.0.0')
        const begun: string[] = []
        for (let starts = 0; starts < 2; starts++) {
          const until = device.passed + 60_000
          await device.runUntil(() => {
            const id = (device.journal as { workflow?: { id: string } } | undefined)?.workflow?.id
            if (id !== undefined && id !== begun.at(-1)) begun.push(id)
            return begun.includes('W1') && device.journalReported && device.passed > until
          })
        }
        stop()
        assert.equal(new Set(begun).size, begun.length, `${at} ${effect}: ${begun}`)
        assert.ok(begun.filter(id => id.startsWith('local-')).length <= 1, `${at} ${effect}: ${begun}`)
        assert.equal(device.boot.primary, device.booted)
      }
    })
  }
})
