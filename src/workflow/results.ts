import { type Attempt, type Cause, type InstallResult, judgedBy, type Phase } from '../domain/attempt.ts'
import type { Deployment } from '../domain/deployment.ts'
import type { AgentError } from '../domain/errors.ts'
import { type Flight, flightClause, hasAgentEnded } from '../domain/flight.ts'
import { type ErrorCode, EXTENDED_RESULT_CODE, ercText, RESULT_CODE } from '../domain/result-codes.ts'
import { isSettled, isUntried, type StepRecord, type StepResult, stepsEnded } from '../domain/step-record.ts'

export const applied = (details = ''): InstallResult => ({
  resultCode: RESULT_CODE.applied,
  extendedResultCodes: [0],
  resultDetails: details,
})

/** Says which of `steps` have had their effect. */
export function cancelled(steps: readonly StepRecord[]): InstallResult {
  const done = steps.filter(step => step.state === 'done' && !isUntried(step)).length
  const begun = steps.find(({ state, result }) => state === 'running' && result)
  const rest = begun?.wants ? 'still wanted a restart' : 'is installed, and not applied'
  const how =
    done === 0 && !begun
      ? 'cancelled; the running system was not touched'
      : `cancelled after ${done} of ${steps.length} steps${begun ? `; step ${begun.path.join('.')} ${rest}` : ''}`
  return { resultCode: RESULT_CODE.cancelled, extendedResultCodes: [0], resultDetails: how }
}

/** The same, ordered at the device: the cloud did not want it. */
export function cancelledHere({ steps, installedTo }: Pick<Attempt, 'steps' | 'installedTo'>): InstallResult {
  const { resultDetails } = cancelled(steps)
  const code = EXTENDED_RESULT_CODE.CANCELLED_HERE
  const details = `${resultDetails.replace(/^cancelled/, 'cancelled on the device')} (${ercText(code)})`
  const phase = installedTo ? 'apply' : 'download'
  return { resultCode: RESULT_CODE.cancelled, extendedResultCodes: [code], resultDetails: details, phase }
}

/** The answer to a cancel with nothing to cancel. */
export const idle: InstallResult = { resultCode: RESULT_CODE.idle, extendedResultCodes: [0], resultDetails: '' }

export const failedWith = ({ extendedResultCode, details }: Cause, phase: Phase): InstallResult => ({
  resultCode: RESULT_CODE.failure,
  extendedResultCodes: [extendedResultCode],
  resultDetails: `${details} (${ercText(extendedResultCode)})`,
  phase,
})

/** Which of several steps a text is about, by the name that reports and refusals use too. */
export const aboutStep = (steps: readonly StepRecord[], at: number, text: string): string => {
  const step = steps[at]
  if (!step || steps.length === 1) return text
  const component = step.component === undefined ? '' : ` for component "${step.component}"`
  return `step ${step.path.join('.')}, ${step.handler}${component}: ${text}`
}

/** The result of the attempt when step `at` has failed with `result`. */
export const stepFailed = (steps: readonly StepRecord[], at: number, result: StepResult): InstallResult =>
  failedWith(
    {
      extendedResultCode: result.extendedResultCode,
      details: aboutStep(steps, at, result.resultDetails || 'the step failed'),
    },
    'apply',
  )

export const failureOf = (error: AgentError, phase: Phase): InstallResult => failedWith(causeOf(error), phase)

export const cause = (code: ErrorCode, details: string): Cause => ({
  extendedResultCode: EXTENDED_RESULT_CODE[code],
  details,
})

export const causeOf = ({ extendedResultCode, message }: AgentError): Cause => ({
  extendedResultCode,
  details: message,
})

export const criteriaNotMet = (criteria: string, version: string): Cause =>
  cause('CRITERIA_NOT_MET', `the new system is version "${version}", but installedCriteria is "${criteria}"`)

export const replacedBy = ({ workflow }: Deployment): Cause =>
  cause('REPLACED', `replaced by deployment ${workflow.id}`)

/** Why the device fell back, from what the failed slot left in the journal and in the record of its boots. */
export function fellBack(attempt: Attempt, flight?: Flight): Cause {
  const last = attempt.milestones.at(-1)
  const never = flight && hasAgentEnded(flight) ? 'its agent never came to work' : 'it never started the agent'
  const reached = last ? `last milestone: ${last}` : never
  const how = flight ? `; ${flightClause(flight, judgedBy(attempt.cause))}` : ''
  if (attempt.cause) return { ...attempt.cause, details: `fell back to the old system: ${attempt.cause.details}${how}` }
  const why =
    attempt.gap === undefined
      ? 'the boot script fell back to the old system, all trial boots failed'
      : 'fell back to the old system; why is not known, as the journal was damaged'
  return cause('FELL_BACK', `${why}; ${reached}${how}`)
}

/** A power cut may come between the word of whoever vouched for the system and its commit. */
const hasFallenBack = ({ steps }: Attempt, { phase }: InstallResult): boolean =>
  phase === 'trial' && (steps.some(isUntried) || !steps.some(isSettled))

const VOUCHED = 'committed on the device without waiting for its health checks'

/**
 * The attempt at its end. The first code is the result's own; at most eight more follow (PROTOCOL.md, "Final report"), one of them
 * for a journal that was damaged, one for a trial that somebody at the device has ended. `at`: the step that the result is about, see `stepsEnded`.
 */
export function ended(attempt: Attempt, result: InstallResult, now: Date, at?: number): Attempt {
  const damaged = attempt.gap === undefined ? [] : [EXTENDED_RESULT_CODE.JOURNAL]
  const isCommitted = attempt.vouched && !hasFallenBack(attempt, result)
  const here = EXTENDED_RESULT_CODE.COMMITTED_HERE
  const { extraCodes = [] } = attempt
  // An earlier image of the list may have been committed by hand too.
  const vouched = isCommitted && !extraCodes.includes(here) ? [here] : []
  const more = [...damaged, ...vouched, ...extraCodes]
  const extendedResultCodes = [...result.extendedResultCodes, ...more].slice(0, 9)
  const resultDetails = result.resultDetails || (isCommitted ? VOUCHED : '')
  const applied = result.resultCode === RESULT_CODE.applied ? { applied: now.toISOString() } : {}
  const whole = { ...result, extendedResultCodes, resultDetails }
  const steps = stepsEnded(attempt.steps, whole, at)
  return { ...attempt, result: whole, steps, times: { ...attempt.times, ...applied } }
}
