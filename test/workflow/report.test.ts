import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import type { Attempt, InstallResult } from '../../src/domain/attempt.ts'
import { pendingSteps, type StepRecord, stepBegun, stepDone, stepsEnded } from '../../src/domain/step-record.ts'
import { cut } from '../../src/domain/text.ts'
import { mergePatch } from '../../src/hub/merge-patch.ts'
import { final as of2021 } from '../../src/sources/contract-2021/report.ts'
import {
  acknowledgement,
  final,
  inProgress,
  installed,
  reduced,
  shows,
  startup,
} from '../../src/sources/device-update/report.ts'
import { localReporter } from '../../src/sources/local/report.ts'

const pending = (handlers: readonly string[]) =>
  pendingSteps(handlers.map((handler, index) => ({ path: [index], handler })))

const workflow = { action: 3, id: 'W1' }
const updateId = { provider: 'Contoso', name: 'Toaster', version: '1.0' }
const one: StepRecord = { path: [0], handler: 'microsoft/swupdate:2', state: 'running', starts: 1 }
const attempt = { workflow, updateId, steps: [one] }
const applied = { resultCode: 700, extendedResultCodes: [0, 0xa0000fff], resultDetails: '' }
const DONE = { resultCode: 700, extendedResultCode: 0, resultDetails: '' }
const failed = { resultCode: 0, extendedResultCodes: [0x30101001], resultDetails: 'no' }

describe('reports', () => {
  test('in progress clears the steps of the deployment before', () => {
    assert.deepEqual(inProgress({ ...workflow, retryTimestamp: 'T' }), {
      deviceUpdate: {
        __t: 'c',
        agent: {
          state: 6,
          workflow: { action: 3, id: 'W1', retryTimestamp: 'T' },
          lastInstallResult: {
            resultCode: 400,
            extendedResultCodes: '00000000',
            resultDetails: null,
            stepResults: null,
          },
        },
      },
    })
  })

  test('success, as in the example of PROTOCOL.md', () => {
    assert.deepEqual(final(attempt, applied), {
      deviceUpdate: {
        __t: 'c',
        agent: {
          state: 0,
          workflow,
          installedUpdateId: '{"provider":"Contoso","name":"Toaster","version":"1.0"}',
          lastInstallResult: {
            resultCode: 700,
            extendedResultCodes: '00000000,A0000FFF',
            resultDetails: '',
            stepResults: { step_0: { resultCode: 603, extendedResultCodes: '00000000', resultDetails: null } },
          },
        },
      },
    })
  })

  test('failure has state 255 and no installedUpdateId, not even null', () => {
    const { agent } = (final(attempt, failed) as { deviceUpdate: { agent: Record<string, unknown> } }).deviceUpdate
    assert.equal(agent.state, 255)
    assert.equal('installedUpdateId' in agent, false)
  })

  test('after a rollback the update that runs then is named, and null if none is known; by every reporter', () => {
    const known = { provider: 'contoso', name: 'toaster', version: '1.0' }
    const text = '{"provider":"contoso","name":"toaster","version":"1.0"}'
    const rows = [
      [{ ...failed, installed: known }, text],
      [{ ...failed, nothingKnown: true }, null],
      [failed, undefined],
    ] as const
    const agentOf = (patch: object) => ('deviceUpdate' in patch ? (patch.deviceUpdate as { agent: object }).agent : {})
    for (const [result, shown] of rows) {
      const expected = shown === undefined ? {} : { installedUpdateId: shown }
      const only = (value: object) =>
        Object.fromEntries(Object.entries(value).filter(([name]) => name === 'installedUpdateId'))
      const { final: local, reduced } = localReporter(installed)
      for (const say of [final, local, reduced]) {
        assert.deepEqual(only(agentOf(say(attempt as unknown as Attempt, result) ?? {})), expected)
      }
      const { azureDeviceUpdateAgent } = of2021(attempt, result) as { azureDeviceUpdateAgent: { client: object } }
      assert.deepEqual(only(azureDeviceUpdateAgent.client), expected)
    }
  })

  test('cancelled has state 0', () => {
    const cancelled = { resultCode: -1, extendedResultCodes: [0], resultDetails: '' }
    const { agent } = (final(attempt, cancelled) as { deviceUpdate: { agent: Record<string, unknown> } }).deviceUpdate
    assert.equal(agent.state, 0)
    assert.equal('installedUpdateId' in agent, false)
  })

  test('details are cut to what the hub takes, at a whole character', () => {
    for (const text of ['x'.repeat(5000), 'ä'.repeat(5000), '😀'.repeat(5000)]) {
      const short = cut(text, 1024)
      assert.ok(Buffer.byteLength(short) <= 1024 && Buffer.byteLength(short) > 1000)
      assert.doesNotMatch(short, /\uFFFD/)
    }
    assert.equal(cut('ä', 2), 'ä')
    const long = { ...failed, resultDetails: 'ä'.repeat(20_000) }
    assert.ok(Buffer.byteLength(JSON.stringify(final(attempt, long))) < 8192)
    assert.ok(Buffer.byteLength(JSON.stringify(reduced(attempt, long))) < 512)
  })
})

