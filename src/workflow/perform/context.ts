import type { FetchOptions } from '../../delivery/fetch.ts'
import type { Attempt, InstallResult } from '../../domain/attempt.ts'
import type { Reported } from '../../ports/hub.ts'
import type { Ports } from '../../ports/ports.ts'
import type { OnceSources } from '../../sources/once-source.ts'
import type { Reporters } from '../../sources/reporter.ts'
import type { Observed } from '../action.ts'
import type { TrialOptions } from '../trial-health.ts'

export interface PerformOptions {
  readonly fetch: FetchOptions
  readonly trial: TrialOptions
  /** Milliseconds that the machine may take to go down before the reboot is ordered again. */
  readonly rebootPatience: number
  readonly reporters: Reporters
}

/** What an executor needs of the loop. */
export interface Context {
  readonly ports: Pick<
    Ports,
    | 'boot'
    | 'journal'
    | 'host'
    | 'conditions'
    | 'flight'
    | 'content'
    | 'installer'
    | 'leftovers'
    | 'steps'
    | 'workFolder'
    | 'clock'
    | 'log'
    | 'events'
  >
  readonly options: PerformOptions
  /** The observation that the action was decided on. */
  readonly seen: Observed
  /** Names this process of the agent. */
  readonly process: string
  /** Aborts when news stop the action, and when the process ends. */
  readonly signal: AbortSignal
  /** For interim reports, which may get lost: the final report is complete. */
  tell(news: Reported): Promise<void>
  /** For reports that must arrive. Resolves when the hub has it, or rejects it for good. Errors: HubError. */
  deliver(news: Reported): Promise<void>
  /** Whether this differs from the last call's text. */
  isNews(what: string): boolean
  /** The final report. Resolves when the hub has it. Errors: HubError. */
  report(attempt: Attempt, result: InstallResult): Promise<void>
  /** Requests made once. */
  readonly requests: Pick<OnceSources, 'take' | 'settle' | 'recall'>
  /** Waits for news, for at most this many milliseconds. */
  wait(milliseconds: number | undefined): Promise<void>
  /** `milestones`: how many are in the journal now; undefined when it could not be written. */
  recorded(milestones: number | undefined): void
}

/** Why an installation was stopped: a gate closed. It continues when the gate opens. */
export class Paused extends Error {}

/** Why an action was aborted: news arrived, so the loop must decide again. */
export class Interrupted extends Error {}

export function attemptOf({ seen }: Context): Attempt {
  if (!seen.attempt) throw new Error('nextAction gave an action that needs an attempt, and there is none')
  return seen.attempt
}
