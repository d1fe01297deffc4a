import { changed } from '../../domain/step-record.ts'
import { attemptOf } from './context.ts'
import type { Executor } from './perform.ts'

/** Why the process ends: a step requested it. Whoever started the agent starts it again. */
export class AgentRestart extends Error {}

/** Counted first: the next process sees by its own id that the restart has happened. */
export const restartAgent: Executor<'restartAgent'> = async ({ at }, context) => {
  const attempt = attemptOf(context)
  const steps = changed(attempt.steps, at, step => ({ ...step, restarts: (step.restarts ?? 0) + 1 }))
  await context.ports.journal.write({ ...attempt, steps })
  throw new AgentRestart('a step requested a restart of the agent')
}

export const settleStep: Executor<'settleStep'> = async ({ at, state, result }, context) => {
  const attempt = attemptOf(context)
  const steps = changed(attempt.steps, at, ({ mayHaveRun: _, ...step }) => ({ ...step, state, result }))
  const { installedCriteria } = attempt
  const committed = state === 'done' && installedCriteria !== undefined ? { committed: installedCriteria } : {}
  await context.ports.journal.write({ ...attempt, ...committed, steps })
}
