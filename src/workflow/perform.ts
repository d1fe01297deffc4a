import type { Answered, Attempt, FirmwareOrder, FirmwareRecord, InstallResult, Order } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import { ercText, RESULT_CODE } from '../domain/result-codes.ts'
import type { BootState } from '../domain/slot.ts'
import type { Ports, Reported } from '../ports.ts'
import { installedBefore } from './downgrade.ts'
import type { FetchOptions } from './fetch.ts'
import { type FirmwareStatus, firmwareStage, type ProgressOptions, progressFilter } from './firmware-update-report.ts'
import { install } from './install.ts'
import { failedWith, type Observed, refusal, type WorkflowStep } from './next-step.ts'
import { inProgress } from './report.ts'

export interface PerformOptions {
  readonly fetch: FetchOptions
  /** Milliseconds that a machine may take to stop us after a reboot order, before the order is repeated. */
  readonly rebootPatience: number
  /** Of the method `firmwareUpdate`: who polls shall see every stage, so each is held for `stage` milliseconds. */
  readonly firmware: { readonly stage: number; readonly progress: ProgressOptions }
}

/** A system of which more have failed is not one to measure another by. */
const MAX_UNITS = 50

/** Every step but `wait` and `report`, which only the loop can do. */
export type LocalStep = Exclude<WorkflowStep, { do: 'wait' | 'report' }>

type Local = Pick<Ports, 'boot' | 'journal' | 'host' | 'content' | 'installer' | 'leftovers' | 'clock' | 'log'>

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
      return begin(step.goal)
    case 'install': {
      const counted = { ...some(attempt), installs: some(attempt).installs + 1 }
      await journal.write(counted)
      if (counted.firmware) await stage(counted.firmware, 'downloading', 0)
      else await tell(inProgress(counted.workflow))
      const news = progress(counted.firmware)
      await install(ports, step, options.fetch, news.tell, signal)
      await news.told()
      const done = counted.firmware ? { firmware: { ...counted.firmware, downloadCompleteTime: time() } } : {}
      await journal.write({ ...counted, installedTo: step.into, ...done })
      // Only now: until the journal knows, a power cut means to install again.
      await ports.leftovers?.forget()
      if (done.firmware) await stage(done.firmware, 'downloadComplete')
      return
    }
    case 'activate': {
      const { firmware, failedBefore: known = [], ...rest } = some(attempt)
      const failedBefore = await failedUnits()
      const applying = firmware && { ...firmware, startedApplyingImage: firmware.startedApplyingImage ?? time() }
      // Before the boot state changes: after a power cut it may be the new system that wants to read it.
      if (failedBefore.join() !== known.join() || (firmware && !firmware.startedApplyingImage)) {
        const noted = failedBefore.length > 0 ? { failedBefore } : {}
        await journal.write({ ...rest, ...noted, ...(applying ? { firmware: applying } : {}) })
      }
      if (applying) await stage(applying, 'applying')
      return boot.tryNext(step.slot, signal)
    }
    case 'reboot': {
      const counted = { ...some(attempt), reboots: some(attempt).reboots + 1 }
      await journal.write(counted)
      if (counted.firmware && state.trial === 'pending') {
        await stage(counted.firmware, 'rebooting')
        // Nothing else holds this one: the restart may be quick.
        await clock.sleep(options.firmware.stage, signal)
      }
      return reboot()
    }
    case 'restart':
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

  async function begin(goal: Order | FirmwareOrder): Promise<void> {
    if (goal.kind !== 'firmware') return journal.write(begun(goal, attempt))
    const next = asked(goal, attempt, time())
    await journal.write(next)
    await tell(firmwareStage(next.firmware, 'waiting'))
  }

  /** Each stage but the first, which the caller of the method waits for. */
  async function stage(record: FirmwareRecord, status: FirmwareStatus, percent?: number): Promise<void> {
    await clock.sleep(options.firmware.stage, signal)
    await tell(firmwareStage(record, status, percent === undefined ? {} : { progress: percent }))
  }

  /** Reports on the way, which the download does not wait for. */
  function progress(record: FirmwareRecord | undefined) {
    const worthTelling = progressFilter(options.firmware.progress, clock.monotonic())
    let last = Promise.resolve()
    return {
      tell(done: number, size: number): void {
        const percent = record && worthTelling(done, size, clock.monotonic())
        if (!record || percent === undefined) return
        last = last.then(() => tell(firmwareStage(record, 'downloading', { progress: percent })))
        last.catch(() => {})
      },
      told: () => last,
    }
  }

  /** They are not held against the new system. When they cannot be had, all that fail there are. */
  async function failedUnits(): Promise<readonly string[]> {
    try {
      const units = await host.failedUnits(signal)
      if (units.length > 0) log.warn('units.failed', { units: units.join(' ') })
      return units.slice(0, MAX_UNITS)
    } catch (error) {
      if (!(error instanceof AgentError)) throw error
      log.warn('units.unknown', { why: error.message })
      return []
    }
  }

  function time(): string {
    return clock.now().toISOString()
  }

  async function reboot(): Promise<void> {
    await host.reboot(signal)
    await clock.sleep(options.rebootPatience, signal)
  }
}

