import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { EXTENDED_RESULT_CODE } from '../../src/domain/result-codes.ts'
import { acknowledged2021, type Client2021, clientOf, order2021 } from '../bench/authoring/contract-2021.ts'
import type { Disturbance, FakeDevice, System } from '../workflow/fake-device.ts'
import { MemoryDisk } from '../workflow/memory-disk.ts'
import { cloudFor, type Manifest2021, newDevice, ordered, orderFor } from './cloud.ts'

const V2: System = { version: '2.0.0' }
const SICK: System = { version: '2.0.0', findings: ['unit web.service failed'] }

const client = (device: FakeDevice): Client2021 => clientOf(device.reported as never)
const statesOf = (device: FakeDevice) =>
  device.reports.map(each => clientOf(each as never).state).filter(state => state !== undefined)

/** A good slot runs, starts next too, and the twin says the truth about it. */
function sound(device: FakeDevice): void {
  assert.notEqual(device.slots[device.boot.primary], 'broken')
  assert.equal(device.booted, device.boot.primary)
  assert.notEqual(device.boot.trial, 'pending')
}

/** From the first order to the end, disturbed. */
async function run(system: System, disturbances: readonly Disturbance[] = []) {
  const all = ordered(system, disturbances)
  await all.device.runUntil(all.hasEnded)
  sound(all.device)
  return all
}

const signed = (code: number): number => code | 0

const happy = await run(V2)

describe('undisturbed', () => {
  test('idle, downloaded, installed, applied: each is reported, and only after its order', () => {
    const { device, cloud } = happy
    assert.equal(cloud.end, 'applied')
    assert.equal(device.system.version, '2.0.0')
    assert.deepEqual(statesOf(device), [0, 2, 4, 0])
    assert.deepEqual([device.installs, device.boots], [1, 2])
    const { installedUpdateId, resultCode, extendedResultCode } = client(device)
    assert.equal(installedUpdateId, '{"provider":"DuTest","name":"DuTestUser","version":"2.0.0"}')
    assert.deepEqual([resultCode, extendedResultCode], [200, 0])
  })

  test('after the download the image is in the other slot, and nothing is activated before the third order', async () => {
    const { device, hasEnded } = ordered(V2)
    const seen: unknown[] = []
    const { onReported } = device
    device.onReported = () => {
      const { b } = device.slots
      seen.push([client(device).state, b === 'broken' ? b : b.version, device.boot.primary, device.boots])
      onReported()
    }
    await device.runUntil(hasEnded)
    const changes = seen.filter((each, at) => JSON.stringify(each) !== JSON.stringify(seen[at - 1]))
    assert.deepEqual(changes, [
      [0, 'broken', 'a', 1],
      [2, '2.0.0', 'a', 1],
      [4, '2.0.0', 'a', 1],
      [0, '2.0.0', 'b', 2],
    ])
  })

  test('a system that is there already is reported by the first order', async () => {
    const { device, cloud } = await run({ version: '1.0.0' })
    assert.equal(cloud.end, 'applied')
    assert.deepEqual([device.installs, device.boots], [0, 1])
  })
})

describe('a failure', () => {
  test('of the trial is 255 with the code, and Idle after the cancel', async () => {
    const { device, cloud } = await run(SICK)
    assert.equal(cloud.end, 'failed')
    assert.equal(device.system.version, '1.0.0')
    assert.deepEqual(statesOf(device), [0, 2, 4, 255, 0])
    const { state, resultCode, extendedResultCode } = cloud.failure!
    assert.deepEqual([state, resultCode, extendedResultCode], [255, 500, signed(EXTENDED_RESULT_CODE.HEALTH)])
    assert.ok(extendedResultCode! < 2 ** 31 && Number.isInteger(extendedResultCode))
    assert.equal(client(device).installedUpdateId, undefined)
  })

  test('is not tried again by itself, whatever happens to the connection, and runs again after the cancel', async () => {
    const { device, hasEnded } = ordered(SICK)
    await device.runUntil(() => client(device).state === 255 || hasEnded())
    for (let again = 0; again < 3; again++) await device.runUntil(() => device.connected && device.journalReported)
    assert.equal(device.installs, 1)
    await device.runUntil(hasEnded)
    assert.equal(client(device).state, 0)
    const again = cloudFor(device, orderFor(device, SICK))
    await device.runUntil(again.hasEnded)
    assert.equal(again.cloud.end, 'failed')
    assert.equal(device.installs, 2)
  })
})

