import type { Attempt } from '../../src/domain/attempt.ts'

/**
 * The journal as an agent to come may write it: what every format has is as it is today, all else is there in another shape, or not
 * there, or new.
 */
export function asNewer(attempt: Attempt, more: Partial<Attempt> = {}): object {
  const all = { ...attempt, ...more }
  const { workflow, fingerprint, origin, updateId, installedCriteria, installedTo, milestones } = all
  const { cause, result, reported, vouched, rollback, owed } = all
  const newer = {
    ...{ format: 7, workflow, fingerprint, origin, updateId, installedCriteria },
    ...{ installedTo, milestones, cause, result, reported, vouched, rollback, owed },
    ...{ installs: { begun: 1 }, times: '2031', failedBefore: { units: 3 }, extraCodes: 'none', before: 9 },
    steps: [
      { at: '0', handler: 'contoso/handler:9', state: 'paused', starts: 'two', wants: 'a moon', result: 700 },
      'more',
    ],
    gates: { power: 'plugged in' },
  }
  return JSON.parse(JSON.stringify(newer))
}
