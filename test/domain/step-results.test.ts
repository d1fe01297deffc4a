import assert from 'node:assert/strict'
import test from 'node:test'
import type { StepRecord, StepResult, StepState } from '../../src/domain/step-record.ts'
import { resultsByStep } from '../../src/domain/step-results.ts'

const record = (
  path: readonly number[],
  component: string | undefined,
  state: StepState,
  resultCode?: number,
  resultDetails = '',
): StepRecord => ({
  ...{ path, handler: 'microsoft/script:1', state, starts: 1 },
  ...(component === undefined ? {} : { component }),
  ...(resultCode === undefined ? {} : { result: { resultCode, extendedResultCode: code(resultCode), resultDetails } }),
})
const code = (resultCode: number): number => (resultCode === 0 ? 0x30501001 : 0)
const short = (results: readonly (StepResult | undefined)[]) =>
  results.map(
    result => result && `${result.resultCode} ${result.extendedResultCode.toString(16)} ${result.resultDetails}`,
  )

const done = (component: string, details = '', at = 0) => record([1, at], component, 'done', 700, details)

test('a step of the manifest itself has its own result, as it is', () => {
  assert.deepEqual(
    short(resultsByStep([record([0], undefined, 'done', 700, 'x'), record([1], undefined, 'pending')])),
    ['700 0 x', undefined],
  )
  assert.deepEqual(resultsByStep([]), [])
})

test('the first failure below a reference step is its result, and names the component', () => {
  const steps = [
    ...[record([0], undefined, 'done', 700), done('left', 'fine'), record([1, 0], 'right', 'failed', 0, 'no answer')],
    ...[record([1, 0], 'rear', 'pending'), record([2], undefined, 'pending')],
  ]
  assert.deepEqual(short(resultsByStep(steps)), [
    '700 0 ',
    '0 30501001 component "right", step 1.0: no answer',
    undefined,
  ])
  const onHost = [record([0, 0], undefined, 'done', 700), record([0, 1], undefined, 'failed', 0, 'no')]
  assert.deepEqual(short(resultsByStep(onHost)), ['0 30501001 step 0.1: no'])
})

test('skipped everywhere is skipped; done somewhere is done, with what each part said', () => {
  const skipped = (component: string, resultCode: number) => record([0, 0], component, 'skipped', resultCode)
  assert.deepEqual(short(resultsByStep([skipped('a', 603), skipped('b', 603)])), ['603 0 '])
  assert.deepEqual(short(resultsByStep([record([0], undefined, 'skipped', 604, 'none is {"group":"x"}')])), [
    '604 0 none is {"group":"x"}',
  ])
  assert.deepEqual(
    short(resultsByStep([record([0], undefined, 'done', 700), record([1, 0], 'a', 'skipped', 603), done('b')])),
    ['700 0 ', '700 0 '],
  )
  assert.deepEqual(
    short(resultsByStep([record([0], undefined, 'done', 700), done('a', 'one'), done('a', '', 1), done('b', 'two')])),
    ['700 0 ', '700 0 component "a", step 1.0: one; component "b", step 1.0: two'],
  )
})

test('a cancel among the components is the result; what was not reached has none', () => {
  assert.deepEqual(
    short(resultsByStep([record([0, 0], 'a', 'done', 700), record([0, 0], 'b', 'failed', -1, 'stopped')])),
    ['-1 0 component "b", step 0.0: stopped'],
  )
  assert.deepEqual(short(resultsByStep([record([0, 0], 'a', 'done', 700), record([0, 0], 'b', 'pending')])), [
    undefined,
  ])
})
