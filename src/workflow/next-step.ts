import type {
  Answered,
  Attempt,
  Cause,
  FirmwareOrder,
  FirmwareUpdate,
  InstallResult,
  MethodRequest,
  Order,
  SystemUpdate,
  Verified,
} from '../domain/deployment.ts'
import type { AgentError } from '../domain/errors.ts'
import { type ErrorCode, EXTENDED_RESULT_CODE, ercText, RESULT_CODE } from '../domain/result-codes.ts'
import { type BootState, other, type SlotName } from '../domain/slot.ts'
import { compareVersions } from './downgrade.ts'
import type { Installation } from './install.ts'

/** Everything the decision looks at. */
export interface Observed {
  readonly boot: BootState
  readonly attempt: Attempt | undefined
  /** First line of the booted system's version file. */
  readonly version: string
  /** The newest order of the twin; undefined before the twin was read, and when it has none. */
  readonly goal: Order | undefined
  /** A direct method that waits for an answer; see `inTheWay`. */
  readonly request: MethodRequest | undefined
  /** The lowest version that this device may take, see `downgrade.ts`. */
  readonly lowest?: string | undefined
  /** Of the trial boot; not looked at outside one. */
  readonly health: { readonly state: 'unknown' | 'good' } | { readonly state: 'bad'; readonly why: string }
}

export type WorkflowStep =
  | { readonly do: 'wait'; readonly for: 'health' | 'goal' | 'news' }
  /** Start a new attempt: end a trial that never ran, write the journal. */
  | { readonly do: 'begin'; readonly goal: Order | FirmwareOrder }
  /** Streams: fetch, gate, SWUpdate. */
  | ({ readonly do: 'install' } & Installation)
  | { readonly do: 'activate'; readonly slot: SlotName }
  | { readonly do: 'reboot' }
  /** A reboot for its own sake, asked for by a method. */
  | { readonly do: 'restart' }
  | { readonly do: 'commit' }
  | { readonly do: 'fallBack'; readonly cause: Cause }
  /** The order was cancelled: drop a trial that has not started, write the result. */
  | { readonly do: 'abandon'; readonly cancelledBy: string }
  /** Write the result. */
  | { readonly do: 'finish'; readonly result: InstallResult }
  | { readonly do: 'report'; readonly result: InstallResult }

/** Installs begun for one attempt before it is given up: only a crash or a power cut makes more than one. */
export const MAX_INSTALLS = 20
/** Reboots ordered for one attempt: one into the trial, one out of it, and some that did not come about. */
export const MAX_REBOOTS = 6

/** What may be stopped halfway when the goal changes. All else is short and would only have to be done again. */
export const INTERRUPTIBLE: Record<WorkflowStep['do'], boolean> = {
  wait: true,
  install: true,
  begin: false,
  activate: false,
  reboot: false,
  restart: false,
  commit: false,
  fallBack: false,
  abandon: false,
  finish: false,
  report: false,
}

/** Decides the one thing to do now. Pure: no clock, no I/O, no memory of earlier calls. */
export function nextStep({ boot, attempt, version, goal, request, health, lowest }: Observed): WorkflowStep {
  // A trial boot is settled before anything new is considered.
  if (boot.trial === 'pending' && boot.booted === boot.primary) {
    // A power cut may have come between the written cause and the fall-back. Not every trial is the attempt's: the boot
    // script puts a slot on trial when it has lost the boot state.
    if (attempt?.cause && !attempt.result && attempt.installedTo === boot.booted)
      return { do: 'fallBack', cause: attempt.cause }
    const criteria = attempt?.installedTo === boot.booted ? attempt.installedCriteria : undefined
    if (criteria !== undefined && criteria !== version)
      return { do: 'fallBack', cause: criteriaNotMet(criteria, version) }
    if (health.state === 'good') return { do: 'commit' }
    if (health.state === 'bad') return { do: 'fallBack', cause: cause('HEALTH', health.why) }
    return { do: 'wait', for: 'health' }
  }
  if (attempt) {
    const step = settle(boot, attempt, version)
    if (step) return step
  }
  if (attempt?.firmware && !attempt.result) {
    if (replaces(goal, attempt)) return { do: 'finish', result: failedWith(replacedBy(goal)) }
    const { update } = attempt.firmware
    return goOn(update, update.version, attempt, boot, version, lowest)
  }
  if (goal && !isAnswered(goal, attempt)) {
    // A cancel ends what runs; with nothing running it is an order like any other, answered with `idle`.
    if (goal.kind === 'cancel' && attempt && !attempt.result) return { do: 'abandon', cancelledBy: goal.fingerprint }
    return { do: 'begin', goal }
  }
  if (attempt && !attempt.result) {
    if (goal?.kind === 'deploy') {
      return goOn(goal.update, goal.update.installedCriteria, attempt, boot, version, lowest)
    }
    // Begun, and refused since: its key was withdrawn, or the configuration changed.
    if (goal?.kind === 'refuse') return { do: 'finish', result: failedWith(refusal(goal.error)) }
  }
  if (request) return request.kind === 'restart' ? { do: 'restart' } : { do: 'begin', goal: request }
  return { do: 'wait', for: goal ? 'news' : 'goal' }
}

/** Why a direct method cannot be obeyed now, in words for its caller; undefined when it can. The twin was read before. */
export function inTheWay({ boot, attempt, goal }: Omit<Observed, 'request'>): string | undefined {
  if (attempt?.firmware && !attempt.result) return 'another firmware update is running'
  if (goal?.kind === 'deploy') {
    if (!isAnswered(goal, attempt)) return `deployment ${goal.workflow.id} is about to start`
    if (attempt && !attempt.result) return `deployment ${goal.workflow.id} is running`
  }
  return boot.trial === 'pending' ? 'a new system is on trial' : undefined
}

