import type { Attempt } from '../domain/attempt.ts'
import type { CommandName, CommandRequest } from '../domain/command.ts'
import { RESULT_CODE } from '../domain/result-codes.ts'
import { other } from '../domain/slot.ts'
import type { Action, Observed } from './action.ts'
import { isAnswered, isFor } from './answered.ts'
import { isBelow, tooLow } from './downgrade.ts'
import { isBegun, isComplete } from './list.ts'
import { runningOf } from './precedence.ts'
import { criteriaIn, isTrialOf, spareOf } from './rollback.ts'
import { settle } from './settle.ts'

// What somebody at the device orders: whether it can be done now, and how. All pure.

const STEP_AT_WORK = 'a step is being carried out, and is never broken off: ask again when it has ended'

const ON_TRIAL = 'a new system is on trial: wait until it is settled, or commit it'

const STILL_RUNS = 'the machine still runs a system whose trial has failed: restart it first'

type Seen = Pick<
  Observed,
  | 'boot'
  | 'attempt'
  | 'lost'
  | 'version'
  | 'minimumVersion'
  | 'deployment'
  | 'connected'
  | 'held'
  | 'here'
  | 'current'
  | 'flight'
>

/** Why `command` cannot be carried out now, and what to do; undefined when it can. */
export function whyNot(command: CommandName, seen: Seen): string | undefined {
  const { boot } = seen
  const isTrial = boot.trial === 'pending' && boot.booted === boot.primary
  if (command === 'commit') return isTrial ? whyNotCommit(seen) : 'no system is on trial'
  if (isTrial) return ON_TRIAL
  if (seen.attempt?.rollback) return 'a rollback is going on: wait until it is settled'
  return { cancel: whyNotCancel, retry: whyNotRetry, rollback: whyNotRollBack }[command](seen)
}

/** The same during a long action, before the loop can say so. A cancel stops a download, and no step. */
export function objection(command: CommandName, doing: { action: Action; seen: Seen } | undefined): string | undefined {
  if (doing?.action.do === 'runStep') return command === 'cancel' ? STEP_AT_WORK : whyNot(command, doing.seen)
  const isDownload = doing?.action.do === 'install' || doing?.action.do === 'prepare'
  return isDownload && command !== 'cancel' ? whyNot(command, doing.seen) : undefined
}

/** What carries `request` out. Call it only if `whyNot` has no objection. */
export function carriedOut(request: CommandRequest, seen: Seen): Action {
  const { deployment } = seen
  const spare = spareOf(seen)
  switch (request.command) {
    case 'cancel':
      return { do: 'abandon', request }
    case 'commit':
      return { do: 'commit', request }
    case 'retry':
      if (deployment?.kind !== 'deploy') break
      return { do: 'begin', deployment, request }
    case 'rollback':
      if (!spare) break
      return { do: 'rollBack', request, rollback: { to: spare.slot, version: spare.version, from: seen.version } }
  }
  throw new Error(`the command ${request.command} was not refused and cannot be carried out`)
}

function whyNotCancel(seen: Seen): string | undefined {
  const { attempt } = seen
  if (!attempt || runningOf(attempt) === 'nothing') return 'no deployment is running'
  if (attempt.steps.some(step => isBegun(step) && !step.unapplied && !step.wants)) return STEP_AT_WORK
  if (isComplete(attempt)) return 'all its steps are done, and only a restart is left'
  // The report of the result before it, which may be owed, ends nothing.
  return settle({ ...seen, connected: false }, attempt)
    ? 'the deployment is about to end: nothing is left to cancel'
    : undefined
}

function whyNotRetry(seen: Seen): string | undefined {
  const { attempt, deployment } = seen
  if (!attempt?.result) return attempt ? running(attempt) : 'no deployment has failed on this device'
  const { resultCode } = attempt.result
  if (resultCode !== RESULT_CODE.failure && resultCode !== RESULT_CODE.cancelled)
    return 'the last deployment has not failed'
  if (attempt.own) return 'the last update was ordered by a call or a file: order it there once more'
  if (!attempt.reported) return 'the hub does not have the last result yet: retry when the device is connected'
  if (!deployment) return 'the hub has not shown its deployment yet: retry when the device is connected'
  if (!isFor(deployment, attempt)) return 'the hub does not ask for this deployment any more'
  if (deployment.kind === 'refuse') return `the deployment is refused: ${deployment.error.message}`
  return deployment.kind === 'deploy' ? undefined : 'the operator has cancelled the deployment'
}

function whyNotCommit({ attempt, boot, version }: Seen): string | undefined {
  if (!attempt || !isTrialOf(attempt, boot))
    return 'this trial belongs to no deployment that the journal knows: only its health settles it'
  if (attempt.cause) return 'the trial has failed, and the device goes back'
  const criteria = criteriaIn(attempt, boot)
  if (criteria === undefined || criteria === version) return undefined
  return `the system is version "${version}", and "${criteria}" was ordered: the device goes back`
}

function whyNotRollBack(seen: Seen): string | undefined {
  const { attempt, boot, lost, deployment, held, minimumVersion } = seen
  if (attempt && runningOf(attempt) !== 'nothing') return `${running(attempt)}: cancel it first`
  if (boot.trial === 'pending') return ON_TRIAL
  if (boot.trial === 'failed' && boot.booted !== boot.primary) return STILL_RUNS
  if (deployment?.kind === 'deploy' && !isAnswered(deployment, attempt))
    return `deployment ${deployment.workflow.id} is about to start: cancel it first`
  const spare = spareOf(seen)
  if (!spare) {
    const why = lost === undefined && attempt?.gap === undefined ? '' : ', because the journal was damaged'
    return `slot ${other(boot.booted)} is not known to hold a whole system that was committed on this device${why}`
  }
  if (minimumVersion !== undefined && isBelow(spare.version, minimumVersion))
    return `${tooLow(spare.version, minimumVersion)} (piAdu.trust.minimumVersion)`
  return held === undefined ? undefined : `${held}: this must end first`
}

const running = ({ workflow }: Attempt): string => `deployment ${workflow.id} is running`
