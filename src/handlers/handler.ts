import type { FileEntity, InlineStep, Plan, Verified } from '../domain/deployment.ts'
import type { Capabilities } from './capabilities.ts'

/**
 * Reads one kind of manifest step (README.md). Pure: plans are carried out elsewhere, after every step of the deployment was
 * read.
 */
export interface StepHandler<P extends Plan = Plan> {
  /** Reads the step completely. Errors: AgentError with the reason why this device cannot carry out the step. */
  read(step: InlineStep, device: Capabilities): P
  /** The files that the plan needs; the step's other files are not fetched. */
  needs(plan: P): readonly Verified<FileEntity>[]
}