/** `lastInstallResult.stepResults` as it goes out. */
function stepsOf(steps: readonly StepRecord[], result: InstallResult, action = 3): string {
  const patch = final({ workflow: { ...workflow, action }, steps }, result) as {
    deviceUpdate: { agent: { lastInstallResult: { stepResults: unknown } } }
  }
  return JSON.stringify(patch.deviceUpdate.agent.lastInstallResult.stepResults)
}

describe('step results', () => {
  const details = 'swupdate said no (30101001)'
  const failure = { resultCode: 0, extendedResultCodes: [0x30101001, 0xa0000fff], resultDetails: details }
  const cancelled = { resultCode: -1, extendedResultCodes: [0], resultDetails: 'cancelled' }
  const done = stepDone(stepBegun([one]), 'trial')
  const three = pending(['microsoft/swupdate:2', 'microsoft/script:1', 'microsoft/apt:1'])
  const text = (resultCode: number, code: string, words: string | null): string =>
    JSON.stringify({ step_0: { resultCode, extendedResultCodes: code, resultDetails: words } })

  const ROWS: readonly (readonly [string, readonly StepRecord[], InstallResult, string])[] = [
    ['done', done, applied, text(700, '00000000', null)],
    [
      ...(['installed already', pending([one.handler])] as const),
      { ...applied, resultDetails: 'already installed' },
      text(603, '00000000', 'already installed'),
    ],
    ['failed before it began', pending([one.handler]), failure, text(0, '30101001', details)],
    ['failed in the installation', stepBegun([one]), failure, text(0, '30101001', details)],
    ['failed in its trial', done, failure, text(0, '30101001', details)],
    ['refused before its steps were read', [], failure, text(0, '30101001', details)],
    ['cancelled', stepBegun([one]), cancelled, text(-1, '00000000', 'cancelled')],
  ]
  for (const [name, steps, result, expected] of ROWS) {
    test(`of one step, ${name}: also when its record was ended before`, () => {
      assert.equal(stepsOf(steps, result), expected)
      assert.equal(stepsOf(stepsEnded(steps, result), result), expected)
    })
  }

  test('the answer to a cancel has none', () => {
    assert.equal(stepsOf([], { resultCode: 200, extendedResultCodes: [0], resultDetails: '' }, 255), 'null')
  })

  test('of several: what was done, what failed, and what was not begun', () => {
    const second = stepBegun(stepDone(stepBegun(three)))
    assert.equal(second.map(({ state, starts }) => `${state} ${starts}`).join(), 'done 1,running 1,pending 0')
    const ended = stepsEnded(second, failure)
    assert.deepEqual(stepsEnded(ended, failure), ended)
    assert.deepEqual(JSON.parse(stepsOf(ended, failure)), {
      step_0: { resultCode: 700, extendedResultCodes: '00000000', resultDetails: null },
      step_1: { resultCode: 0, extendedResultCodes: '30101001', resultDetails: details },
      step_2: { resultCode: 0, extendedResultCodes: '00000000', resultDetails: null },
    })
  })

  test('of several that are all done, the one whose slot was tried has failed with the trial', () => {
    let steps = stepDone(stepBegun(three), 'trial')
    for (const _ of [1, 2]) steps = stepDone(stepBegun(steps))
    assert.equal(
      stepsEnded(steps, failure)
        .map(({ state }) => state)
        .join(),
      'failed,done,done',
    )
  })

  test('of components: one result for their reference step, which names the one that failed', () => {
    const below = ['left', 'right'].map(component => ({ path: [1, 0], handler: 'microsoft/script:1', component }))
    const paths = [{ path: [0], handler: 'microsoft/apt:1' }, ...below, { path: [2], handler: 'microsoft/apt:1' }]
    const begun = paths.map((step): StepRecord => ({ ...step, state: 'pending', starts: 0 }))
    const ended = stepsEnded(stepBegun(stepDone(stepBegun(stepDone(stepBegun(begun))))), failure)
    assert.deepEqual(JSON.parse(stepsOf(ended, failure)), {
      step_0: { resultCode: 700, extendedResultCodes: '00000000', resultDetails: null },
      step_1: {
        ...{ resultCode: 0, extendedResultCodes: '30101001' },
        resultDetails: `component "right", step 1.0: ${details}`,
      },
      step_2: { resultCode: 0, extendedResultCodes: '00000000', resultDetails: null },
    })
  })

  test('of many, with long words: the report stays small', () => {
    const many = stepsEnded(pending(Array(64).fill(one.handler)), failure)
    const wordy = many.map(step => ({ ...step, result: { ...DONE, resultDetails: 'ä'.repeat(9000) } }))
    assert.ok(Buffer.byteLength(JSON.stringify(final({ workflow, steps: wordy }, failure))) < 20_000)
    assert.doesNotMatch(JSON.stringify(reduced({ workflow, steps: wordy }, failure)), /ä/)
  })
})