/** Writes how the attempt ended. */
export async function conclude(
  { boot, journal, log, clock }: Pick<Ports, 'boot' | 'journal' | 'log' | 'clock'>,
  attempt: Attempt,
  { trial, booted, primary }: BootState,
  end: Pick<Attempt, 'cancelledBy' | 'result'> & { readonly result: InstallResult },
  signal: AbortSignal,
): Promise<void> {
  // A trial that is no longer wanted must not start after the next power cut either.
  if (trial === 'pending' && booted !== primary) await boot.keepBooted(signal)
  const result = withExtras(end.result, attempt.extraCodes)
  const { resultCode, extendedResultCodes, resultDetails } = result
  log.info('result', { resultCode, extendedResultCodes: extendedResultCodes.map(ercText).join(','), resultDetails })
  const { firmware } = attempt
  const done = resultCode === RESULT_CODE.applied && firmware !== undefined
  const times = done ? { firmware: { ...firmware, lastFirmwareUpdate: clock.now().toISOString() } } : {}
  await journal.write({ ...attempt, ...end, result, ...times })
}

/** The first code is the result's own; at most eight more follow (protocol, chapter 1.6). */
const withExtras = (result: InstallResult, extra: readonly number[] = []): InstallResult => ({
  ...result,
  extendedResultCodes: [...result.extendedResultCodes, ...extra].slice(0, 9),
})

const cancelled: InstallResult = {
  resultCode: RESULT_CODE.cancelled,
  extendedResultCodes: [0],
  resultDetails: 'cancelled; the running system was not touched',
}

function begun(goal: Order, last: Attempt | undefined): Attempt {
  const { workflow, fingerprint, extraCodes = [] } = goal
  const before = installedBefore(last)
  const attempt = {
    workflow,
    fingerprint,
    ...(extraCodes.length > 0 ? { extraCodes } : {}),
    ...(before ? { before } : {}),
    installs: 0,
    reboots: 0,
    milestones: [],
    reported: false,
  }
  switch (goal.kind) {
    case 'deploy': {
      const { updateId, installedCriteria } = goal.update
      return { ...attempt, updateId, installedCriteria }
    }
    case 'cancel':
      return { ...attempt, result: { resultCode: RESULT_CODE.idle, extendedResultCodes: [0], resultDetails: '' } }
    case 'refuse':
      return { ...attempt, result: withExtras(failedWith(refusal(goal.error)), extraCodes) }
  }
}

/** What the journal says of a firmware update that begins; `previous` is the attempt that it takes the place of. */
function asked(
  { workflow, fingerprint, update }: FirmwareOrder,
  previous: Attempt | undefined,
  startedWaitingTime: string,
): Attempt & { readonly firmware: FirmwareRecord } {
  const before = installedBefore(previous)
  // An order that was never ended is still open: the twin may show it again.
  const answered = previous?.firmware ? previous.answered : previous?.result && orderOf(previous)
  return {
    ...{ workflow, fingerprint, installs: 0, reboots: 0, milestones: [], reported: false },
    ...(update.version === undefined ? {} : { installedCriteria: update.version }),
    ...(answered ? { answered } : {}),
    ...(before ? { before } : {}),
    firmware: { update, startedWaitingTime },
  }
}

const orderOf = ({ workflow, fingerprint, cancelledBy }: Attempt): Answered => ({
  workflow,
  fingerprint,
  ...(cancelledBy === undefined ? {} : { cancelledBy }),
})

function some(attempt: Attempt | undefined): Attempt {
  if (!attempt) throw new Error('nextStep gave a step that needs an attempt, and there is none')
  return attempt
}