/** Whether `goal` ends the firmware update `attempt`: a newer deployment does, as it would end a deployment, until the bundle is installed. */
export function replaces(goal: Order | undefined, attempt: Attempt): goal is Order {
  return goal?.kind === 'deploy' && !attempt.installedTo && !isAnswered(goal, attempt)
}

/** What is left to do for an attempt whether or not it is still wanted. */
function settle(boot: BootState, attempt: Attempt, version: string): WorkflowStep | undefined {
  if (attempt.result) return attempt.reported ? undefined : { do: 'report', result: attempt.result }
  const { installedTo } = attempt
  if (!installedTo) return undefined
  if (boot.trial === 'failed') {
    if (boot.booted === boot.primary) return { do: 'finish', result: failedWith(fellBack(attempt)) }
    // The fall-back was ordered, but the machine still runs the slot that failed.
    if (attempt.reboots < MAX_REBOOTS) return { do: 'reboot' }
    return {
      do: 'finish',
      result: failedWith(cause('TOO_MANY_REBOOTS', `still on slot ${boot.booted} after ${attempt.reboots} reboots`)),
    }
  }
  if (installedTo !== boot.booted || boot.trial !== 'none') return undefined
  const criteria = attempt.installedCriteria
  // Without criteria, to have booted the other slot and to have been committed there is what success means.
  const met = criteria === version || (criteria === undefined && attempt.firmware !== undefined)
  return { do: 'finish', result: met ? applied() : failedWith(criteriaNotMet(criteria ?? '', version)) }
}

/** Install, activate, reboot: whoever ordered it. */
function goOn(
  update: Verified<SystemUpdate> | FirmwareUpdate,
  criteria: string | undefined,
  attempt: Attempt,
  boot: BootState,
  version: string,
  lowest: string | undefined,
): WorkflowStep {
  if (!attempt.installedTo) {
    if (criteria === version) return { do: 'finish', result: applied('already installed') }
    if (lowest !== undefined && 'updateId' in update && compareVersions(update.updateId.version, lowest) < 0) {
      const why = `version ${update.updateId.version} is older than ${lowest}, the lowest that this device may take`
      return { do: 'finish', result: failedWith(cause('DOWNGRADE', why)) }
    }
    const into = other(boot.booted)
    if (attempt.installs < MAX_INSTALLS) return { do: 'install', update, into, ...(lowest ? { lowest } : {}) }
    const why = `the installation was begun ${attempt.installs} times and never came to its end`
    return { do: 'finish', result: failedWith(cause('TOO_MANY_INSTALLS', why)) }
  }
  if (boot.trial !== 'pending') return { do: 'activate', slot: attempt.installedTo }
  if (attempt.reboots < MAX_REBOOTS) return { do: 'reboot' }
  const why = `slot ${attempt.installedTo} was not started after ${attempt.reboots} reboot orders`
  return { do: 'finish', result: failedWith(cause('TOO_MANY_REBOOTS', why)) }
}

/** Whether the twin's order was seen to: by this attempt, or before a firmware update came. */
const isAnswered = (goal: Order, attempt: Attempt | undefined): boolean =>
  attempt !== undefined && (isFor(goal, attempt) || (attempt.answered !== undefined && isFor(goal, attempt.answered)))

/** Id, retry stamp and content: a change of any of them orders a new attempt (protocol, chapter 2.8). */
function isFor(goal: Order, attempt: Answered): boolean {
  if (goal.kind === 'cancel' && attempt.cancelledBy === goal.fingerprint) return true
  return (
    goal.workflow.action === attempt.workflow.action &&
    goal.workflow.id === attempt.workflow.id &&
    // A stamp that is taken away is no order to try again (chapter 14, point 11).
    (goal.workflow.retryTimestamp ?? attempt.workflow.retryTimestamp) === attempt.workflow.retryTimestamp &&
    goal.fingerprint === attempt.fingerprint
  )
}

const cause = (code: ErrorCode, details: string): Cause => ({ extendedResultCode: EXTENDED_RESULT_CODE[code], details })

export const refusal = ({ extendedResultCode, message }: AgentError): Cause => ({
  extendedResultCode,
  details: message,
})

const criteriaNotMet = (criteria: string, version: string): Cause =>
  cause('CRITERIA_NOT_MET', `the new system is version "${version}", but installedCriteria is "${criteria}"`)

const replacedBy = ({ workflow }: Order): Cause => cause('REPLACED', `replaced by deployment ${workflow.id}`)

/** The slot we came back from left its traces in the journal. */
function fellBack(attempt: Attempt): Cause {
  const last = attempt.milestones.at(-1)
  const reached = last ? `last milestone: ${last}` : 'it never started the agent'
  if (attempt.cause) return { ...attempt.cause, details: `fell back to the old system: ${attempt.cause.details}` }
  return cause('FELL_BACK', `the boot script fell back to the old system, all trial boots failed; ${reached}`)
}

export const applied = (details = ''): InstallResult => ({
  resultCode: RESULT_CODE.applied,
  extendedResultCodes: [0],
  resultDetails: details,
  ...(details ? { stepResultCode: RESULT_CODE.installSkipped } : {}),
})

export const failedWith = ({ extendedResultCode, details }: Cause): InstallResult => ({
  resultCode: RESULT_CODE.failure,
  extendedResultCodes: [extendedResultCode],
  resultDetails: `${details} (${ercText(extendedResultCode)})`,
})