describe('a power cut, an error and a kill at each effect', () => {
  const { effects } = happy.device
  for (const how of ['cutBefore', 'cutAfter', 'error', 'killed'] as const) {
    test(`${how}: applied in the end, and the twin says so`, async () => {
      for (const at of effects.keys()) {
        const { device, cloud } = await run(V2, [{ at, how }])
        const why = `${how} at ${at}, ${effects[at]}`
        // An error may be one that ends the update; a power cut never is.
        if (how !== 'error') assert.equal(cloud.end, 'applied', why)
        assert.equal(cloud.end === 'applied', device.system.version === '2.0.0', why)
      }
    })
  }

  test('two power cuts: one in the download, one later', async () => {
    for (const at of [...effects.keys()].filter(each => each % 3 === 0)) {
      const { cloud } = await run(V2, [
        { at: 12, how: 'cutBefore' },
        { at: at + 14, how: 'cutAfter' },
      ])
      assert.equal(cloud.end, 'applied', `at ${at}`)
    }
  })
})

describe('a cancel', () => {
  const { effects } = happy.device
  test('at each effect: Idle in the end, on a whole system', async () => {
    for (const at of effects.keys()) {
      const all = ordered(V2, [{ at, how: () => void setImmediate(() => all.cloud.cancel()) }])
      await all.device.runUntil(all.hasEnded)
      sound(all.device)
      assert.ok(all.cloud.end === 'cancelled' || all.cloud.end === 'applied', `${at}: ${all.cloud.end}`)
      assert.equal(client(all.device).state, 0)
    }
  })

  test('in each phase; then the same manifest is ordered from the beginning, and runs', async () => {
    for (const phase of [2, 4]) {
      const { device, cloud, hasEnded } = ordered(V2)
      device.onReported = () =>
        void setImmediate(() => {
          if (client(device).state === phase) cloud.cancel()
          cloud.look(device.reported as never)
        })
      await device.runUntil(hasEnded)
      assert.equal(cloud.end, 'cancelled')
      assert.equal(device.boots, 1)
      assert.equal(device.system.version, '1.0.0')
      const again = cloudFor(device, orderFor(device, V2))
      await device.runUntil(again.hasEnded)
      assert.equal(again.cloud.end, 'applied')
      assert.equal(device.system.version, '2.0.0')
    }
  })
})

