import type { Attempt } from '../domain/attempt.ts'
import type { Deploy, ImagePlan, Named, PlannedStep } from '../domain/deployment.ts'
import { RESULT_CODE } from '../domain/result-codes.ts'
import { isOpen, isSettled, isUntried, pendingSteps, type StepRecord, stepDone } from '../domain/step-record.ts'
import { systemUpdateOf } from '../domain/system-update.ts'
import type { Action, Observed, Orderable } from './action.ts'
import { fillSlot, MAX_REBOOTS, tooOld, trySlot, waitFor } from './image.ts'
import { notDownloaded, pauseAfter } from './phases.ts'
import { type Restart, restartAtEnd, wantedNow } from './restarts.ts'
import { aboutStep, applied, cause, causeOf, failedWith } from './results.ts'

// What a list of steps needs next. All pure. Order of the rules: a slot that was filled is tried, a step that was begun comes to
// its end, the files of all steps are fetched, then one step after the other, then the restart that was put off.

/** What `attempt` needs next for its steps. `current`: the deployment that it is for. */
export function nextInList(attempt: Attempt, current: Named & Deploy, seen: Observed): Action {
  const steps = stepsOf(attempt, current)
  const { allowed } = current
  if (steps.some(isUntried)) return pauseAfter(allowed, attempt, seen.connected) ?? trySlot(attempt, seen)
  const begun = steps.findIndex(isBegun)
  if (begun >= 0) {
    const pause = steps[begun]?.unapplied && pauseAfter(allowed, attempt, seen.connected)
    return pause ?? goOnWith(steps, begun, current, seen)
  }
  const imageAt = steps.findIndex(step => isOpen(step) && !step.work)
  const image = imageAt < 0 ? undefined : imageOf(steps[imageAt], current)
  const isFirst = !steps.some(isSettled)
  const low = image && isFirst && tooOld(systemUpdateOf(current, image.step), seen)
  if (low) return { do: 'finish', result: failedWith(low, 'download'), at: imageAt }
  // An image may be on the device already. The steps behind it still have their turn.
  const at = steps.findIndex(isOpen)
  if (at < 0) return endOfList(steps, seen)
  if (at === imageAt && image && isThere(image.plan, imageAt, steps, current, seen)) return alreadyThere(steps, imageAt)
  const isHere = steps.every(({ state, work }) => state !== 'pending' && (work || state !== 'running'))
  if (!isHere && (allowed === 'install' || allowed === 'apply')) {
    return { do: 'finish', result: failedWith(notDownloaded(allowed), 'download') }
  }
  const unprepared = steps.findIndex(step => step.work && step.state === 'pending')
  if (unprepared >= 0) {
    const order = orderFor(steps[unprepared], current)
    if (!order) return goneFrom(steps, unprepared)
    return waitFor(seen.gates, ['download']) ?? { do: 'prepare', at: unprepared, ...order }
  }
  if (at === imageAt) {
    if (!image) return goneFrom(steps, at)
    return fillSlot(systemUpdateOf(current, image.step), attempt, seen)
  }
  const order = orderFor(steps[at], current)
  if (!order) return goneFrom(steps, at)
  const pause = allowed === 'download' ? pauseAfter(allowed, attempt, seen.connected) : undefined
  return pause ?? waitFor(seen.gates, ['install']) ?? { do: 'runStep', at, order }
}

/**
 * A step that was begun is never broken off, whatever has come since: undefined when there is none, or when it has had its last
 * order and only waits for a restart.
 */
export function unfinishedStep(attempt: Attempt, seen: Observed): Action | undefined {
  const at = attempt.steps.findIndex(isBegun)
  const step = attempt.steps[at]
  if (!step || step.unapplied || wantedNow(step, seen.here)) return undefined
  // After a restart the folder or the twin must be read first: it probably shows the deployment.
  if (!seen.current && attempt.own && !seen.gone) return { do: 'recall' }
  if (!seen.current && !attempt.own && !seen.deployment) return { do: 'wait', for: 'deployment' }
  return { do: 'runStep', at, order: seen.current && orderFor(step, seen.current) }
}