test('the acknowledgement echoes the workflow only', () => {
  assert.deepEqual(acknowledgement(workflow, 17), {
    deviceUpdate: { __t: 'c', service: { value: { workflow }, ac: 200, ad: '', av: 17 } },
  })
})

test('startup reports go out only where the twin does not show them', () => {
  const device = {
    manufacturer: 'contoso',
    model: 'toaster',
    additional: { region: 'eu' },
    compatPropertyNames: 'manufacturer,model',
    agentVersion: '1',
  }
  const patch = startup(device, { manufacturer: 'contoso', totalMemory: 5 })
  const stale = { deviceUpdate: { agent: { deviceProperties: { interfaceId: 'dtmi:old' } } } }
  assert.equal(shows({}, patch), false)
  assert.equal(shows(mergePatch({}, patch), patch), true)
  assert.equal(shows(mergePatch(mergePatch(stale, patch), stale), patch), false)
  assert.equal(shows(mergePatch({ more: 1 }, patch), startup({ ...device, model: 'x' }, {})), false)
})

describe('merge patch as the hub does it', () => {
  for (const [name, target, patch, expected] of [
    ['objects merge', { a: { b: 1 } }, { a: { c: 2 } }, { a: { b: 1, c: 2 } }],
    ['null removes', { a: { b: 1, c: 2 } }, { a: { b: null } }, { a: { c: 2 } }],
    ['null of what is not there', {}, { a: null, b: { c: null } }, { b: {} }],
    ['arrays replace', { a: [1, 2, 3] }, { a: [9] }, { a: [9] }],
    ['a value becomes an object', { a: 1 }, { a: { b: 2 } }, { a: { b: 2 } }],
    ['__proto__ is a key like any other', {}, JSON.parse('{"__proto__":{"x":1}}'), JSON.parse('{"__proto__":{"x":1}}')],
  ] as const) {
    test(name, () => {
      assert.deepEqual(mergePatch(target, patch), expected)
      assert.equal(({} as { x?: number }).x, undefined)
    })
  }
})
