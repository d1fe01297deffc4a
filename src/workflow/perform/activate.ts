import { AgentError } from '../../domain/errors.ts'
import { flightKeyOf } from '../../domain/flight.ts'
import { attemptOf, type Context } from './context.ts'
import type { Executor } from './perform.ts'
import { tellStage } from './telling.ts'

/** With more failed units than this, the old system is no baseline. */
const MAX_UNITS = 50

export const activate: Executor<'activate'> = async ({ slot }, context) => {
  const { boot, journal, flight, clock, events } = context.ports
  const { failedBefore: known = [], offline, ...rest } = attemptOf(context)
  const failedBefore = await failedUnits(context)
  const { times } = rest
  const noted = failedBefore.length > 0 ? { failedBefore } : {}
  // The agent may just not have been connected yet when the update began.
  const isOffline = offline && !context.seen.connected && !context.seen.wasConnected
  const more = { ...noted, ...(isOffline ? { offline } : {}) }
  const applying = { ...rest, ...more, times: { ...times, applying: times.applying ?? clock.now().toISOString() } }
  // Write this before the boot state changes: after a power cut the new system may be the one that reads it.
  const isNews = failedBefore.join() !== known.join() || offline !== applying.offline
  if (isNews || !times.applying) await journal.write(applying)
  // The caller of the last update ordered no rollback.
  if (!applying.rollback) await tellStage(context, applying, 'applying')
  await flight.expect(flightKeyOf({ ...applying, installedTo: slot }))
  await boot.arm(slot, context.signal)
  events.tell({ event: 'activated', slot })
}

/** Units that failed in the old system do not count against the new one. If they cannot be listed, every failed unit counts. */
async function failedUnits({ ports: { host, log }, signal }: Context): Promise<readonly string[]> {
  try {
    const units = await host.failedUnits(signal)
    if (units.length > 0) log.warn('units.failed', { units: units.join(' ') })
    return units.slice(0, MAX_UNITS)
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    log.warn('units.unknown', { why: error.message })
    return []
  }
}
