import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { type Disturbance, errorOf, FakeDevice, type Goal, type System } from '../workflow/fake-device.ts'

const V2: System = { version: '2.0.0' }
const W1: Goal = { id: 'W1', system: { version: '1.5.0' } }

const ENDED = ['applyComplete', 'applyFailed', 'downloadFailed', 'rolledBack']

/** The run of `url` has ended, and the hub knows. */
const ended = (device: FakeDevice, url: string) => (): boolean =>
  device.firmware.fwPackageUri === url && ENDED.includes(String(device.firmware.status)) && device.journalReported

function called(device: FakeDevice, system: System, more: object = {}, name = 'm.swu'): string {
  const url = device.publish(system, name)
  device.call('firmwareUpdate', { fwPackageUri: url, ...more })
  return url
}

async function updated(system: System, disturbances: readonly Disturbance[] = [], more: object = {}) {
  const device = new FakeDevice(disturbances)
  const url = called(device, system, more)
  await device.runUntil(ended(device, url))
  sound(device)
  return device
}

function sound(device: FakeDevice): void {
  assert.notEqual(device.slots[device.boot.primary], 'broken')
  assert.equal(device.booted, device.boot.primary)
  assert.notEqual(device.boot.trial, 'pending')
}

const stages = (device: FakeDevice): string[] => {
  const all = device.reports
    .map(each => (each as { iothubDM?: { firmwareUpdate?: { status: string } } }).iothubDM?.firmwareUpdate?.status)
    .filter(status => status !== undefined)
  return all.filter((status, index) => status !== all[index - 1])
}

const happy = await updated(V2)
const effects = [...happy.effects]
const GOOD_STAGES = ['waiting', 'downloading', 'downloadComplete', 'applying', 'rebooting', 'applyComplete']

describe('undisturbed', () => {
  test('every stage is reported, with its time, and the answer is the tutorial’s', () => {
    assert.deepEqual(happy.answers, [{ status: 200, payload: 'FirmwareUpdate started' }])
    assert.deepEqual(stages(happy), GOOD_STAGES)
    assert.equal(happy.system.version, '2.0.0')
    assert.deepEqual(happy.boot, { primary: 'b', trial: 'none', tries: 0 })
    const { fwPackageUri, status, ...times } = happy.firmware
    assert.deepEqual([fwPackageUri, status], ['https://content.test/m.swu', 'applyComplete'])
    assert.deepEqual(Object.keys(times).sort(), [
      'downloadCompleteTime',
      'lastFirmwareUpdate',
      'startedApplyingImage',
      'startedWaitingTime',
    ])
    const inOrder = ['startedWaitingTime', 'downloadCompleteTime', 'startedApplyingImage', 'lastFirmwareUpdate']
    const given = inOrder.map(name => String(times[name]))
    assert.deepEqual(given, [...given].sort())
    for (const time of given) assert.match(time, /^2026-01-01T\d\d:\d\d:\d\d\.\d{3}Z$/)
  })

  test('the deployment side of the twin is left alone', () => {
    assert.equal(happy.status.lastInstallResult, undefined)
    assert.equal(happy.status.workflow, undefined)
  })

  test('a version that is already there ends well without a reboot', async () => {
    const device = await updated({ version: '1.0.0' }, [], { version: '1.0.0' })
    assert.deepEqual([device.installs, device.boots], [0, 1])
    assert.deepEqual(stages(device), ['waiting', 'applyComplete'])
  })
})

