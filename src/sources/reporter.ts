import type { Attempt, InstallResult, ReachedPhase } from '../domain/attempt.ts'
import type { Origin } from '../domain/deployment.ts'
import type { Reported } from '../ports/hub.ts'

/** The stages of an attempt. Each is reported once in an undisturbed run. */
export type Stage = 'waiting' | 'downloading' | 'downloaded' | 'applying' | 'rebooting'

/**
 * The reports for one origin's attempts, as patches of the reported properties. Pure: the loop sends them. Each patch is
 * complete, so a lost one does no harm once the next arrives.
 */
export interface Reporter {
  /** Minimum milliseconds for which each stage is shown, for callers that poll. */
  readonly hold: number
  /** Undefined: this origin gets no report of the stage. */
  stage(attempt: Attempt, stage: Stage): Reported | undefined
  /** Decides which progress is worth a report; undefined for an origin that gets none. `begun`: monotonic milliseconds. */
  progress?(attempt: Attempt, begun: number): (done: number, size: number, now: number) => Reported | undefined
  /** Why the attempt is waiting; undefined for an origin that gets no such report. */
  waiting?(attempt: Attempt, why: string): Reported
  /** A phase is done, and the cloud orders the next one; undefined for an origin that orders the whole update. */
  phase?(attempt: Attempt, phase: ReachedPhase): Reported
  /** How the attempt ended. */
  final(attempt: Attempt, result: InstallResult): Reported
  /** The final report without free text, for when the hub has rejected the full report. */
  reduced(attempt: Attempt, result: InstallResult): Reported
  /** A reboot that this origin requested comes next; undefined for an origin that gets no such report. */
  reboot?(now: Date): Reported
}

/** One for each origin. */
export type Reporters = Readonly<Record<Origin, Reporter>>

/** The reporter of an origin. After a fall-back, the journal may name an origin that this system does not know. */
export function reporterOf(reporters: Reporters, { origin }: Pick<Attempt, 'origin'>): Reporter {
  return (Object.hasOwn(reporters, origin) ? reporters[origin] : undefined) ?? SILENT
}

const SILENT: Reporter = { hold: 0, stage: () => undefined, final: () => ({}), reduced: () => ({}) }
