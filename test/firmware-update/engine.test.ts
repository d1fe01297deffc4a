import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { type Disturbance, FakeDevice, type Goal, type System } from '../workflow/fake-device.ts'

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
  ['of another size', V2, { sizeInBytes: 7 }, 'downloadFailed', '32100003', /ordered were 7/],
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

describe('the method reboot', () => {
  test('answers, reports and reboots', async () => {
    const device = new FakeDevice()
    device.call('reboot', null)
    await device.runUntil(() => device.boots === 2 && device.connected)
    assert.deepEqual(device.answers, [{ status: 200, payload: 'Reboot started' }])
    const { iothubDM } = device.reported as { iothubDM: { reboot: { lastReboot: string } } }
    assert.match(iothubDM.reboot.lastReboot, /^2026-01-01T/)
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
