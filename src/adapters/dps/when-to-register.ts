import type { HubOutcome } from '../../ports/identity.ts'
import type { Outcome } from './onboarding.ts'

/**
 * When a device registers (PROTOCOL.md, "When to register"). Registrations are billed, and an instance accepts only a few
 * hundred per minute, so a device with an assignment keeps it. All times are milliseconds of a monotonic clock. Pure.
 */
export interface Standing {
  /** How often the hub has refused the assigned identity since it last accepted it, and since when. */
  readonly refusals: number
  readonly refusedSince: number
  /** Since when the hub has been unreachable; undefined if the last connection succeeded. */
  readonly unreachableSince: number | undefined
  /** Consecutive failed registrations. */
  readonly failures: number
  /** The earliest time of the next registration. */
  readonly notBefore: number
}

export const FRESH: Standing = {
  refusals: 0,
  refusedSince: 0,
  unreachableSince: undefined,
  failures: 0,
  notBefore: 0,
}

/** What is stored about an earlier registration. `outdated`: it was made with another credential, id or scope. */
export type Known = 'nothing' | 'outdated' | 'current'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** A hub may learn of a change late, so the device registers again only after this many refusals over this long. */
const REFUSALS = 3
const REFUSED_FOR = 5 * MINUTE
/** After this long the hub may be gone, or the device assigned to another hub. */
const UNREACHABLE_FOR = 30 * MINUTE
/** The most patient device waits this many times longer: when a hub refuses 10,000 devices at once, they register within the quota. */
const SPREAD = { refused: 16, unreachable: 3 } as const
/** Pauses after failures that need a person, who may already be fixing them. */
const OPERATOR_WAITS = [5 * MINUTE, 15 * MINUTE, HOUR] as const
/** The pause after a registration that was only made because the hub does not work. It did not help before, and the hub is tried meanwhile. */
const DOUBT_WAIT = { least: HOUR, most: 3 * HOUR } as const

/**
 * `ordered`: a person ordered a registration. `spread`: 0 ≤ x < 1, the same for the life of a process. `wait`: there is no
 * identity to connect with, and no registration is due.
 */
export function nextStep(
  known: Known,
  ordered: boolean,
  standing: Standing,
  now: number,
  spread: number,
): 'connect' | 'register' | 'wait' {
  const spreadOut = (milliseconds: number, most: number): number => milliseconds * (1 + spread * (most - 1))
  const { refusals, refusedSince, unreachableSince, notBefore } = standing
  const isRefused = refusals >= REFUSALS && now - refusedSince >= spreadOut(REFUSED_FOR, SPREAD.refused)
  const isAway =
    unreachableSince !== undefined && now - unreachableSince >= spreadOut(UNREACHABLE_FOR, SPREAD.unreachable)
  if (now >= notBefore && (known !== 'current' || ordered || isRefused || isAway)) return 'register'
  return known === 'nothing' ? 'wait' : 'connect'
}

export function afterConnect(standing: Standing, outcome: HubOutcome, now: number): Standing {
  if (outcome === 'unreachable') return { ...standing, unreachableSince: standing.unreachableSince ?? now }
  if (outcome === 'connected') return { ...standing, refusals: 0, unreachableSince: undefined }
  const refusedSince = standing.refusals === 0 ? now : standing.refusedSince
  return { ...standing, refusals: standing.refusals + 1, refusedSince, unreachableSince: undefined }
}

/** `random`: 0 ≤ x < 1; it spreads a fleet. */
export function afterRegistration(
  known: Known,
  standing: Standing,
  outcome: Outcome,
  now: number,
  random: number,
): Standing {
  const about = (milliseconds: number): number => milliseconds * (0.75 + random / 2)
  const inDoubt = standing.refusals >= REFUSALS || standing.unreachableSince !== undefined
  const doubt = DOUBT_WAIT.least + random * (DOUBT_WAIT.most - DOUBT_WAIT.least)
  if (outcome.is === 'assigned') return { ...FRESH, notBefore: now + (inDoubt ? doubt : about(HOUR)) }
  // Nothing was billed, there is no hub to try meanwhile, and the caller pauses between its attempts.
  if (known === 'nothing' && outcome.is === 'transient' && outcome.unsent) return { ...standing, notBefore: now }
  const failures = standing.failures + 1
  const pause = inDoubt && outcome.is === 'operator' ? doubt : about(pauseAfter(outcome, failures))
  return { ...standing, failures, notBefore: now + pause }
}

/** The delay that the service asks for is a minimum, so the spread must not go below it. */
function pauseAfter(outcome: Exclude<Outcome, { is: 'assigned' }>, failures: number): number {
  if (outcome.is === 'operator') return OPERATOR_WAITS[Math.min(failures, OPERATOR_WAITS.length) - 1] ?? HOUR
  const own = Math.min(10 * SECOND * 2 ** Math.min(failures - 1, 20), HOUR)
  return Math.max(own, (outcome.retryAfter ?? 0) / 0.75)
}
