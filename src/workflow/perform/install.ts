import { install as deliver, type Installation } from '../../delivery/install.ts'
import type { Attempt } from '../../domain/attempt.ts'
import { EXTENDED_RESULT_CODE } from '../../domain/result-codes.ts'
import { stepBegun, stepDone } from '../../domain/step-record.ts'
import type { Observed } from '../action.ts'
import { attemptOf, Paused } from './context.ts'
import type { Executor } from './perform.ts'
import { progressOf, tellStage } from './telling.ts'

export const install: Executor<'install'> = async (action, context) => {
  const { ports, options, seen, signal } = context
  const attempt = forImage(attemptOf(context), action.update)
  const counted = sparing({ ...attempt, installs: attempt.installs + 1, steps: stepBegun(attempt.steps) }, seen)
  await ports.journal.write(counted)
  await tellStage(context, counted, 'downloading')
  const progress = progressOf(context, counted)
  try {
    await deliver(ports, action, options.fetch, progress.tell, signal)
  } catch (error) {
    // A closed gate is not the update's fault, so this install does not count.
    if (signal.reason instanceof Paused) {
      await ports.journal.write({ ...counted, installs: attempt.installs, pauses: (attempt.pauses ?? 0) + 1 })
    }
    throw error
  }
  await progress.told()
  const downloaded = ports.clock.now().toISOString()
  const steps = stepDone(counted.steps, 'trial')
  const done = { ...counted, installedTo: action.into, steps, times: { ...counted.times, downloaded } }
  await ports.journal.write(done)
  // Only now: until the journal has the result, a power cut means that the bundle is installed again.
  await ports.leftovers.forget()
  await tellStage(context, done, 'downloaded')
}

/** From here on the running system is the whole one, and what the other slot holds is unknown. */
function sparing({ spare: _, ...attempt }: Attempt, { boot, version }: Observed): Attempt {
  return version === '' ? attempt : { ...attempt, spare: { slot: boot.booted, version } }
}

/** What the journal holds of the trial of an earlier image of the list says nothing about this one. The report still names who committed it. */
export function forImage(attempt: Attempt, update: Installation['update']): Attempt {
  if (!('bundle' in update)) return attempt
  const { installedTo: _, failedBefore: _units, cause: _why, vouched, ...rest } = attempt
  const { extraCodes = [] } = rest
  const here = vouched ? { extraCodes: [EXTENDED_RESULT_CODE.COMMITTED_HERE, ...extraCodes] } : {}
  return { ...rest, ...here, installedCriteria: update.installedCriteria, milestones: [], reboots: 0 }
}
