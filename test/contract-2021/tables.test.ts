import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { type Attempt, JOURNAL_FORMAT } from '../../src/domain/attempt.ts'
import type { Allowed } from '../../src/domain/deployment.ts'
import { EXTENDED_RESULT_CODE } from '../../src/domain/result-codes.ts'
import type { JournalContent } from '../../src/ports/journal.ts'
import { contract2021 } from '../../src/sources/contract-2021/contract.ts'
import { readOrder } from '../../src/sources/contract-2021/read.ts'
import { continues, goesOn, stampOf, workNames } from '../../src/sources/contract-2021/work-names.ts'
import { fingerprintOf } from '../../src/trust/judge.ts'
import type { Service } from '../../src/trust/service.ts'
import { pauseAfter } from '../../src/workflow/phases.ts'

/** What should not be in a twin, and may be. */
const ODD: readonly unknown[] = [
  ...[undefined, null, true, 0, -1, 1e300, '', 'x', '\u0000', [], [[]], {}, { toString: 1 }, { length: 1 }],
  ...[JSON.parse('{"__proto__":{"action":0}}'), { action: { action: 0 } }, Array.from({ length: 1000 }, () => ({}))],
  Array.from({ length: 5000 }).reduce(inside => ({ inside }), {}),
]

const PHASES: readonly Allowed[] = ['download', 'install', 'apply']
const desired = (service: unknown) => ({ $version: 7, azureDeviceUpdateAgent: { service } })
const texts = { updateManifest: 'M', updateManifestSignature: 'S' }
const attempt: Attempt = {
  ...{ format: JOURNAL_FORMAT, steps: [], workflow: { action: 3, id: 'W' }, fingerprint: 'F', installs: 1, reboots: 0 },
  ...{ milestones: [], reported: false, origin: 'deviceUpdate', times: { begun: '' }, updateId: undefined as never },
}

describe('an order is read', () => {
  for (const [action, phase] of PHASES.entries()) {
    test(`action ${action}: ${phase}`, () => {
      const reading = readOrder(desired({ ...texts, action, fileUrls: { a: 'u' } }))
      assert.deepEqual([reading.version, reading.hasService, reading.workflow], [7, true, { action }])
      const { service } = reading
      assert.deepEqual([service?.action, service?.allowed, service?.fileUrls], ['deploy', phase, { a: 'u' }])
    })
  }

  test('action 255 cancels, whatever else is there', () => {
    const { service } = readOrder(desired({ action: 255, updateManifest: null }))
    assert.equal(service?.action, 'cancel')
    assert.equal(service?.allowed, undefined)
  })

  test('another action is acknowledged and ignored, with the reason', () => {
    for (const action of [3, -1, 4, 254, 0.5, Number.MAX_VALUE, '0', null, true, {}, [], undefined]) {
      const { hasService, service, ignored } = readOrder(desired({ ...texts, action }))
      assert.ok(hasService && service === undefined, String(action))
      assert.match(ignored?.message ?? '', /^action is .{1,40}, not 0, 1, 2 or 255$/)
      assert.equal(ignored?.extendedResultCode, EXTENDED_RESULT_CODE.ACTION_BAD)
    }
  })

  test('anything else is nothing, and never throws', () => {
    for (const value of ODD) {
      assert.equal(readOrder(value).service, undefined)
      assert.equal(readOrder({ $version: 1, azureDeviceUpdateAgent: value }).service, undefined)
      readOrder(desired(value))
      readOrder(desired({ action: value }))
      readOrder(desired({ action: 0, updateManifest: value, fileUrls: value }))
      contract2021.acknowledged({ azureDeviceUpdateAgent: value })
      contract2021.showsEnd({ azureDeviceUpdateAgent: value })({ action: 3, id: 'x' })
    }
  })

  test('the other contract is named', () => {
    const { ignored } = readOrder({ $version: 1, deviceUpdate: { service: { workflow: { action: 3, id: 'x' } } } })
    assert.match(ignored?.message ?? '', /today’s Device Update; piAdu.contract of this device is "2021"/)
  })
})

