import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { mergePatch } from '../../src/workflow/merge-patch.ts'
import { acknowledgement, cut, final, inProgress, reduced, shows, startup } from '../../src/workflow/report.ts'

const workflow = { action: 3, id: 'W1' }
const updateId = { provider: 'Contoso', name: 'Toaster', version: '1.0' }
const applied = { resultCode: 700, extendedResultCodes: [0, 0xa0000fff], resultDetails: '', stepResultCode: 603 }
const failed = { resultCode: 0, extendedResultCodes: [0x30101001], resultDetails: 'no' }

describe('reports (protocol, chapter 1.6)', () => {
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

  test('success, as in the example of chapter 2.10', () => {
    assert.deepEqual(final(workflow, applied, updateId), {
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
    const { agent } = (final(workflow, failed, updateId) as { deviceUpdate: { agent: Record<string, unknown> } })
      .deviceUpdate
    assert.equal(agent.state, 255)
    assert.equal('installedUpdateId' in agent, false)
  })

  test('cancelled has state 0', () => {
    const cancelled = { resultCode: -1, extendedResultCodes: [0], resultDetails: '' }
    const { agent } = (final(workflow, cancelled, updateId) as { deviceUpdate: { agent: Record<string, unknown> } })
      .deviceUpdate
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
    assert.ok(Buffer.byteLength(JSON.stringify(final(workflow, long, updateId))) < 8192)
    assert.ok(Buffer.byteLength(JSON.stringify(reduced(workflow, long, updateId))) < 512)
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
