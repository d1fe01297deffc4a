import { phaseOf } from '../delivery/install.ts'
import type { Attempt } from '../domain/attempt.ts'
import { AgentError, Fault } from '../domain/errors.ts'
import { EXTENDED_RESULT_CODE, RESULT_CODE } from '../domain/result-codes.ts'
import type { BootState } from '../domain/slot.ts'
import { changed } from '../domain/step-record.ts'
import type { Ports } from '../ports/ports.ts'
import type { Action, Known } from './action.ts'
import { begun } from './begun.ts'
import { knownFrom } from './observe.ts'
import { resultEvent } from './picture.ts'
import { ended, failureOf, stepFailed } from './results.ts'
import { rollbackEnded } from './rollback.ts'

/**
 * The actions that may be given up. `tries`: consecutive failures before that. After a fault of the agent, or when the
 * action keeps ending the process, it is given up at once. All other actions must be done, whatever happens.
 */
export const WORK: { readonly [Do in Action['do']]?: { readonly what: string; readonly tries: number } } = {
  begin: { what: 'worked on this deployment', tries: Number.POSITIVE_INFINITY },
  // A broken connection gets here only after the download has stopped retrying.
  install: { what: 'worked on this deployment', tries: 1 },
  tellPhase: { what: 'reported on this deployment', tries: Number.POSITIVE_INFINITY },
  activate: { what: 'worked on this deployment', tries: 3 },
  // As above; the step service is asked several times too.
  prepare: { what: 'worked on this deployment', tries: 1 },
  // An order that was given is found again by the next try.
  runStep: { what: 'worked on this deployment', tries: 3 },
  report: { what: 'reported on this deployment', tries: Number.POSITIVE_INFINITY },
}

/** Actions that come between the tries of another action and say nothing about its success. */
export const BESIDE: ReadonlySet<Action['do']> = new Set(['record', 'answer'])

/** Whether `action` is given up after `failures` consecutive failures, the last one with `error`. Pure. */
export function isForGood(error: AgentError, action: Action, failures: number): boolean {
  const work = WORK[action.do]
  return work !== undefined && (error instanceof Fault || error.code === 'CRASH_LOOP' || failures >= work.tries)
}

/**
 * How the attempt ends when `action` has failed for good; undefined when it ends no attempt. `known` is the current content
 * of the journal. Pure: `conclude` writes the result, and `nextAction` does the rest.
 */
export function givenUp(action: Action, error: AgentError, known: Known, now: Date): Attempt | undefined {
  const { attempt } = known
  switch (action.do) {
    case 'begin':
      // A request made once gets its answer, and there is nothing else to report.
      if (action.deployment.kind === 'once') return undefined
      return begun({ ...action.deployment, kind: 'refuse', error }, known, now)
    case 'install':
      return attempt && ended(attempt, failureOf(error, phaseOf(error)), now)
    case 'prepare':
    case 'runStep':
      return attempt && stepGivenUp(attempt, action.at, error, now)
    case 'tellPhase':
    case 'activate':
      if (attempt?.rollback) return rollbackEnded(attempt, error.message)
      return attempt && ended(attempt, failureOf(error, 'apply'), now)
    case 'report':
      // Its result is in the log. A report that cannot be made must not keep the next deployment waiting.
      return attempt && (action.owed ? withoutOwed(attempt) : { ...attempt, reported: true })
    default:
      return undefined
  }
}

function withoutOwed({ owed: _, ...attempt }: Attempt): Attempt {
  return attempt
}

/** Nobody has said how the order that was given to the step service ends. */
function stepGivenUp(attempt: Attempt, at: number, error: AgentError, now: Date): Attempt {
  const { extendedResultCode, message } = error
  const step = attempt.steps[at]
  const isUnknown = step?.work === true && step.state === 'running' && !step.wants
  const result = isUnknown
    ? { extendedResultCode: EXTENDED_RESULT_CODE.STEP_UNKNOWN, resultDetails: `outcome unknown: ${message}` }
    : { extendedResultCode, resultDetails: message }
  const own = { resultCode: RESULT_CODE.failure, ...result }
  const steps = changed(attempt.steps, at, record => ({ ...record, state: 'failed', result: own }))
  const { phase: _, ...overall } = stepFailed(attempt.steps, at, own)
  return ended({ ...attempt, steps }, { ...overall, phase: isUnknown ? 'apply' : phaseOf(error) }, now)
}

/** Whether files of its steps may be in the work folder. */
export const hasWork = ({ steps }: Attempt): boolean => steps.some(({ work }) => work)

/** The one ending of every attempt, good or bad. */
export async function conclude(
  { boot, journal, log, events }: Pick<Ports, 'boot' | 'journal' | 'log' | 'events'>,
  attempt: Attempt,
  { trial, booted, primary }: BootState,
  signal: AbortSignal,
): Promise<void> {
  // Drop the trial first: one that is no longer wanted must not start after the next power cut.
  if (trial === 'pending' && booted !== primary) await boot.commit(signal)
  if (attempt.reported) log.error('report.given-up', { workflowId: attempt.workflow.id })
  else if (attempt.result) events.tell(resultEvent(attempt, attempt.result))
  await journal.write(attempt)
}

/** Ends the attempt of an action that has failed for good; false when that is impossible, now or at all. */
export async function giveUp(
  ports: Pick<Ports, 'boot' | 'journal' | 'log' | 'clock' | 'events'>,
  action: Action,
  error: AgentError,
  boot: BootState,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    // Read the journal again: the action may have written to it.
    const end = givenUp(action, error, knownFrom(await ports.journal.read()), ports.clock.now())
    // The boot state too: an activation that failed may have reached the disk.
    if (end) await conclude(ports, end, await bootNow(ports, boot, signal), signal)
    return end !== undefined
  } catch (second) {
    if (!(second instanceof AgentError)) throw second
    ports.events.tell({ event: 'action.failed', action: 'finish', why: second.message })
    return false
  }
}

/** As it is now; as it was seen, when it cannot be read. */
async function bootNow({ boot }: Pick<Ports, 'boot'>, seen: BootState, signal: AbortSignal): Promise<BootState> {
  try {
    return await boot.read(signal)
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    return seen
  }
}
