import { reporterOf } from '../../sources/reporter.ts'
import { attemptOf, type Context } from './context.ts'
import type { Executor } from './perform.ts'

/** The cloud orders the next phase only when it has this, so it is repeated until the hub has acknowledged it. */
export const tellPhase: Executor<'tellPhase'> = async ({ phase }, context: Context) => {
  const attempt = attemptOf(context)
  const patch = reporterOf(context.options.reporters, attempt).phase?.(attempt, phase)
  if (patch) await context.deliver(patch)
  await context.ports.journal.write({ ...attempt, reached: phase })
}