describe('orders that nobody expects', () => {
  /** Runs until the device has taken `service` in, and everything waits. */
  async function give(device: FakeDevice, service: object): Promise<void> {
    device.patchDesired(order2021(service as never))
    const version = device.desired.$version
    let since: number | undefined
    await device.runUntil(() => {
      if (acknowledged2021(device.reported as never) !== version || isWorking(device)) return false
      // Time passes only while everything waits.
      since ??= device.passed
      return device.passed > since
    })
  }
  const isWorking = (device: FakeDevice): boolean => {
    const last = device.told.findLast(each => 'phase' in each) as { phase?: string } | undefined
    return last?.phase !== 'idle' && last?.phase !== 'waiting'
  }
  const download = (device: FakeDevice, system = V2, more: Manifest2021 = {}) => {
    const { manifest, signature, fileUrls } = orderFor(device, system, more)
    return { action: 0, updateManifest: manifest, updateManifestSignature: signature, fileUrls }
  }
  const code = (device: FakeDevice): number => (client(device).extendedResultCode ?? 0) >>> 0

  test('install, and apply, without a download: 255, and nothing was touched; then it runs from the beginning', async () => {
    for (const action of [1, 2]) {
      const device = newDevice()
      await give(device, { ...download(device), action })
      assert.deepEqual([client(device).state, code(device)], [255, EXTENDED_RESULT_CODE.NOT_DOWNLOADED])
      assert.deepEqual([device.installs, device.slots.b], [0, 'broken'])
      await give(device, { action: 255 })
      assert.equal(client(device).state, 0)
      await give(device, download(device))
      assert.equal(client(device).state, 2)
    }
  })

  test('install of another manifest than the one that was downloaded: 255', async () => {
    const device = newDevice()
    await give(device, download(device))
    await give(device, { ...download(device, { version: '3.0.0' }), action: 1, fileUrls: null })
    assert.deepEqual([client(device).state, code(device)], [255, EXTENDED_RESULT_CODE.NOT_DOWNLOADED])
    assert.equal(device.boot.primary, 'a')
  })

  test('the same order again does nothing, with or without URLs, over restarts and reconnects', async () => {
    const device = newDevice()
    await give(device, download(device))
    for (const again of [{ action: 0 }, { fileUrls: null }, { action: 0 }]) await give(device, again)
    await give(device, { action: 1 })
    await give(device, { action: 1 })
    assert.deepEqual(statesOf(device), [0, 2, 4])
    assert.equal(device.installs, 1)
    assert.ok(device.starts > 4)
  })

  test('an earlier order begins anew', async () => {
    const device = newDevice()
    await give(device, download(device))
    await give(device, { action: 1, fileUrls: null })
    await give(device, download(device))
    assert.deepEqual(statesOf(device), [0, 2, 4, 2])
    assert.equal(device.installs, 2)
  })

  test('apply right after the download: it includes the install', async () => {
    const device = newDevice()
    await give(device, download(device))
    await give(device, { action: 2, fileUrls: null })
    await device.runUntil(() => client(device).installedUpdateId !== undefined && device.journalReported)
    assert.equal(device.system.version, '2.0.0')
  })

  test('an unknown action is acknowledged, and what was ordered goes on after it', async () => {
    const device = newDevice()
    await give(device, download(device))
    for (const action of [3, 7, 'x', null]) await give(device, { action })
    assert.equal(client(device).state, 2)
    assert.ok(device.told.some(each => 'event' in each && each.event === 'deployment.ignored'))
    await give(device, { action: 1 })
    assert.equal(client(device).state, 4)
  })

  const REFUSED: readonly [string, object | ((device: FakeDevice) => object), number][] = [
    ['no signature', { updateManifestSignature: null }, EXTENDED_RESULT_CODE.SIGNATURE_MISSING],
    ['another text than the one that was signed', { updateManifest: '{}' }, EXTENDED_RESULT_CODE.MANIFEST_HASH],
    ['an object for a manifest', { updateManifest: { a: 1 } }, EXTENDED_RESULT_CODE.MANIFEST_HASH],
    ['no URL', { fileUrls: null }, EXTENDED_RESULT_CODE.URL_BAD],
    ['a URL that is none', { fileUrls: { '00000': 'x' } }, EXTENDED_RESULT_CODE.URL_BAD],
    [
      'a handler that the device lacks',
      device => download(device, V2, { updateType: 'other/thing:1' }),
      EXTENDED_RESULT_CODE.HANDLER_UNKNOWN,
    ],
    [
      'a manifest with steps',
      device => download(device, V2, { manifestVersion: '5' }),
      EXTENDED_RESULT_CODE.MANIFEST_BAD,
    ],
  ]
  for (const [name, change, expected] of REFUSED) {
    test(`a download with ${name}: 255, and Idle after the cancel`, async () => {
      const device = newDevice()
      await give(device, { ...download(device), ...(typeof change === 'function' ? change(device) : change) })
      assert.deepEqual([client(device).state, client(device).resultCode, code(device)], [255, 500, expected])
      assert.equal(device.installs, 0)
      await give(device, { action: 255, updateManifest: null, updateManifestSignature: null, fileUrls: null })
      assert.deepEqual([client(device).state, client(device).resultCode], [0, 200])
    })
  }

  test('manifest version "1" too', async () => {
    const device = newDevice()
    await give(device, download(device, V2, { manifestVersion: '1' }))
    assert.equal(client(device).state, 2)
  })

  test('a journal that is lost after the download: 255, and the download can be ordered again', async () => {
    const device = newDevice()
    device.disk = new MemoryDisk()
    await give(device, download(device))
    for (const file of device.disk.files.keys()) device.disk.files.set(file, Buffer.from('garbage'))
    await give(device, { action: 1, fileUrls: null })
    assert.deepEqual([client(device).state, code(device)], [255, EXTENDED_RESULT_CODE.NOT_DOWNLOADED])
    await give(device, { action: 255 })
    await give(device, download(device))
    assert.equal(client(device).state, 2)
  })
})
