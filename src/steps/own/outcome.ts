import type { StepResult } from '../../domain/step-record.ts'
import type { Verb } from '../../ports/steps.ts'
import { BadAnswer, DONE, failure, successOf } from '../answer.ts'
import type { Launched } from '../worker.ts'
import type { Reply } from './protocol.ts'

/** The exit code EX_TEMPFAIL of sysexits.h: nothing was changed, and the same call may succeed later. */
export const TRY_AGAIN = 75

/** What exit code and result of an owner's handler say together (README.md). Pure. */
export function outcomeOf(verb: Verb, handler: string, launched: Launched, reply: Reply): StepResult {
  const { exitCode, complaint = '' } = launched
  const call = `${verb} of the handler ${handler}`
  const { answer, said } = reply
  if (launched.timedOut) return failure('SCRIPT_TIMED_OUT', `${call} ${complaint}${said}`)
  if (exitCode === undefined) return failure('SCRIPT_KILLED', `${call} ${complaint}${said}`)
  if (answer instanceof BadAnswer) return failure('OWN_RESULT', `${call}: its result ${answer.message}${said}`)
  if (answer && answer.resultCode <= 0) {
    const why = answer.resultDetails === '' ? said : `: ${answer.resultDetails}`
    return failure(answer.extendedResultCode || 'OWN_FAILED', `${call} failed${why}`)
  }
  if (exitCode !== 0) return failure('OWN_FAILED', `${call} ${complaint}${said}`)
  if (answer) {
    const { resultCode, extendedResultCode, resultDetails } = answer
    const success = successOf(verb, resultCode)
    if (success !== undefined) return { resultCode: success, extendedResultCode, resultDetails }
    return failure('SCRIPT_ACTION_RESULT', `${call} gave the result code ${resultCode}, which it must not give`)
  }
  // A handler needs no code for the verbs that it has nothing to do for; but a question wants an answer.
  if (verb === 'isInstalled') return failure('OWN_RESULT', `${call} gave no result${said}`)
  return { resultCode: DONE[verb], extendedResultCode: 0, resultDetails: '' }
}
