import type { Attempt } from '../domain/attempt.ts'
import type { Deployment, Request } from '../domain/deployment.ts'
import { isUntried } from '../domain/step-record.ts'

/** Whose attempt has no result yet: the `twin`'s, or that of a request made `once`, which is `installed` once its slot is filled. */
export type Running = 'nothing' | 'twin' | 'once' | 'installed'

/**
 * `begins`: it replaces whatever is running. `ends`: the running attempt gets its result first. `waits`: the running attempt
 * continues. `refused`: the caller is told that something is in the way.
 */
export type Claim = 'begins' | 'ends' | 'waits' | 'refused'

type Row = Readonly<Record<Running, Claim>> & { readonly why: string }

const ASKED_ONCE: Row = {
  ...{ nothing: 'begins', twin: 'refused', once: 'refused', installed: 'refused' },
  why: 'whoever asks once waits for an answer, and can ask again',
}

/** The precedence of all origins, apart from commands at the device (`commands.ts`): what a new deployment or request does to the running attempt. */
export const PRECEDENCE: Readonly<Record<Deployment['kind'] | Exclude<Request['kind'], 'command'>, Row>> = {
  deploy: {
    ...{ nothing: 'begins', twin: 'begins', once: 'ends', installed: 'waits' },
    why: 'what the fleet’s operator wants is what runs in the end; a slot that is filled already is tried first',
  },
  cancel: {
    ...{ nothing: 'begins', twin: 'ends', once: 'waits', installed: 'waits' },
    why: 'the twin takes back what the twin asked for, and nothing else',
  },
  refuse: {
    ...{ nothing: 'begins', twin: 'begins', once: 'waits', installed: 'waits' },
    why: 'the twin no longer shows what ran for it; what others asked for is not worse for it',
  },
  once: ASKED_ONCE,
  reboot: ASKED_ONCE,
}

export function runningOf(attempt: Attempt | undefined): Running {
  if (!attempt || attempt.result) return 'nothing'
  if (!attempt.own) return 'twin'
  // A list goes on after its image was tried.
  const isFilled = attempt.own.list ? attempt.steps.some(isUntried) : attempt.installedTo !== undefined
  return isFilled ? 'installed' : 'once'
}