describe('one disturbance at each effect', () => {
  for (const [at, effect] of effects.entries()) {
    for (const how of ['cutBefore', 'cutAfter', 'killed'] as const) {
      test(`${how} ${at} ${effect}: all or nothing`, async () => {
        const device = new FakeDevice([{ at, how }])
        const url = called(device, V2)
        // A call that was cut off before it was in the journal is as if never made: then its caller got no answer.
        const lost = () => device.connected && device.starts > 1 && device.journal === undefined
        await device.runUntil(() => ended(device, url)() || lost())
        sound(device)
        if (device.journal === undefined) return assert.deepEqual(device.answers, [])
        assert.equal(device.firmware.status, 'applyComplete')
        assert.equal(device.system.version, '2.0.0')
      })
    }
    test(`error at ${at} ${effect}: ends on a good system and says which`, async () => {
      const device = new FakeDevice([{ at, how: 'error' }])
      const url = called(device, V2)
      const refused = () => device.answers.some(({ status }) => status !== 200)
      await device.runUntil(() => ended(device, url)() || refused())
      sound(device)
      const good = device.firmware.status === 'applyComplete'
      assert.equal(device.system.version, good ? '2.0.0' : '1.0.0')
    })
  }
})

const BAD: readonly (readonly [string, System, object, string, string, RegExp])[] = [
  ['never healthy', { ...V2, findings: ['unit x failed'] }, {}, 'rolledBack', '3210000D', /unit x failed/],
  ['without a way to the hub', { ...V2, deaf: true }, {}, 'rolledBack', '3210000D', /hub was not reached/],
  ['that panics', { ...V2, panics: true }, {}, 'rolledBack', '3210000C', /never started the agent/],
  ['of another version', V2, { version: '2.0.1' }, 'rolledBack', '32100004', /"2\.0\.0"/],
  ['of another hash', V2, { sha256: 'ab'.repeat(32) }, 'downloadFailed', '4000000C', /SHA-256/],
  ['of another size', V2, { sizeInBytes: 7 }, 'downloadFailed', '32100003', /not the expected 7/],
]

describe('a new system', () => {
  for (const [name, system, more, status, code, message] of BAD) {
    test(`${name}: ${status}, the old one runs, and the twin says why`, async () => {
      const device = await updated(system, [], more)
      assert.equal(device.system.version, '1.0.0')
      assert.equal(device.firmware.status, status)
      const error = device.firmware.error as { code: string; message: string }
      assert.equal(error.code, code)
      assert.match(error.message, message)
      assert.equal(device.firmware.lastFirmwareUpdate, undefined)
    })
  }
})

test('a rollback at the device shows the caller its end, and none of the stages on the way', async () => {
  const device = await updated(V2)
  const before = device.reports.length
  const { length } = device.effects
  const running = device.runUntil(() => device.outcomes.length > 0 && device.firmware.status === 'rolledBack')
  while (device.effects.length < length + 6) await new Promise(resolve => setImmediate(resolve))
  device.ask('rollback')
  await running
  assert.equal(device.system.version, '1.0.0')
  device.reports.splice(0, before)
  assert.deepEqual(stages(device), ['rolledBack'])
})

test('nothing of a failed run is left in the next one', async () => {
  const device = await updated({ ...V2, panics: true })
  const url = called(device, { version: '3.0.0' }, {}, 'n.swu')
  await device.runUntil(ended(device, url))
  sound(device)
  assert.equal(device.system.version, '3.0.0')
  assert.equal(device.firmware.error, undefined)
  assert.equal(device.firmware.progress, undefined)
  const first = device.reports.findIndex(
    each =>
      (each as { iothubDM?: { firmwareUpdate?: { fwPackageUri: string } } }).iothubDM?.firmwareUpdate?.fwPackageUri ===
      url,
  )
  const waiting = (device.reports[first] as { iothubDM: { firmwareUpdate: Record<string, unknown> } }).iothubDM
  const { fwPackageUri: _, status: __, startedWaitingTime: ___, ...rest } = waiting.firmwareUpdate
  assert.deepEqual(Object.values(rest), [null, null, null, null, null])
})

