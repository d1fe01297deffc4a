import type { Answered, Attempt } from '../domain/attempt.ts'
import type { Deployment } from '../domain/deployment.ts'

/** Whether the twin's deployment was finished, by this attempt or by the one that a request made once replaced. */
export const isAnswered = (deployment: Deployment, attempt: Attempt | undefined): boolean =>
  attempt !== undefined &&
  (isFor(deployment, attempt) || (attempt.answered !== undefined && isFor(deployment, attempt.answered)))

/** Compares id, retry stamp and content: a change in any of them asks for a new attempt (PROTOCOL.md, "Repeated deployments"). */
export function isFor(deployment: Deployment, attempt: Answered): boolean {
  if (deployment.kind === 'cancel' && attempt.cancelledBy === deployment.fingerprint) return true
  return (
    deployment.workflow.action === attempt.workflow.action &&
    deployment.workflow.id === attempt.workflow.id &&
    // A stamp that disappears does not ask for another attempt (PROTOCOL.md, "Repeated deployments").
    (deployment.workflow.retryTimestamp ?? attempt.workflow.retryTimestamp) === attempt.workflow.retryTimestamp &&
    deployment.fingerprint === attempt.fingerprint
  )
}
