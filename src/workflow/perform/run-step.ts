import { AgentError } from '../../domain/errors.ts'
import { RESULT_CODE } from '../../domain/result-codes.ts'
import type { StepRecord, StepResult } from '../../domain/step-record.ts'
import { strongest, wantedLater, wishOf } from '../restarts.ts'
import type { Context } from './context.ts'
import type { Executor } from './perform.ts'
import { MAY_HAVE_RUN, planOf } from './prepare.ts'
import { StepWork } from './step-work.ts'
import { tellWork } from './telling.ts'

/** Orders of one step that may be begun; more than two follow only from outcomes that nobody knows. */
const MAX_STARTS = 6

/**
 * Carries a step out: asks whether it is installed, then `install`, then `apply`. Each order is in the journal before it is given,
 * so after a power cut the same order is found again and nothing runs twice. Returns when the step is over, or wants a restart.
 */
export const runStep: Executor<'runStep'> = async ({ at, order }, context) => {
  const work = new StepWork(context, at, order)
  const isFresh = work.record.state === 'ready'
  try {
    if (isFresh && order) {
      if (!(await isReady(work, planOf(order), context))) return
      await tellWork(context, work.attempt)
      work.begin()
      await work.announce('install')
    } else if ((work.record.wants || work.record.unapplied) && !(await goesOn(work, order !== undefined, context)))
      return
    while (await oneVerb(work, order !== undefined, context));
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== 'STEP_REFUSED') throw error
    // An order of an earlier process: whether it ran, a refusal does not say.
    if (isFresh) return work.refuse(error)
    if (!order && (await isTakenBack(work))) return
    await work.failWith('STEP_UNKNOWN', `outcome unknown: ${error.message}`)
  }
}

/** Before the step has its first order. False: the step is over, or its files must be fetched again. */
async function isReady(
  work: StepWork,
  { probe, payload }: ReturnType<typeof planOf>,
  { ports: { workFolder } }: Context,
): Promise<boolean> {
  const { bare, mayHaveRun } = work.record
  for (const file of bare ? probe : [...probe, ...payload]) {
    if (!(await workFolder.has(work.folder, file))) return fetchAgain(work)
  }
  const installed = await work.isInstalled()
  if (installed === 'yes') {
    await work.done({ ...SKIPPED, resultDetails: 'already installed' })
    return false
  }
  if (installed === 'unknown' && mayHaveRun) {
    await work.failWith('STEP_UNKNOWN', MAY_HAVE_RUN)
    return false
  }
  // An earlier step has changed the answer.
  return bare ? fetchAgain(work) : true
}

async function fetchAgain(work: StepWork): Promise<false> {
  await work.write(({ bare: _, order: _order, ...record }) => ({
    ...{ ...record, state: 'pending', fetches: (record.fetches ?? 0) + 1 },
  }))
  return false
}

/** After the restart that the step wanted, or when it is ordered to apply it. False: it is over, or waits. */
async function goesOn(work: StepWork, isWanted: boolean, context: Context): Promise<boolean> {
  const { order, mayHaveRun } = work.record
  const result = work.record.result ?? DONE
  const isApplied = order?.verb === 'apply'
  // Its deployment is gone, so it cannot be asked.
  if (!isWanted) return isApplied ? over(work, result) : leaveUnapplied(work, result)
  const installed = await work.isInstalled()
  if (installed === 'yes') return over(work, result)
  if (isApplied && installed === 'no') {
    return failed(work, 'CRITERIA_NOT_MET', 'it is not installed after the restart that it requested')
  }
  if (isApplied) return over(work, result)
  if (installed === 'unknown' && mayHaveRun) return failed(work, 'STEP_UNKNOWN', MAY_HAVE_RUN)
  return toApply(work, result, context)
}

/** Where each phase is ordered by itself, the order to apply it comes later. */
async function toApply(work: StepWork, result: StepResult, { seen }: Context): Promise<boolean> {
  if (seen.current?.allowed === 'install') return leaveUnapplied(work, result)
  await work.announce('apply')
  return true
}

/** It is not done: whatever ends the list says so. */
async function leaveUnapplied(work: StepWork, result: StepResult): Promise<false> {
  await work.write(({ wants: _, ...record }) => ({ ...record, result, unapplied: true }))
  return false
}

