import type { Attempt, Cause, Phase } from '../domain/attempt.ts'
import type { Deployment, FirmwareUpdate } from '../domain/deployment.ts'
import { closedOf } from '../gates/gates.ts'
import type { Action, Observed } from './action.ts'
import { isAnswered } from './answered.ts'
import { carriedOut, whyNot } from './commands.ts'
import { fillSlot, tooOld, trySlot } from './image.ts'
import { endOfList, isBegun, isComplete, nextFromFolder, nextInList, unfinishedStep } from './list.ts'
import { pauseAfter } from './phases.ts'
import { PRECEDENCE, runningOf } from './precedence.ts'
import { restartAtEnd } from './restarts.ts'
import { applied, cause, causeOf, criteriaNotMet, failedWith, replacedBy } from './results.ts'
import { criteriaIn, isTrialOf } from './rollback.ts'
import { settle } from './settle.ts'

/** Decides the next action. Pure: no clock, no I/O, no memory of earlier calls. */
export function nextAction(seen: Observed): Action {
  const { boot, attempt, version, deployment, request, health, gates } = seen
  const why = request && (request.kind === 'command' ? whyNot(request.command, seen) : inTheWay(seen))
  if (request && why) return { do: 'answer', request, outcome: { is: 'refused', why } }
  if (request?.kind === 'command') return carriedOut(request, seen)
  // A trial boot is settled before anything new is considered.
  if (boot.trial === 'pending' && boot.booted === boot.primary) {
    if (seen.milestones.length > 0 && health.state !== 'bad') return { do: 'record', milestones: seen.milestones }
    // A power cut may have come after the cause was written and before the fall-back. Not every trial belongs to the
    // attempt: the boot script also puts a slot on trial when it has lost the boot state.
    const isOrdered = attempt !== undefined && isTrialOf(attempt, boot)
    if (isOrdered && attempt.cause) return { do: 'fallBack', cause: attempt.cause }
    const criteria = criteriaIn(attempt, boot)
    if (criteria !== undefined && criteria !== version)
      return { do: 'fallBack', cause: criteriaNotMet(criteria, version) }
    // A power cut may have come between the word of whoever vouched for this system and the commit.
    if (health.state === 'good' || (isOrdered && attempt.vouched)) return { do: 'commit' }
    if (health.state === 'bad') return { do: 'fallBack', cause: cause('HEALTH', health.why) }
    return { do: 'wait', for: 'health' }
  }
  if (attempt) {
    const action = settle(seen, attempt)
    if (action) return action
  }
  const running = runningOf(attempt)
  const unfinished = attempt && running !== 'nothing' ? unfinishedStep(attempt, seen) : undefined
  if (unfinished) return unfinished
  const claim = deployment && !isAnswered(deployment, attempt) ? PRECEDENCE[deployment.kind][running] : 'waits'
  const isList = running === 'twin' || (running !== 'nothing' && attempt?.own?.list === true)
  const isOver = attempt !== undefined && isList && isComplete(attempt)
  if (deployment && (claim === 'begins' || claim === 'ends') && isOver) {
    if (!restartAtEnd(attempt.steps, seen.here)) return endOfList(attempt.steps, seen)
    const came =
      deployment.kind === 'cancel' ? 'the deployment was cancelled' : `deployment ${deployment.workflow.id} came`
    return { do: 'finish', result: applied(`a restart that a step requested has not happened, because ${came}`) }
  }
  if (deployment && claim === 'begins') return { do: 'begin', deployment }
  if (deployment && claim === 'ends') {
    if (deployment.kind === 'cancel') return { do: 'abandon', cancelledBy: deployment.fingerprint }
    return failed(replacedBy(deployment), 'download')
  }
  if (attempt && isOver) {
    const pause = deployment?.kind === 'deploy' && pauseAfter(deployment.allowed, attempt, seen.connected)
    return pause || endOfList(attempt.steps, seen)
  }
  if (attempt && running !== 'nothing') {
    if (attempt.own?.list) return nextFromFolder(attempt, seen)
    if (attempt.own) return goOn(attempt.own, attempt, seen)
    if (deployment?.kind === 'deploy') return nextInList(attempt, deployment, seen)
    // The deployment was begun and has been refused since: its key was withdrawn, or the configuration changed.
    if (deployment?.kind === 'refuse') return failed(causeOf(deployment.error), 'download')
  }
  if (request?.kind === 'once') return { do: 'begin', deployment: request }
  if (request) {
    const closed = closedOf(gates, ['reboot'])
    if (closed) return { do: 'answer', request, outcome: { is: 'refused', why: closed.why } }
    return { do: 'reboot', why: 'asked', request }
  }
  return { do: 'wait', for: deployment ? 'news' : 'deployment' }
}

/** Why a request cannot be accepted now, in words for the caller; undefined when it can. Call it after the twin was read. */
export function inTheWay({
  boot,
  attempt,
  deployment,
}: Pick<Observed, 'boot' | 'attempt' | 'deployment'>): string | undefined {
  const running = runningOf(attempt)
  const isNew = deployment?.kind === 'deploy' && !isAnswered(deployment, attempt)
  if (PRECEDENCE.once[running] === 'refused') {
    if (running !== 'twin') return 'another firmware update is running'
    // If the twin has no deployment, none is running, except for a step that comes to its end.
    const isRunning = deployment ? !isNew : attempt?.steps.some(step => isBegun(step) && !step.unapplied)
    if (attempt && isRunning) return `deployment ${attempt.workflow.id} is running`
  }
  if (isNew) return `deployment ${deployment.workflow.id} is about to start`
  return boot.trial === 'pending' ? 'a new system is on trial' : undefined
}

/** Whether the twin's `deployment` ends `attempt`, an update requested once. */
export const replaces = (deployment: Deployment, attempt: Attempt): boolean =>
  PRECEDENCE[deployment.kind][runningOf(attempt)] === 'ends' && !isAnswered(deployment, attempt)

/** An update that was requested once. */
function goOn(update: FirmwareUpdate, attempt: Attempt, seen: Observed): Action {
  if (attempt.installedTo) return trySlot(attempt, seen)
  if (update.version === seen.version) return { do: 'finish', result: applied('already installed') }
  const low = tooOld(update, seen)
  if (low) return failed(low, 'download')
  return fillSlot(update, attempt, seen)
}

const failed = (why: Cause, phase: Phase): Action => ({ do: 'finish', result: failedWith(why, phase) })
