import { scriptExit } from '../../domain/result-codes.ts'
import type { StepResult } from '../../domain/step-record.ts'
import type { Verb } from '../../ports/steps.ts'
import { type Answer, BadAnswer, failure, lastWords, successOf } from '../answer.ts'
import type { Launched } from '../worker.ts'
import { actionOf } from './words.ts'

/**
 * What the exit code and the result file say together (PROTOCOL.md, "Script contract"). `handler`: the kind of step, each with
 * codes of its own. Pure.
 */
export function outcomeOf(
  verb: Verb,
  handler: 'script' | 'swupdate',
  launched: Launched,
  answer: Answer | BadAnswer,
): StepResult {
  const { exitCode, complaint = '', tail } = launched
  const action = `the script's action ${actionOf(verb)}`
  const said = lastWords(tail)
  const printed = said === '' ? '' : `; it printed: ${said}`
  if (launched.timedOut) return failure('SCRIPT_TIMED_OUT', `${action} ${complaint}${printed}`)
  if (exitCode === undefined) return failure('SCRIPT_KILLED', `${action} ${complaint}${printed}`)
  const hasAnswer = !(answer instanceof BadAnswer)
  if (exitCode !== 0) {
    const why = hasAnswer && answer.resultDetails !== '' ? `: ${answer.resultDetails}` : printed
    const details = `${action} ${complaint}${why}`
    const own = handler === 'swupdate' && hasAnswer && answer.resultCode <= 0 ? answer.extendedResultCode : 0
    return failure(own || scriptExit(handler, exitCode), details)
  }
  if (!hasAnswer) {
    if (verb === 'cancel')
      return { resultCode: 801, extendedResultCode: 0, resultDetails: `its result ${answer.message}` }
    const code = handler === 'swupdate' ? 'SWU_SCRIPT_RESULT' : 'SCRIPT_RESULT'
    return failure(code, `${action}: the result file ${answer.message}${printed}`)
  }
  const { resultCode, extendedResultCode, resultDetails } = answer
  if (resultCode <= 0) {
    const why = resultDetails === '' ? printed : `: ${resultDetails}`
    return failure(extendedResultCode || 'SCRIPT_SILENT', `${action} failed${why}`)
  }
  const success = successOf(verb, resultCode)
  if (success !== undefined) return { resultCode: success, extendedResultCode, resultDetails }
  return failure('SCRIPT_ACTION_RESULT', `${action} gave the result code ${resultCode}, which it must not give`)
}
