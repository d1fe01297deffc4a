import type { InstallResult } from './attempt.ts'
import type { PlannedStep } from './deployment.ts'
import { RESULT_CODE } from './result-codes.ts'

/**
 * `pending`: not begun. `ready`: its files are there. `running`: begun, and how far it came is unknown. `done`: successful.
 * `skipped`: there was nothing to do. `failed`: not successful, and its result says why.
 */
export type StepState = 'pending' | 'ready' | 'running' | 'done' | 'skipped' | 'failed'

/** The reported result of one step, with exactly one extended code (PROTOCOL.md, "Final report"). */
export interface StepResult {
  readonly resultCode: number
  readonly extendedResultCode: number
  readonly resultDetails: string
}

/** The journal's record of one manifest step. */
export interface StepRecord {
  /** Where the step is in the manifest's tree: `[1]` is the second one. */
  readonly path: readonly number[]
  /** As in the manifest: `microsoft/swupdate:2`. */
  readonly handler: string
  /** Id of the component that the step is for. */
  readonly component?: string
  /** The step service carries the step out; without it, the step is an image. */
  readonly work?: true
  readonly state: StepState
  /** How often the step was begun. */
  readonly starts: number
  /** How often the step's files had to be fetched again. */
  readonly fetches?: number
  /** How often its preparation was begun, and how often a gate paused it, which counts only here. */
  readonly prepares?: number
  readonly pauses?: number
  /** The step was found installed before its files were fetched, so only its `probe` files are there. */
  readonly bare?: true
  /** The last order that was given for the step. Written before it is given. */
  readonly order?: { readonly verb: 'download' | 'install' | 'apply'; readonly id: string }
  /** The boot, and the process of the agent in it, in which the step requested a restart. */
  readonly bootId?: string
  readonly process?: string
  /** Restarts that were ordered for the step; ends a reboot loop. */
  readonly restarts?: number
  /** The journal was damaged: the step may have run, whatever `state` says. Run it again only if that is harmless. */
  readonly mayHaveRun?: true
  /** What the step requested, and gets at once. `trial`: a trial of the slot that it filled. */
  readonly wants?: 'trial' | 'rebootNow' | 'agentRestart'
  /** It is installed, and the cloud has not ordered to apply it yet. */
  readonly unapplied?: true
  /** What the step requested for the end of the list. */
  readonly later?: 'reboot' | 'agentRestart'
  readonly result?: StepResult
}

/** The handler of a bundle that was requested without a manifest. */
export const BUNDLE_HANDLER = 'microsoft/swupdate:2'

/** One record for each step, in the manifest's order. */
export const pendingSteps = (
  steps: readonly (Pick<StepRecord, 'path' | 'handler'> & Partial<Pick<PlannedStep, 'plan' | 'component'>>)[],
): readonly StepRecord[] =>
  steps.map(({ path, handler, plan, component }) => ({
    ...{ path, handler, state: 'pending', starts: 0 },
    ...(component ? { component: component.id } : {}),
    ...(plan?.kind === 'work' ? { work: true } : {}),
    ...(plan?.kind === 'nothing' ? nothingToDo(plan.why) : {}),
  }))

const nothingToDo = (resultDetails: string) =>
  ({ state: 'skipped', result: { resultCode: RESULT_CODE.noComponent, extendedResultCode: 0, resultDetails } }) as const

/** After the loss of the last write, which may have recorded that the next step was begun. */
export const nextMayHaveRun = (steps: readonly StepRecord[]): readonly StepRecord[] =>
  changed(steps, steps.findIndex(isOpen), step => ({ ...step, mayHaveRun: true }))

/** After the loss of the whole journal. */
export const allMayHaveRun = (steps: readonly StepRecord[]): readonly StepRecord[] =>
  steps.map(step => ({ ...step, mayHaveRun: true }))

/** Marks the next step as `running`. Write this before the step begins. */
export const stepBegun = (steps: readonly StepRecord[]): readonly StepRecord[] =>
  changed(steps, steps.findIndex(isOpen), step => ({ ...known(step), state: 'running', starts: step.starts + 1 }))

/** Marks the running step as `done`. */
export const stepDone = (steps: readonly StepRecord[], wants?: StepRecord['wants']): readonly StepRecord[] =>
  changed(steps, steps.findIndex(isOpen), step => ({ ...known(step), state: 'done', ...(wants ? { wants } : {}) }))

/** Whether the step still has something to do; a slot that was filled but not tried is another matter, see `isUntried`. */
export const isOpen = ({ state }: StepRecord): boolean =>
  state === 'pending' || state === 'ready' || state === 'running'

/** The image is in its slot, and its trial is not over. */
export const isUntried = ({ state, wants, result }: StepRecord): boolean =>
  state === 'done' && wants === 'trial' && result === undefined

/** The image is committed: the list has gone on. */
export const isSettled = ({ state, wants, result }: StepRecord): boolean =>
  state === 'done' && wants === 'trial' && result !== undefined

/** The records with that of step `at` changed. */
export const changed = (
  steps: readonly StepRecord[],
  at: number,
  change: (step: StepRecord) => StepRecord,
): readonly StepRecord[] => steps.map((step, index) => (index === at ? change(step) : step))

/**
 * The records after the attempt has ended with `result`. After a success, each step is done or skipped. Any other result is
 * that of step `at`; by default, of the first step that is not done, or whose trial is not over. Other steps do not change. May
 * be repeated.
 */
export function stepsEnded(
  steps: readonly StepRecord[],
  result: InstallResult,
  at: number = steps.findIndex(step => isOpen(step) || isUntried(step)),
): readonly StepRecord[] {
  const { resultCode, extendedResultCodes, resultDetails } = result
  const own: StepResult = { resultCode, extendedResultCode: extendedResultCodes[0] ?? 0, resultDetails }
  if (resultCode === RESULT_CODE.applied) {
    return steps.map(step => {
      if (step.result) return step
      if (step.state === 'done') return { ...step, result: own }
      return { ...step, state: 'skipped', result: { ...own, resultCode: RESULT_CODE.installSkipped } }
    })
  }
  if (steps.some(({ state }) => state === 'failed')) return steps
  const ended = changed(steps, at, ({ wants: _, ...step }) => ({ ...step, state: 'failed', result: own }))
  return ended.map(step => (step.state === 'done' && !step.result ? { ...step, result: DONE } : step))
}

const DONE: StepResult = { resultCode: RESULT_CODE.applied, extendedResultCode: 0, resultDetails: '' }

/** Removes the doubt: what is written now is known. */
const known = ({ mayHaveRun: _, ...step }: StepRecord): StepRecord => step
