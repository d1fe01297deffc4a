import type { Attempt, Cause, InstallResult } from '../domain/attempt.ts'
import { ercText } from '../domain/result-codes.ts'
import { isOpen } from '../domain/step-record.ts'
import type { Look } from '../view/changes.ts'
import type { AgentEvent } from '../view/event.ts'
import type { DoingPhase } from '../view/view.ts'
import type { Action, Observed } from './action.ts'
import { waitingForOrder } from './phases.ts'

/** How an action appears in the view. */
const PHASES: Readonly<Record<Exclude<Action['do'], 'wait' | 'waitForGate' | 'answer' | 'record'>, DoingPhase>> = {
  begin: 'beginning',
  install: 'installing',
  tellPhase: 'reporting',
  prepare: 'installing',
  runStep: 'installing',
  recall: 'installing',
  settleStep: 'installing',
  restartAgent: 'rebooting',
  activate: 'activating',
  reboot: 'rebooting',
  commit: 'committing',
  fallBack: 'fallingBack',
  rollBack: 'activating',
  endRollback: 'ending',
  abandon: 'ending',
  finish: 'ending',
  report: 'reporting',
}

/**
 * What the loop has observed and is about to do, as the view shows it; undefined when the view does not change. Pure.
 * `trialLeft`: milliseconds that a trial boot has left; `now`: milliseconds since 1970.
 */
export function lookOf(observed: Observed, action: Action, trialLeft: number, now: number): Look | undefined {
  const { boot, version, attempt, lost, connected, flight } = observed
  const seen = { boot, version, attempt, flight, journalDamage: lost ?? attempt?.gap }
  const health = { what: 'health', within: trialLeft } as const
  switch (action.do) {
    case 'answer':
      return undefined
    case 'record':
      return { ...seen, phase: 'trial', waitsFor: health }
    case 'waitForGate': {
      const within = action.until === undefined ? {} : { within: Math.max(0, action.until - now) }
      const what = action.asks ? 'consent' : 'gate'
      return { ...seen, phase: 'waiting', waitsFor: { what, why: action.why, ...within } }
    }
    case 'wait':
      if (action.for === 'health') return { ...seen, phase: 'trial', waitsFor: health }
      if (action.for === 'order')
        return { ...seen, phase: 'waiting', waitsFor: { what: 'gate', why: waitingForOrder(attempt?.reached) } }
      if (action.for === 'hub') return { ...seen, phase: 'reporting', waitsFor: { what: 'hub' } }
      return { ...seen, phase: 'idle', waitsFor: { what: connected ? 'news' : 'hub' } }
    default:
      return { ...seen, ...stepOf(observed, action), phase: PHASES[action.do], waitsFor: undefined }
  }
}

/** Which step of a list is at work. */
function stepOf({ attempt }: Observed, action: Action): Pick<Look, 'step'> {
  const at = action.do === 'install' ? attempt?.steps.findIndex(isOpen) : 'at' in action ? action.at : undefined
  const step = at === undefined ? undefined : attempt?.steps[at]
  if (!attempt || !step || at === undefined || attempt.steps.length === 1) return {}
  const { handler, component = null } = step
  return { step: { number: at + 1, of: attempt.steps.length, handler, component } }
}

export const fallBackEvent = ({ details: why, extendedResultCode }: Cause): AgentEvent => ({
  event: 'fall-back',
  why,
  code: ercText(extendedResultCode),
})

export const resultEvent = ({ workflow }: Attempt, result: InstallResult): AgentEvent => ({
  event: 'result',
  workflowId: workflow.id,
  resultCode: result.resultCode,
  extendedResultCodes: result.extendedResultCodes.map(ercText).join(','),
  resultDetails: result.resultDetails,
})