describe('what follows an order', () => {
  /** By what was reached before: what `download`, `install` and `apply` lead to once the slot is filled. */
  const EXPECTED = {
    nothing: ['tell download', 'tell install', 'go on'],
    download: ['wait', 'tell install', 'go on'],
    install: ['tell download', 'wait', 'go on'],
  } as const
  for (const [reached, row] of Object.entries(EXPECTED)) {
    for (const [at, expected] of row.entries()) {
      test(`${reached}, then ${PHASES[at]}: ${expected}`, () => {
        const known = reached === 'nothing' ? {} : { reached: reached as 'download' | 'install' }
        const action = pauseAfter(PHASES[at], known, true)
        const words = action && (action.do === 'tellPhase' ? `tell ${action.phase}` : action.do)
        assert.equal(words ?? 'go on', expected)
        const offline = pauseAfter(PHASES[at], known, false)
        if (expected.startsWith('tell')) assert.deepEqual(offline, { do: 'wait', for: 'hub' })
      })
    }
  }
  test('on a contract that orders the whole update nothing pauses', () =>
    assert.equal(pauseAfter(undefined, {}, true), undefined))
})

describe('the reports', () => {
  const { reporter } = contract2021
  const applied = { resultCode: 700, extendedResultCodes: [0, 0xa0000fff], resultDetails: 'x' }
  const updateId = { provider: 'p', name: 'n"', version: '1.0' }
  const client = (patch: unknown) =>
    (patch as { azureDeviceUpdateAgent: { client: object } }).azureDeviceUpdateAgent.client

  test('of the end', () => {
    assert.deepEqual(reporter.final({ ...attempt, updateId }, applied), {
      azureDeviceUpdateAgent: {
        __t: 'c',
        client: {
          ...{ state: 0, resultCode: 200, extendedResultCode: 0 },
          installedUpdateId: '{"provider":"p","name":"n\\"","version":"1.0"}',
        },
      },
    })
    const ended = (resultCode: number, code: number) =>
      client(reporter.final({ ...attempt, updateId }, { resultCode, extendedResultCodes: [code], resultDetails: '' }))
    assert.deepEqual(ended(-1, 0), { state: 0, resultCode: 200, extendedResultCode: 0 })
    // Cancelled on the device: the cloud still waits for its update.
    assert.deepEqual(ended(-1, 0x32100600), { state: 255, resultCode: 500, extendedResultCode: 0x32100600 })
    assert.deepEqual(ended(200, 0), { state: 0, resultCode: 200, extendedResultCode: 0 })
    assert.deepEqual(ended(0, 0x30101001), { state: 255, resultCode: 500, extendedResultCode: 0x30101001 })
    assert.deepEqual(ended(0, 0xa0200004), { state: 255, resultCode: 500, extendedResultCode: 0xa0200004 - 2 ** 32 })
  })

  test('of a phase, and none of its begin', () => {
    assert.deepEqual(client(reporter.phase?.(attempt, 'download')), {
      state: 2,
      resultCode: 200,
      extendedResultCode: 0,
    })
    assert.deepEqual(client(reporter.phase?.(attempt, 'install')), { state: 4, resultCode: 200, extendedResultCode: 0 })
    assert.equal(reporter.stage(attempt, 'downloading'), undefined)
  })

  test('of the start: Idle only if the twin has no state yet', () => {
    const device = { manufacturer: 'm', model: 'o', additional: {}, compatPropertyNames: '', agentVersion: '1.2.3' }
    const deviceProperties = { manufacturer: 'm', model: 'o', aduVer: 'DU;agent/1.2.3' }
    const fresh = contract2021.startup(device, { osName: 'x' }, {})
    assert.deepEqual(client(fresh), { state: 0, resultCode: 200, extendedResultCode: 0, deviceProperties })
    const known = contract2021.startup(device, {}, { azureDeviceUpdateAgent: { client: { state: 2 } } })
    assert.deepEqual(client(known), { deviceProperties })
  })

  test('of an acknowledgement: the action and the version, nothing else', () => {
    const reading = readOrder(desired({ ...texts, action: 1 }))
    assert.deepEqual(contract2021.acknowledgement(reading, 7), {
      azureDeviceUpdateAgent: { __t: 'c', service: { value: { action: 1 }, ac: 200, ad: '', av: 7 } },
    })
    assert.equal(contract2021.acknowledged({ azureDeviceUpdateAgent: { service: { av: 7 } } }), 7)
  })
})