/** What the list of a folder needs next. A slot that was filled is tried whether or not the folder is still there. */
export function nextFromFolder(attempt: Attempt, seen: Observed): Action {
  if (seen.current) return nextInList(attempt, seen.current, seen)
  if (attempt.steps.some(isUntried)) return trySlot(attempt, seen)
  if (!seen.gone) return { do: 'recall' }
  return { do: 'finish', result: failedWith(causeOf(seen.gone), 'download') }
}

/** Whether each step has had its effect or needs none: only restarts may be left. */
export const isComplete = ({ steps }: Attempt): boolean =>
  steps.length > 0 &&
  steps.every(({ state, result }) => (state === 'done' || state === 'skipped') && result !== undefined)

/** The restart that was put off, then the result. */
export function endOfList(steps: readonly StepRecord[], seen: Observed): Action {
  const owed = restartAtEnd(steps, seen.here)
  if (owed) return restart(steps, owed.at, owed.restart, seen)
  const isNew = steps.some(({ state }) => state === 'done')
  return { do: 'finish', result: applied(isNew ? '' : 'already installed') }
}

/** In its turn; also of an attempt without records, which is for one image. */
function stepsOf({ steps, installedTo }: Attempt, { plans }: Deploy): readonly StepRecord[] {
  if (steps.length > 0) return steps
  const pending = pendingSteps(plans)
  return installedTo ? stepDone(pending, 'trial') : pending
}

export const isBegun = ({ work, state }: StepRecord): boolean => work === true && state === 'running'

function goOnWith(steps: readonly StepRecord[], at: number, current: Deploy, seen: Observed): Action {
  const step = steps[at] as StepRecord
  const wanted = wantedNow(step, seen.here)
  if (wanted) return restart(steps, at, wanted, seen)
  const order = orderFor(step, current)
  return order ? { do: 'runStep', at, order } : goneFrom(steps, at)
}

function restart(steps: readonly StepRecord[], at: number, kind: Restart, { gates }: Observed): Action {
  const { restarts = 0 } = steps[at] as StepRecord
  if (restarts >= MAX_REBOOTS) {
    const what =
      kind === 'reboot' ? 'a reboot, and the machine still runs' : 'a restart of the agent, and it still runs'
    const why = aboutStep(steps, at, `requested ${what} after ${restarts} orders`)
    return { do: 'finish', result: failedWith(cause('TOO_MANY_REBOOTS', why), 'apply'), at }
  }
  const closed = waitFor(gates, ['reboot'])
  if (closed) return closed
  return kind === 'reboot' ? { do: 'reboot', why: 'step', at } : { do: 'restartAgent', at }
}

function alreadyThere(steps: readonly StepRecord[], at: number): Action {
  if (steps.length === 1) return { do: 'finish', result: applied('already installed') }
  const result = { resultCode: RESULT_CODE.installSkipped, extendedResultCode: 0, resultDetails: 'already installed' }
  return { do: 'settleStep', at, state: 'skipped', result }
}

/** An image is there when its system runs, or that of a later image of the list, which replaced it. */
function isThere(
  plan: ImagePlan,
  at: number,
  steps: readonly StepRecord[],
  current: Deploy,
  { version }: Observed,
): boolean {
  const later = steps.slice(at + 1).map(step => (step.work ? undefined : imageOf(step, current)?.plan))
  return [plan, ...later].some(each => each?.installedCriteria === version)
}

/** The components of the device may have changed since. */
function goneFrom(steps: readonly StepRecord[], at: number): Action {
  const why = aboutStep(steps, at, 'is not a step of this deployment any more, as this device reads it now')
  return { do: 'finish', result: failedWith(cause('STEPS_UNSUPPORTED', why), 'apply'), at }
}

function orderFor(step: StepRecord | undefined, { plans, signed }: Deploy): Orderable | undefined {
  const found = step && plannedFor(step, plans)
  return found && { step: found, signed }
}

function imageOf(step: StepRecord | undefined, { plans }: Deploy) {
  const found = step && plannedFor(step, plans)
  return found?.plan.kind === 'image' ? { step: found, plan: found.plan } : undefined
}

const plannedFor = (step: StepRecord, plans: Deploy['plans']): PlannedStep | undefined =>
  plans.find(({ path, component }) => path.join() === step.path.join() && component?.id === step.component)
