import type { AptWork, Component, OwnWork, ScriptWork, UpdateId, WorkPlan } from '../domain/deployment.ts'
import type { StepResult } from '../domain/step-record.ts'
import type { Verb } from '../ports/steps.ts'
import type { StepSettings } from './settings.ts'

/** Carries out one kind of work, with the rights of the step service: root on a device. */
export interface Worker<W extends WorkPlan['work'] = WorkPlan['work']> {
  /** Every verb completes what an interrupted one began, so an order whose end nobody saw is carried out again. */
  readonly isRepeatable?: true
  /**
   * Runs one verb to its end. A step that fails resolves with `resultCode` 0 and its code. Abort: the step was cancelled; resolve
   * soon, with `RESULT_CODE.cancelled` unless it is done. Errors: AgentError, before anything was changed: the order is refused.
   */
  run(verb: Verb, job: Job<W>, signal: AbortSignal): Promise<StepResult>
}

/** A worker for each kind of work that this service does. */
export interface Workers {
  readonly apt?: Worker<AptWork>
  readonly script?: Worker<ScriptWork>
  readonly own?: Worker<OwnWork>
}

/** One step, verified by the step service itself. */
export interface Job<W extends WorkPlan['work'] = WorkPlan['work']> {
  readonly work: W
  readonly plan: WorkPlan
  /** As in the manifest: `microsoft/script:1`. */
  readonly handler: string
  readonly updateId: UpdateId
  /** Undefined: the host. */
  readonly component?: Component
  /**
   * The step's folder. It has the verified copies of the files by name: those of `plan.probe` for `isInstalled` and `cancel`, else
   * all of them. It stays from verb to verb, and belongs to `runAs`.
   */
  readonly folder: string
  /** A root-only folder for what this kind of work must remember from deployment to deployment. */
  readonly state: string
  /** Who runs the step's own programs (`settings.scripts`). Undefined: the user of this service, root on a device. */
  readonly runAs?: string
  readonly settings: StepSettings
  progress(percent: number): void
  /** Runs one program; never a shell. Nothing that it started is left running. Errors: AgentError `STEP_REFUSED` if there is no such user. */
  launch(command: readonly [string, ...string[]], options: LaunchOptions): Promise<Launched>
}

/** Where systemd runs, these are properties of a transient unit. Elsewhere the program has a process group and the time limit. */
export interface LaunchOptions {
  /** Abort ends the program and everything it started. */
  readonly signal: AbortSignal
  /** Milliseconds until everything is ended; at most, and by default, `settings.limits.seconds`. */
  readonly timeout?: number
  /** Undefined: the user of this service, with its rights. */
  readonly user?: string
  /** `system`: it may write everywhere, as apt must. `folder`: only the step's folder and `/tmp`, which is its own. */
  readonly writes: 'system' | 'folder'
  /** Default: the step's folder. */
  readonly cwd?: string
  /** Added to PATH, HOME and LC_ALL, which are all that it gets. */
  readonly env?: Readonly<Record<string, string>>
  /** Its stdin, which is otherwise empty. */
  readonly input?: string
  /** Each line as it comes; of a very long one the end. There are no further descriptors, such as apt's status. */
  readonly onLine?: (line: string, from: 'stdout' | 'stderr') => void
}

export interface Launched {
  /** Undefined: ended by a signal or not started. */
  readonly exitCode?: number
  readonly signal?: string
  readonly timedOut?: boolean
  /** How it ended, in words for `resultDetails`: `failed with exit code 3`. Undefined after exit code 0. */
  readonly complaint?: string
  /** The last 8 KB of what it printed on stdout and stderr. */
  readonly tail: string
}