describe('together with deployments', () => {
  const deployed = (device: FakeDevice, id: string) => (): boolean =>
    device.status.workflow?.id === id && device.status.lastInstallResult?.resultCode === 700 && device.journalReported

  test('a deployment that was done before stays done', async () => {
    const device = new FakeDevice()
    device.order(W1)
    await device.runUntil(deployed(device, 'W1'))
    const url = called(device, V2)
    await device.runUntil(ended(device, url))
    for (let i = 0; i < 3; i++) await device.runUntil(() => device.connected)
    sound(device)
    assert.equal(device.system.version, '2.0.0')
    assert.equal(device.installs, 2)
    assert.equal(device.status.workflow?.id, 'W1')
  })

  test('a deployment that failed before is not tried again either', async () => {
    const device = new FakeDevice()
    device.order({ id: 'W1', system: { version: '1.5.0', panics: true } })
    await device.runUntil(() => device.status.state === 255 && device.journalReported)
    const url = called(device, V2)
    await device.runUntil(ended(device, url))
    for (let i = 0; i < 3; i++) await device.runUntil(() => device.connected)
    sound(device)
    assert.equal(device.system.version, '2.0.0')
    assert.equal(device.installs, 2)
  })

  for (const [at, effect] of effects.entries()) {
    test(`a deployment at ${at} ${effect} is what runs in the end, and both callers hear the truth`, async () => {
      const device = new FakeDevice([{ at, how: { id: 'W3', system: { version: '3.0.0' } } }])
      const url = called(device, V2)
      await device.runUntil(() => deployed(device, 'W3')() && device.answers.length === 1)
      sound(device)
      assert.equal(device.system.version, '3.0.0')
      const [answer] = device.answers
      if (answer?.status === 200) {
        assert.equal(device.firmware.fwPackageUri, url)
        assert.ok(ENDED.includes(String(device.firmware.status)), String(device.firmware.status))
      } else assert.ok(answer?.status === 409, JSON.stringify(answer))
    })

    test(`a cancel at ${at} ${effect} is answered, and does not concern the method`, async () => {
      const device = new FakeDevice([{ at, how: { id: 'nodeployment', cancel: true } }])
      const url = called(device, V2)
      await device.runUntil(() => device.status.workflow?.id === 'nodeployment' && ended(device, url)())
      sound(device)
      assert.equal(device.firmware.status, 'applyComplete')
      assert.equal(device.system.version, '2.0.0')
    })
  }

  test('a call during a deployment is refused, at whatever point', async () => {
    const probe = new FakeDevice()
    probe.order(W1)
    await probe.runUntil(deployed(probe, 'W1'))
    for (let at = 0; at < probe.effects.length; at++) {
      const call = { name: 'firmwareUpdate', payload: { fwPackageUri: 'https://content.test/m.swu' } }
      const device = new FakeDevice([{ at, how: call }])
      device.publish(V2, 'm.swu')
      device.order(W1)
      await device.runUntil(() => deployed(device, 'W1')() && device.answers.length === 1)
      if (device.answers[0]?.status === 200) await device.runUntil(ended(device, 'https://content.test/m.swu'))
      sound(device)
      const { status, payload } = device.answers[0] ?? {}
      const late = device.effects.slice(0, at).includes('hub.report')
      if (status === 200) assert.equal(device.system.version, '2.0.0', `at ${at}`)
      else {
        assert.ok(status === 409 || status === 503, `at ${at}: ${status} ${payload}`)
        assert.equal(device.system.version, '1.5.0')
      }
      assert.ok(status !== 200 || late, `at ${at}`)
    }
  })
})

test('a caller is never told that nothing was begun of what was, whatever fails, before or after it was done', async () => {
  for (let at = 0; at < effects.length; at++) {
    for (const how of ['error', 'errorAfter'] as const) {
      const device = new FakeDevice([{ at, how }])
      const url = called(device, V2)
      await device.runUntil(() => ended(device, url)() || device.answers.some(({ status }) => status !== 200))
      const [answer] = device.answers
      const where = `${how} at ${at} ${effects[at]}: ${JSON.stringify(device.answers)}`
      if (answer?.status === 200) {
        await device.runUntil(ended(device, url))
        assert.notEqual(device.firmware.status, undefined, where)
      } else {
        // Later it is still as it was.
        let later = 0
        await device.runUntil(() => ++later > 3)
        assert.equal(device.system.version, '1.0.0', where)
        assert.equal(device.journal, undefined, where)
      }
    }
  }
})

