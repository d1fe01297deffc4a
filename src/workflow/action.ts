import type { Installation } from '../delivery/install.ts'
import type { Attempt, Cause, InstallResult, ReachedPhase, Rollback } from '../domain/attempt.ts'
import type { CommandRequest } from '../domain/command.ts'
import type {
  Deploy,
  Deployment,
  Named,
  OnceDeployment,
  PlannedStep,
  Request,
  SignedText,
} from '../domain/deployment.ts'
import type { AgentError } from '../domain/errors.ts'
import type { Flight } from '../domain/flight.ts'
import type { BootState, SlotName } from '../domain/slot.ts'
import type { StepResult } from '../domain/step-record.ts'
import type { ClosedGate, Gates } from '../gates/gates.ts'
import type { Outcome } from '../sources/once-source.ts'
import type { Here } from './restarts.ts'

/** The input of the decision. */
export interface Observed {
  readonly boot: BootState
  readonly attempt: Attempt | undefined
  /** Why the journal cannot be read: there was an attempt, but which one is unknown. Undefined when the journal is readable. */
  readonly lost: string | undefined
  /** First line of the booted system's version file. */
  readonly version: string
  /** The twin's newest deployment; undefined before the twin was read, or when it has none. */
  readonly deployment: Deployment | undefined
  /** The deployment that the attempt is for: the twin's, or one that it has shown to this process before. */
  readonly current?: (Named & Deploy) | undefined
  /** Why the list of an attempt cannot be read from its folder any more. */
  readonly gone?: AgentError | undefined
  /** This boot and process; undefined as long as no step waits for another one. */
  readonly here?: Here | undefined
  /** A request made once that waits for an answer; undefined until the twin's deployment is known. */
  readonly request: Request | undefined
  /** What the trial boots of the attempt left behind; undefined before they have ended, or when nothing is known. */
  readonly flight?: Flight | undefined
  /** The lowest version that this device may install, see `downgrade.ts`. */
  readonly lowest?: string | undefined
  /** The owner's fixed floor alone. */
  readonly minimumVersion?: string | undefined
  /** Health of the trial boot; not checked outside one. */
  readonly health: { readonly state: 'unknown' | 'good' } | { readonly state: 'bad'; readonly why: string }
  /** Milestones that this trial boot has reached and that are not in the journal yet, oldest first. */
  readonly milestones: readonly string[]
  /** What an update may do on this device now. */
  readonly gates: Gates
  /** The user has consented to an update. */
  readonly consented: boolean
  /** Why the machine must not be restarted by hand now: a lock, a busy device, or the voltage. Observed only for a rollback. */
  readonly held?: string | undefined
  /** The hub connection is up, so reports can be sent. */
  readonly connected: boolean
  /** It was up at some time since this process began. */
  readonly wasConnected?: boolean
}

/** What an order to the step service needs. */
export interface Orderable {
  readonly step: PlannedStep
  readonly signed: SignedText
}

/** What is known from the journal. */
export type Known = Pick<Observed, 'attempt' | 'lost'>

/** One thing that the loop can do. `perform/` has an executor for each, `interrupts.ts` a row. */
export type Action =
  | { readonly do: 'wait'; readonly for: 'health' | 'deployment' | 'news' | 'hub' | 'order' }
  /** Wait for a gate to open. `until`: when that may happen, in milliseconds since 1970; undefined when unknown. */
  | ({ readonly do: 'waitForGate' } & ClosedGate)
  /** Write to the journal how far the trial boot came. */
  | { readonly do: 'record'; readonly milestones: readonly string[] }
  /** Answer the caller of a request. */
  | { readonly do: 'answer'; readonly request: Request; readonly outcome: Outcome }
  /** Start a new attempt: end a trial that never ran, then write the journal. */
  | { readonly do: 'begin'; readonly deployment: Deployment | OnceDeployment; readonly request?: CommandRequest }
  /** Stream the bundle: fetch it, withhold its end, feed SWUpdate. */
  | ({ readonly do: 'install' } & Installation)
  /** Report that a phase is done, after which the cloud orders the next one. */
  | { readonly do: 'tellPhase'; readonly phase: ReachedPhase }
  /** Fetch the files of step `at`, and let the step service download what it needs. */
  | { readonly do: 'prepare'; readonly at: number; readonly step: PlannedStep; readonly signed: SignedText }
  /** Carry step `at` out, or find out how an order for it ended. Without `order`, the twin does not show its deployment any more. */
  | { readonly do: 'runStep'; readonly at: number; readonly order: Orderable | undefined }
  /** Read the list of the attempt from its folder again: this process has not seen it. */
  | { readonly do: 'recall' }
  /** Write that step `at`, an image, needs nothing more. */
  | { readonly do: 'settleStep'; readonly at: number; readonly state: 'done' | 'skipped'; readonly result: StepResult }
  /** End this process, so that it is started again, as step `at` requested. */
  | { readonly do: 'restartAgent'; readonly at: number }
  | { readonly do: 'activate'; readonly slot: SlotName }
  /** Reboot the machine: into the trial, out of a failed trial, or because a step or an origin requested a reboot. */
  | { readonly do: 'reboot'; readonly why: 'trial' | 'fallBack' }
  | { readonly do: 'reboot'; readonly why: 'step'; readonly at: number }
  | { readonly do: 'reboot'; readonly why: 'asked'; readonly request: Exclude<Request, CommandRequest> }
  /** `request`: somebody at the device vouches for the system, so its health is not asked. */
  | { readonly do: 'commit'; readonly request?: CommandRequest }
  | { readonly do: 'fallBack'; readonly cause: Cause }
  /** The deployment was cancelled: drop a trial that has not started, then write the result. */
  | { readonly do: 'abandon'; readonly cancelledBy: string }
  | { readonly do: 'abandon'; readonly request: CommandRequest }
  /** Write that the device goes back to the other slot. */
  | { readonly do: 'rollBack'; readonly request: CommandRequest; readonly rollback: Rollback }
  /** Write that the rollback is over. `failure`: why the same system runs as before. */
  | { readonly do: 'endRollback'; readonly failure?: string }
  /** Write the result. `at`: the step that it is about, if that is not the next one. */
  | { readonly do: 'finish'; readonly result: InstallResult; readonly at?: number }
  /** Report how the attempt ended, or first the one before it, whose report is owed. */
  | { readonly do: 'report'; readonly result: InstallResult; readonly owed?: true }
