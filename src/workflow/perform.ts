import type { Attempt, InstallResult, Order } from '../domain/deployment.ts'
import { ercText, RESULT_CODE } from '../domain/result-codes.ts'
import type { BootState } from '../domain/slot.ts'
import type { Ports, Reported } from '../ports.ts'
import type { FetchOptions } from './fetch.ts'
import { install } from './install.ts'
import { failedWith, type Observed, type WorkflowStep } from './next-step.ts'
import { inProgress } from './report.ts'

export interface PerformOptions {
  readonly fetch: FetchOptions
  /** Milliseconds that a machine may take to stop us after a reboot order, before the order is repeated. */
  readonly rebootPatience: number
}

/** Every step but `wait` and `report`, which only the loop can do. */
export type LocalStep = Exclude<WorkflowStep, { do: 'wait' | 'report' }>

type Local = Pick<Ports, 'boot' | 'journal' | 'host' | 'content' | 'installer' | 'clock' | 'log'>

/** Does one step. Each may be cut anywhere and then comes again: the order of effects inside matters, and says why. */
export async function perform(
  ports: Local,
  step: LocalStep,
  { boot: state, attempt, version }: Observed,
  tell: (news: Reported) => Promise<void>,
  options: PerformOptions,
  signal: AbortSignal,
): Promise<void> {
  const { boot, journal, log, host, clock } = ports
  log.info('step', { step: step.do, workflowId: attempt?.workflow.id, booted: state.booted })
  switch (step.do) {
    case 'begin':
      // An old trial ends before the journal speaks of the new attempt: the other order would, after a power cut, report
      // the fall-back of an update that was never tried.
      if (state.trial !== 'none' || state.primary !== state.booted) await boot.keepBooted(signal)
      return journal.write(begun(step.goal))
    case 'install': {
      const counted = { ...some(attempt), installs: some(attempt).installs + 1 }
      await journal.write(counted)
      await tell(inProgress(counted.workflow))
      await install(ports, step.update, step.into, options.fetch, signal)
      return journal.write({ ...counted, installedTo: step.into })
    }
    case 'activate':
      return boot.tryNext(step.slot, signal)
    case 'reboot':
      await journal.write({ ...some(attempt), reboots: some(attempt).reboots + 1 })
      return reboot()
    case 'commit':
      await boot.keepBooted(signal)
      return log.info('committed', { slot: state.booted, version })
    case 'fallBack':
      log.warn('fall-back', { why: step.cause.details, code: ercText(step.cause.extendedResultCode) })
      // First the cause: after the boot state has changed, a power cut may start the old slot, which wants to read it.
      if (attempt) await journal.write({ ...attempt, cause: step.cause, reboots: attempt.reboots + 1 })
      await boot.fallBack(signal)
      return reboot()
    case 'abandon':
      return conclude(ports, some(attempt), state, { cancelledBy: step.cancelledBy, result: cancelled }, signal)
    case 'finish':
      return conclude(ports, some(attempt), state, { result: step.result }, signal)
  }

  async function reboot(): Promise<void> {
    await host.reboot(signal)
    await clock.sleep(options.rebootPatience, signal)
  }
}

/** Writes how the attempt ended. */
export async function conclude(
  { boot, journal, log }: Pick<Ports, 'boot' | 'journal' | 'log'>,
  attempt: Attempt,
  { trial, booted, primary }: BootState,
  end: Pick<Attempt, 'cancelledBy' | 'result'> & { readonly result: InstallResult },
  signal: AbortSignal,
): Promise<void> {
  // A trial that is no longer wanted must not start after the next power cut either.
  if (trial === 'pending' && booted !== primary) await boot.keepBooted(signal)
  const { resultCode, extendedResultCodes, resultDetails } = end.result
  log.info('result', { resultCode, extendedResultCodes: extendedResultCodes.map(ercText).join(','), resultDetails })
  await journal.write({ ...attempt, ...end })
}

const cancelled: InstallResult = {
  resultCode: RESULT_CODE.cancelled,
  extendedResultCodes: [0],
  resultDetails: 'cancelled; the running system was not touched',
}

function begun(goal: Order): Attempt {
  const { workflow, fingerprint } = goal
  const attempt = { workflow, fingerprint, installs: 0, reboots: 0, milestones: [], reported: false }
  switch (goal.kind) {
    case 'deploy': {
      const { updateId, installedCriteria } = goal.update
      return { ...attempt, updateId, installedCriteria }
    }
    case 'cancel':
      return { ...attempt, result: { resultCode: RESULT_CODE.idle, extendedResultCodes: [0], resultDetails: '' } }
    case 'refuse': {
      const { extendedResultCode, message } = goal.error
      return { ...attempt, result: failedWith({ extendedResultCode, details: message }) }
    }
  }
}

function some(attempt: Attempt | undefined): Attempt {
  if (!attempt) throw new Error('nextStep gave a step that needs an attempt, and there is none')
  return attempt
}
