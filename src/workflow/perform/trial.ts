import { slotOnTrial } from '../../domain/attempt.ts'
import { AgentError } from '../../domain/errors.ts'
import { flightKeyOf } from '../../domain/flight.ts'
import { rollbackBegun } from '../rollback.ts'
import { attemptOf, type Context } from './context.ts'
import type { Executor } from './perform.ts'

/** If the disk cannot be written, the milestones are lost, but the trial continues. */
export const record: Executor<'record'> = async ({ milestones }, context) => {
  const { journal, log } = context.ports
  const attempt = attemptOf(context)
  await noteFlight(context)
  try {
    await journal.write({ ...attempt, milestones: [...attempt.milestones, ...milestones] })
    context.recorded(milestones.length)
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    log.warn('trial.not-recorded', { why: error.message })
    context.recorded(undefined)
  }
}

export const commit: Executor<'commit'> = async ({ request }, context) => {
  const { ports, seen, signal, requests } = context
  if (request && !requests.take(request)) return
  // Before the commit: the result must say that nobody asked for this system's health.
  if (request) await ports.journal.write({ ...attemptOf(context), vouched: true })
  await noteFlight(context)
  await ports.boot.commit(signal)
  ports.events.tell({ event: 'committed', slot: seen.boot.booted, version: seen.version })
  if (request) requests.settle(request, { is: 'begun' })
}

/** The intention alone. Whichever system a power cut leaves running goes on from it. */
export const rollBack: Executor<'rollBack'> = async ({ request, rollback }, context) => {
  const { ports, requests, seen, signal } = context
  if (!requests.take(request)) return
  // End an old trial that has failed first, as `begin` does. In the other order it would count as the failure of this rollback.
  if (seen.boot.trial !== 'none') await ports.boot.commit(signal)
  await ports.journal.write(rollbackBegun(attemptOf(context), rollback))
  requests.settle(request, { is: 'begun' })
}

/** Writes down how far this trial boot has come, so that the other slot can report it. */
export async function noteFlight({ ports: { flight }, seen: { attempt, boot, connected } }: Context): Promise<void> {
  // Not every trial belongs to the attempt.
  if (attempt && slotOnTrial(attempt) === boot.booted) await flight.note(flightKeyOf(attempt), connected)
}
