import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import type { StepRecord } from '../../src/domain/step-record.ts'
import { restartAtEnd, strongest, wantedLater, wantedNow, wishOf } from '../../src/workflow/restarts.ts'

const step: StepRecord = { path: [0], handler: 'contoso/work:1', work: true, state: 'running', starts: 1 }
const here = { bootId: 'B1', process: 'P1' }
const asked = { ...step, ...here }
const nextProcess = { ...here, process: 'P2' }
const nextBoot = { bootId: 'B2', process: 'P3' }

test('a result code says what the step wants, and when', () => {
  const wishes = [600, 603, 604, 605, 606, 607, 608, 700, 705, 706, 707, 708, 709, 0, -1].map(code => {
    const wish = wishOf(code)
    return [code, wish ? `${wish.restart} ${wish.when}` : '']
  })
  assert.deepEqual(Object.fromEntries(wishes), {
    ...{ 600: '', 603: '', 604: '', 700: '', 709: '', 0: '', '-1': '' },
    ...{ 605: 'reboot now', 606: 'reboot later', 607: 'agentRestart now', 608: 'agentRestart later' },
    ...{ 705: 'reboot now', 706: 'reboot later', 707: 'agentRestart now', 708: 'agentRestart later' },
  })
})

describe('a wish is open until another boot, or another process, was seen', () => {
  const rows: readonly (readonly [string, Partial<StepRecord>, here: string, process: string, boot: string])[] = [
    ['none', {}, '', '', ''],
    ['a trial', { wants: 'trial' }, '', '', ''],
    ['a reboot now', { wants: 'rebootNow' }, 'reboot', 'reboot', ''],
    ['an agent restart now', { wants: 'agentRestart' }, 'agentRestart', '', ''],
    ['a reboot later', { later: 'reboot' }, 'reboot', 'reboot', ''],
    ['an agent restart later', { later: 'agentRestart' }, 'agentRestart', '', ''],
  ]
  for (const [name, wish, ...expected] of rows) {
    test(name, () => {
      const open = [here, nextProcess, nextBoot].map(
        now => wantedNow({ ...asked, ...wish }, now) ?? wantedLater({ ...asked, ...wish }, now) ?? '',
      )
      assert.deepEqual(open, expected)
    })
  }

  test('what cannot be observed has not happened', () => {
    assert.equal(wantedNow({ ...asked, wants: 'rebootNow' }, undefined), 'reboot')
    assert.equal(wantedLater({ ...asked, later: 'agentRestart' }, undefined), 'agentRestart')
  })
})

test('at the end one restart serves all, and a reboot wins', () => {
  const agent: StepRecord = { ...asked, state: 'done', later: 'agentRestart' }
  const machine: StepRecord = { ...asked, state: 'done', later: 'reboot' }
  assert.deepEqual(restartAtEnd([step, agent, machine], here), { at: 2, restart: 'reboot' })
  assert.deepEqual(restartAtEnd([agent, step], here), { at: 0, restart: 'agentRestart' })
  assert.equal(restartAtEnd([agent, machine], nextBoot), undefined)
  assert.deepEqual(restartAtEnd([agent, machine], nextProcess), { at: 1, restart: 'reboot' })
  assert.equal(restartAtEnd([], here), undefined)
  assert.deepEqual(
    [strongest(undefined, undefined), strongest('agentRestart', undefined), strongest('agentRestart', 'reboot')],
    [undefined, 'agentRestart', 'reboot'],
  )
})
