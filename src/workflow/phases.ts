import type { Attempt, Cause, ReachedPhase } from '../domain/attempt.ts'
import type { Allowed } from '../domain/deployment.ts'
import type { Action } from './action.ts'
import { cause } from './results.ts'

/**
 * What to do after the phase that was ordered, where the cloud orders each by itself (PROTOCOL.md, "Contract of 2021"): say
 * that it is done, then wait for the next order. Undefined: go on. The same order again finds its phase reached. Pure.
 */
export function pauseAfter(
  allowed: Allowed | undefined,
  { reached }: Pick<Attempt, 'reached'>,
  connected: boolean,
): Action | undefined {
  if (allowed === undefined || allowed === 'apply') return undefined
  if (reached === allowed) return { do: 'wait', for: 'order' }
  return connected ? { do: 'tellPhase', phase: allowed } : { do: 'wait', for: 'hub' }
}

/** A later phase was ordered, and this device does not have the files of this manifest. */
export const notDownloaded = (allowed: ReachedPhase | 'apply'): Cause =>
  cause('NOT_DOWNLOADED', `the service orders to ${allowed} an update that this device has not downloaded`)

/** Why nothing happens, for people. */
export const waitingForOrder = (reached: ReachedPhase | undefined): string =>
  reached === 'install'
    ? 'the service has not ordered to apply it yet'
    : 'the service has not ordered to install it yet'
