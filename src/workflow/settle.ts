import type { Attempt, Cause, Phase } from '../domain/attempt.ts'
import { RESULT_CODE } from '../domain/result-codes.ts'
import type { BootState } from '../domain/slot.ts'
import { isOpen, isSettled, isUntried, type StepRecord } from '../domain/step-record.ts'
import type { Action, Observed } from './action.ts'
import { MAX_REBOOTS } from './image.ts'
import { applied, cause, criteriaNotMet, failedWith, fellBack } from './results.ts'
import { goBack } from './rollback.ts'

/** What remains to be done for an attempt, whether or not it is still wanted. Pure. */
export function settle(
  seen: Pick<Observed, 'boot' | 'version' | 'connected' | 'flight'> & Partial<Pick<Observed, 'request'>>,
  attempt: Attempt,
): Action | undefined {
  const { boot, version, connected, flight, request } = seen
  if (attempt.owed && connected) return { do: 'report', result: attempt.owed.result, owed: true }
  if (attempt.rollback) return goBack(seen, attempt, attempt.rollback)
  if (attempt.result) {
    if (attempt.reported) return undefined
    if (connected) return { do: 'report', result: attempt.result }
    // A device that has no network must not wait for it when somebody brings the next system by hand.
    const isLocal = request?.kind === 'once' && request.update.local
    return isLocal ? { do: 'begin', deployment: request } : { do: 'wait', for: 'hub' }
  }
  const { installedTo, steps } = attempt
  if (!installedTo) return undefined
  const isStillFailed = boot.trial === 'failed' && boot.booted !== boot.primary
  // An image that was settled is history as long as it runs, and its slot is forgotten when the next one begins.
  if (steps.some(isSettled) && !steps.some(isUntried) && !isStillFailed) return isLost(boot, attempt)
  if (boot.trial === 'failed') {
    if (boot.booted === boot.primary) return failed(fellBack(attempt, flight), 'trial')
    // The fall-back was written, but the machine still runs the failed slot.
    if (attempt.reboots < MAX_REBOOTS) return { do: 'reboot', why: 'fallBack' }
    return failed(cause('TOO_MANY_REBOOTS', `still on slot ${boot.booted} after ${attempt.reboots} reboots`), 'trial')
  }
  if (installedTo !== boot.booted || boot.trial !== 'none') return undefined
  const criteria = attempt.installedCriteria
  // Without criteria, success means that the other slot booted and was committed.
  const met = criteria === version || (criteria === undefined && attempt.own !== undefined)
  return met ? tried(steps) : failed(criteriaNotMet(criteria ?? '', version), 'trial')
}

/** The list must not go on in the old system, nor succeed there. */
function isLost({ booted }: BootState, { installedTo, cause: known, steps }: Attempt): Action | undefined {
  if (booted === installedTo) return undefined
  const why = `slot ${installedTo} with the committed image of this list does not run any more`
  const next = steps.findIndex(isOpen)
  const at = next < 0 ? steps.findLastIndex(isSettled) : next
  const result = failedWith(cause('FELL_BACK', known ? `${why}: ${known.details}` : why), 'trial')
  return { do: 'finish', result, at }
}

/** The image has earned its place: the list goes on, or is over. */
function tried(steps: readonly StepRecord[]): Action {
  if (!steps.some(isOpen)) return { do: 'finish', result: applied() }
  const result = { resultCode: RESULT_CODE.applied, extendedResultCode: 0, resultDetails: '' }
  return { do: 'settleStep', at: steps.findIndex(isUntried), state: 'done', result }
}

const failed = (why: Cause, phase: Phase): Action => ({ do: 'finish', result: failedWith(why, phase) })