describe('the local name of the work', () => {
  test('an order goes on with the same manifest, and not backwards', () => {
    for (const [before, first] of PHASES.entries()) {
      for (const [after, second] of PHASES.entries()) {
        const one = { fingerprint: 'F', allowed: first }
        assert.equal(goesOn({ fingerprint: 'F', allowed: second }, one), after >= before)
        assert.equal(goesOn({ fingerprint: 'G', allowed: second }, one), false)
      }
    }
  })

  test('the first order of a process continues the attempt in the journal', () => {
    const order = (allowed: Allowed) => ({ fingerprint: 'F', allowed })
    const at = (change: Partial<Attempt>) => PHASES.map(phase => continues(order(phase), { ...attempt, ...change }))
    assert.deepEqual(at({}), [true, true, true])
    assert.deepEqual(at({ reached: 'download' }), [true, true, true])
    assert.deepEqual(at({ reached: 'install' }), [false, true, true])
    const result = (resultCode: number) => ({ resultCode, extendedResultCodes: [0], resultDetails: '' })
    assert.deepEqual(at({ result: result(700), reached: 'install' }), [false, false, true])
    // A failure is not tried again before the cancel.
    assert.deepEqual(at({ result: result(0) }), [true, true, true])
    assert.deepEqual(at({ cancelledBy: 'C' }), [false, false, false])
    assert.deepEqual(at({ fingerprint: 'G' }), [false, false, false])
  })

  test('a time stamp', () => assert.equal(stampOf(Date.UTC(2021, 1, 3, 4, 5, 6, 7)), '210203040506007'))

  const service = (allowed: Allowed | undefined, updateManifest = 'M'): Service => ({
    action: allowed ? 'deploy' : 'cancel',
    workflow: { action: allowed ? 3 : 255, id: allowed ? 'unnamed' : 'cancel' },
    ...(allowed ? { allowed } : {}),
    ...{ updateManifest, updateManifestSignature: 'S', fileUrls: undefined, rootKeyPackageUrl: undefined },
  })
  const clock = { now: () => new Date(Date.UTC(2026, 0, 1)) } as never
  const naming = (...contents: (JournalContent | Error)[]) => {
    const read = async (): Promise<JournalContent> => {
      const next = contents.shift() ?? { is: 'none' }
      if (next instanceof Error) throw next
      return next
    }
    return workNames({ journal: { read } as never, clock })
  }
  const id = async (named: () => Promise<Service>) => (await named()).workflow.id

  test('stays through the phases, and is new after a cancel, at the same millisecond too', async () => {
    const name = naming()
    const first = await id(name(service('download')))
    assert.equal(await id(name(service('install'))), first)
    assert.equal(await id(name(service('apply'))), first)
    assert.equal(await id(name(service('apply'))), first)
    const back = await id(name(service('download')))
    assert.notEqual(back, first)
    assert.equal(await id(name(service(undefined))), 'cancel')
    const third = await id(name(service('download')))
    assert.equal(new Set([first, back, third]).size, 3)
    assert.notEqual(await id(name(service('install', 'other'))), third)
  })

  test('is another one than in the journal if that is not continued, even where the clock stands still', async () => {
    const name = naming()
    const first = await id(name(service('download')))
    const last = { ...attempt, workflow: { action: 3, id: first }, cancelledBy: 'C' }
    assert.notEqual(await id(naming({ is: 'attempt', attempt: last })(service('download'))), first)
  })

  test('is that of the journal after a restart, also when the journal cannot be read at first', async () => {
    const fingerprint = fingerprintOf(service('install'))
    const name = naming(new Error('disk'), { is: 'attempt', attempt: { ...attempt, fingerprint, reached: 'download' } })
    const named = name(service('install'))
    await assert.rejects(named)
    assert.equal(await id(named), 'W')
    assert.equal(await id(name(service('apply'))), 'W')
  })
})