describe('the method reboot', () => {
  test('answers, reports and reboots', async () => {
    const device = new FakeDevice()
    device.call('reboot', null)
    await device.runUntil(() => device.boots === 2 && device.connected)
    assert.deepEqual(device.answers, [{ status: 200, payload: 'Reboot started' }])
    const { iothubDM } = device.reported as { iothubDM: { reboot: { lastReboot: string } } }
    assert.match(iothubDM.reboot.lastReboot, /^2026-01-01T/)
  })

  const asked = async (disturbances: readonly Disturbance[]) => {
    const device = new FakeDevice(disturbances)
    device.call('reboot', null)
    return device
  }

  test('keeps its word at whatever effect something fails, and never reboots twice', async () => {
    const probe = await asked([])
    await probe.runUntil(() => probe.boots === 2 && probe.connected)
    for (const [at, effect] of probe.effects.entries()) {
      if (errorOf(effect)) {
        const device = await asked([{ at, how: 'error' }])
        const answered = () => device.answers[0]?.status
        await device.runUntil(
          () => device.connected && answered() !== undefined && (answered() !== 200 || device.boots === 2),
        )
        const { status, payload } = device.answers[0] ?? {}
        assert.equal(device.boots, status === 200 ? 2 : 1, `error at ${at} ${effect}: ${payload}`)
      }
      for (const how of ['cutBefore', 'cutAfter', 'killed'] as const) {
        const cut = await asked([{ at, how }])
        await cut.runUntil(() => cut.starts > 1 && cut.connected)
        // The power cut and the reboot; a call that nobody remembers is not obeyed later.
        const { boots } = cut
        assert.ok(boots <= 3, `${how} ${at} ${effect}: ${boots} boots`)
        await cut.runUntil(() => cut.connected)
        assert.equal(cut.boots, boots + 1, `${how} ${at} ${effect}`)
        assert.equal(cut.journal, undefined)
      }
    }
  })

  test('is tried again when the machine stays up, and given up in the end', async () => {
    const device = await asked([])
    device.ignoresReboots = true
    const orders = () => device.effects.filter(effect => effect === 'host.reboot').length
    await device.runUntil(() => {
      if (orders() === 6 && device.ignoresReboots) {
        device.ignoresReboots = false
        device.order(W1)
      }
      return device.status.workflow?.id === 'W1' && device.journalReported
    })
    assert.equal(device.system.version, '1.5.0')
    // Two boots: nothing but the trial came of all that.
    assert.equal(device.boots, 2)
    assert.equal(orders(), 7)
  })

  test('is refused while a firmware update runs', async () => {
    const install = effects.indexOf('installer.install')
    const device = new FakeDevice([{ at: install, how: { name: 'reboot', payload: null } }])
    const url = called(device, V2)
    await device.runUntil(ended(device, url))
    sound(device)
    assert.deepEqual(device.answers.map(({ status }) => status).sort(), [200, 409])
    assert.equal(device.boots, 2)
  })
})

test('an order that no attempt has ended is still open after a firmware update', async () => {
  const device = new FakeDevice()
  device.order(W1)
  device.disturbEach('installer.install', 'killed')
  await device.runUntil(() => device.installs > 0 || device.effects.includes('installer.install'))
  device.disturbEach('installer.install', 'none')
  const { desired } = device
  device.desired = { $version: 99 }
  const url = called(device, V2)
  await device.runUntil(ended(device, url))
  device.desired = { ...desired, $version: 100 }
  await device.runUntil(
    () => device.status.workflow?.id === 'W1' && device.status.lastInstallResult?.resultCode === 700,
  )
  assert.equal(device.system.version, '1.5.0')
})
