import { type Attempt, type InstallResult, judgedBy, type Rollback } from '../domain/attempt.ts'
import type { UpdateId } from '../domain/deployment.ts'
import { flightClause } from '../domain/flight.ts'
import { EXTENDED_RESULT_CODE } from '../domain/result-codes.ts'
import { other } from '../domain/slot.ts'
import { stepsEnded } from '../domain/step-record.ts'
import type { Action, Observed } from './action.ts'
import { MAX_REBOOTS } from './image.ts'
import { cause, failedWith } from './results.ts'

// A rollback that somebody has ordered at the device: back into the other slot, which is tried like a new system, so that a
// system that does not start or is not healthy any more costs nothing. All pure.

/** What a rollback needs next. The trial of the other slot is settled before this is asked. */
export function goBack(
  { boot, flight }: Pick<Observed, 'boot' | 'flight'>,
  attempt: Attempt,
  { to }: Rollback,
): Action {
  const { booted, primary, trial } = boot
  const { reboots } = attempt
  if (booted === to) {
    if (trial !== 'failed' || booted === primary) return { do: 'endRollback' }
    // The fall-back was written, but the machine still runs the slot that failed.
    if (reboots < MAX_REBOOTS) return { do: 'reboot', why: 'fallBack' }
  }
  if (trial === 'failed') {
    const how = flight ? `; ${flightClause(flight, judgedBy(attempt.cause))}` : ''
    return { do: 'endRollback', failure: `${attempt.cause?.details ?? `slot ${to} did not start`}${how}` }
  }
  if (reboots >= MAX_REBOOTS) {
    return { do: 'endRollback', failure: `slot ${to} was not started after ${reboots} reboot orders` }
  }
  return trial === 'pending' && primary === to ? { do: 'reboot', why: 'trial' } : { do: 'activate', slot: to }
}

/** The attempt when the rollback begins. What its own trial left behind says nothing about this one. */
export function rollbackBegun(attempt: Attempt, rollback: Rollback): Attempt {
  const { cause: _, vouched: _v, failedBefore: _f, ...rest } = attempt
  return { ...rest, milestones: [], reboots: 0, rollback }
}

/** The attempt when the rollback is over; its result is reported again. `failure`: why the old system still runs. */
export function rollbackEnded(attempt: Attempt, failure: string | undefined): Attempt {
  const { rollback, cause: why, vouched, ...rest } = attempt
  const { result } = rest
  if (!rollback || !result) throw new Error('a rollback ends only once, and after a result')
  if (failure !== undefined) {
    // It may have failed before.
    const codes = [...new Set([...result.extendedResultCodes, EXTENDED_RESULT_CODE.ROLLBACK_FAILED])].slice(0, 9)
    const resultDetails = `a rollback on the device to slot ${rollback.to} failed: ${failure}`
    const end = { ...rest, result: { ...result, extendedResultCodes: codes, resultDetails }, reported: false }
    if (why?.extendedResultCode !== EXTENDED_RESULT_CODE.CRITERIA_NOT_MET) return end
    // The slot holds something else than was remembered.
    const { spare: _, ...known } = end
    return known
  }
  const back = backIn(rest, rollback, result)
  const here = vouched ? [EXTENDED_RESULT_CODE.COMMITTED_HERE] : []
  const end = { ...back, extendedResultCodes: [...back.extendedResultCodes, ...here] }
  const at = rest.steps.findLastIndex(({ work, state }) => !work && state === 'done')
  const steps = stepsEnded(withoutResult(rest.steps, at), end, at)
  const spare = { slot: other(rollback.to), version: rollback.from }
  return { ...rest, steps, result: end, reported: false, ...(rollback.from ? { spare } : {}) }
}

/** What the origin of the last update hears: its system does not run any more. */
function backIn(attempt: Attempt, { to, version, from }: Rollback, result: InstallResult): InstallResult {
  const details = `rolled back on the device from version "${from}" to version "${version}" in slot ${to}`
  const failure = failedWith(cause('ROLLED_BACK', details), 'trial')
  const known = updateOf(version, attempt)
  const installed = known ? { installed: known } : ({ nothingKnown: true } as const)
  // A cancel cannot fail.
  const code = attempt.workflow.action === CANCEL ? { resultCode: result.resultCode } : {}
  return { ...failure, ...code, ...installed }
}

/** The update that the system of this version is. Of a list that is longer it would not be the whole update. */
function updateOf(version: string, { before, steps, updateId, installedCriteria }: Attempt): UpdateId | undefined {
  if (before?.installedCriteria === version) return before.updateId
  return steps.length === 1 && installedCriteria === version ? updateId : undefined
}

const CANCEL = 255

/** Step `at` has lost what it had done. */
const withoutResult = (steps: Attempt['steps'], at: number): Attempt['steps'] =>
  steps.map((step, index) => {
    if (index !== at) return step
    const { result: _, ...rest } = step
    return rest
  })

/** Whether the attempt's own system, or the one it rolls back to, is on trial in the booted slot. */
export const isTrialOf = (attempt: Attempt, { booted }: Observed['boot']): boolean =>
  attempt.rollback ? attempt.rollback.to === booted : !attempt.result && attempt.installedTo === booted

/** The version that the system on trial must have; undefined when none was ordered. */
export function criteriaIn(attempt: Attempt | undefined, { booted }: Observed['boot']): string | undefined {
  if (attempt?.rollback) return attempt.rollback.to === booted ? attempt.rollback.version : undefined
  return attempt?.installedTo === booted ? attempt.installedCriteria : undefined
}

/** The system that a rollback would start, if the other slot holds one that was committed and not written to since. */
export function spareOf({ attempt, boot }: Pick<Observed, 'attempt' | 'boot'>): Attempt['spare'] {
  return attempt?.spare?.slot === other(boot.booted) ? attempt.spare : undefined
}
