import { AgentError } from '../domain/errors.ts'
import { RESULT_CODE } from '../domain/result-codes.ts'
import type { StepResult } from '../domain/step-record.ts'
import type { StepOrder } from '../ports/steps.ts'
import type { End, OrderRecord } from './order-records.ts'

export const CANCELLED: StepResult = { resultCode: RESULT_CODE.cancelled, extendedResultCode: 0, resultDetails: '' }

/** What is known of an order; `what`: the hash of what is ordered now. */
export function ended(id: string, what: string, known: OrderRecord): End {
  return known.what !== undefined && known.what !== what ? refusal(OTHER_ORDER()) : recorded(id, known)
}

/** What is known of an order that is named by its id alone. */
export function recorded(id: string, { end }: OrderRecord): End {
  if (end) return end
  return refusal(
    new AgentError(
      'STEP_UNKNOWN',
      `the order ${id} was begun, and nobody knows how far it came: the step service did not see its end`,
    ),
  )
}

export const refusal = ({ code, extendedResultCode, message }: AgentError): End => ({
  refused: { code, extendedResultCode, message: message.slice(0, 2000) },
})

export const OTHER_ORDER = () =>
  new AgentError('STEP_REFUSED', 'the step service refuses: this id belongs to another order')
export const NEVER_BEGUN = (id: string) =>
  new AgentError('STEP_REFUSED', `the step service refuses: the order ${id} has no signed text, and was never begun`)

/** After that, nobody needs the step's files any more. */
export const isOver = (verb: StepOrder['verb'], end: End): boolean =>
  verb === 'cancel' || (verb === 'apply' && 'result' in end && end.result.resultCode > 0)

export const hasFailed = (end: End): boolean => 'result' in end && end.result.resultCode <= 0