/**
 * The service refuses an order without text only if it was never begun, so it never will be. False: an order before it, for the same
 * verb, may have had some effect.
 */
async function isTakenBack(work: StepWork): Promise<boolean> {
  const { order, starts, result = DONE } = work.record
  if (order?.verb === 'install' && starts === 1)
    await work.write(({ order: _, ...record }) => ({ ...record, state: 'ready', starts: 0 }))
  else if (order?.verb === 'apply' && starts === 2) await leaveUnapplied(work, result)
  else return false
  return true
}

/** Gives the order that is in the journal, or finds it again. Whether another verb is to follow. */
async function oneVerb(work: StepWork, isWanted: boolean, context: Context): Promise<boolean> {
  const { ports, process } = context
  const { order, mayHaveRun } = work.record
  if (!order || order.verb === 'download') throw new Error('a step is running, and the journal has no order for it')
  const { verb, id } = order
  let result: StepResult
  try {
    result = await work.run(verb, id)
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== 'STEP_UNKNOWN') throw error
    return isUnknown(work, verb, error.message, isWanted)
  }
  if (result.resultCode <= 0) {
    await work.fail(result)
    return false
  }
  if (
    verb === 'install' &&
    [RESULT_CODE.installSkipped, RESULT_CODE.noComponent].some(code => code === result.resultCode)
  ) {
    return over(work, result)
  }
  const here = { bootId: await ports.host.bootId(), process }
  const wish = wishOf(result.resultCode)
  const owed = strongest(wantedLater(work.record, here), wish?.when === 'later' ? wish.restart : undefined)
  const { later: _, ...kept } = work.record
  const owes = { ...(owed ? { later: owed } : {}), ...(wish ? here : {}) }
  if (wish?.when === 'now') {
    const wants = wish.restart === 'reboot' ? 'rebootNow' : 'agentRestart'
    await work.write(() => ({ ...kept, result, ...owes, wants }))
    return false
  }
  await keepOwed(work, owes)
  if (verb === 'apply') return over(work, result)
  if (!isWanted) return leaveUnapplied(work, result)
  // The order may be an old one: that for `apply` may have been lost with the journal.
  if (mayHaveRun) {
    const installed = await work.isInstalled()
    if (installed === 'yes') return over(work, result)
    if (installed === 'unknown') return failed(work, 'STEP_UNKNOWN', MAY_HAVE_RUN)
  }
  return toApply(work, result, context)
}

/** The step service was cut off during the order. */
async function isUnknown(work: StepWork, verb: 'install' | 'apply', why: string, isWanted: boolean): Promise<boolean> {
  const unknown = `outcome unknown: ${why}`
  if (!isWanted) return failed(work, 'STEP_UNKNOWN', unknown)
  const installed = await work.isInstalled()
  if (installed === 'yes') return over(work, { ...DONE, resultDetails: 'found installed after an interruption' })
  if (installed === 'unknown') return failed(work, 'STEP_UNKNOWN', `${unknown}; it is not run again`)
  const { starts } = work.record
  if (starts >= MAX_STARTS) return failed(work, 'STEP_UNKNOWN', `${unknown}; it was begun ${starts} times`)
  // A clear no: it has not had its effect.
  await work.announce(verb)
  return true
}

/** Notes a restart that the end of the list owes to the step, before its next order. */
async function keepOwed(work: StepWork, owes: Partial<StepRecord>): Promise<void> {
  const { later, bootId, process } = work.record
  // Of a restart that was requested once more, the boot counts from which it was.
  const isSame = (owes.bootId ?? bootId) === bootId && (owes.process ?? process) === process
  if (later === owes.later && (later === undefined || isSame)) return
  await work.write(({ later: _, ...record }) => ({ ...record, ...owes }))
}

async function over(work: StepWork, result: StepResult): Promise<false> {
  await work.done(result)
  return false
}

async function failed(work: StepWork, code: Parameters<StepWork['failWith']>[0], why: string): Promise<false> {
  await work.failWith(code, why)
  return false
}

const DONE: StepResult = { resultCode: RESULT_CODE.applied, extendedResultCode: 0, resultDetails: '' }
const SKIPPED: StepResult = { ...DONE, resultCode: RESULT_CODE.installSkipped }
