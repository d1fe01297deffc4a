import { AgentError } from '../../domain/errors.ts'
import { conclude, hasWork } from '../ending.ts'
import { cancelled, cancelledHere, ended } from '../results.ts'
import { rollbackEnded } from '../rollback.ts'
import { attemptOf, type Context } from './context.ts'
import type { Executor } from './perform.ts'

export const abandon: Executor<'abandon'> = async (action, context) => {
  const { ports, seen, signal, requests } = context
  const attempt = attemptOf(context)
  const now = ports.clock.now()
  if ('cancelledBy' in action) {
    const { cancelledBy } = action
    return conclude(ports, ended({ ...attempt, cancelledBy }, cancelled(attempt.steps), now), seen.boot, signal)
  }
  // Answered meanwhile: whoever asked was told that nothing happens.
  if (!requests.take(action.request)) return
  await conclude(ports, ended(attempt, cancelledHere(attempt), now), seen.boot, signal)
  requests.settle(action.request, { is: 'begun' })
}

export const endRollback: Executor<'endRollback'> = async ({ failure }, context) => {
  const { ports, seen, signal } = context
  await conclude(ports, rollbackEnded(attemptOf(context), failure), seen.boot, signal)
}

export const finish: Executor<'finish'> = async ({ result, at }, context) => {
  const { ports, seen, signal } = context
  await conclude(ports, ended(attemptOf(context), result, ports.clock.now(), at), seen.boot, signal)
}

export const report: Executor<'report'> = async ({ result, owed: isOwed }, context) => {
  const attempt = attemptOf(context)
  const { owed, ...rest } = attempt
  if (isOwed && owed) {
    await context.report(owed, result)
    await context.ports.journal.write(rest)
    return
  }
  await context.report(attempt, result)
  if (context.seen.consented) await forgetConsent(context)
  // Before the write, after which nobody looks at this attempt again.
  if (hasWork(attempt)) await context.ports.workFolder.keepOnly(undefined)
  await context.ports.journal.write({ ...attempt, reported: true })
}

/** A consent that stays is removed before the next update begins. */
async function forgetConsent({ ports }: Context): Promise<void> {
  try {
    await ports.conditions.forgetConsent()
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    ports.log.warn('consent.not-removed', { why: error.message })
  }
}
