import type { Deployment, Request } from '../domain/deployment.ts'
import { isSame } from '../sources/device-update/twin-side.ts'
import type { Action, Observed } from './action.ts'
import { replaces } from './next-action.ts'

/** What can arrive during an action. `same`: nothing that concerns it, such as the deployment that it works on. */
export type News = 'deployment' | 'cancel' | 'same' | 'request'

/**
 * `stops`: the action is aborted and the loop decides again. `waits`: the loop sees the news after the action. `refused`:
 * the caller is told that the agent is busy.
 */
export type Treatment = 'stops' | 'waits' | 'refused'

interface Row extends Readonly<Record<News, Treatment>> {
  readonly why: string
}

const WAITS = { deployment: 'waits', cancel: 'waits', same: 'waits', request: 'waits' } as const
const BUSY = { ...WAITS, request: 'refused' } as const

/** Which news interrupt which action, and why. */
export const INTERRUPTS: Readonly<Record<Action['do'], Row>> = {
  wait: {
    ...{ deployment: 'stops', cancel: 'stops', same: 'stops', request: 'stops' },
    why: 'nothing is under way, and each piece of news is a reason to look',
  },
  waitForGate: {
    ...{ deployment: 'stops', cancel: 'stops', same: 'stops', request: 'stops' },
    why: 'nothing is under way; another deployment may not have to wait, and a cancel does not',
  },
  record: { ...WAITS, why: 'it is one write, and tells the other slot how far this one came' },
  answer: { ...WAITS, why: 'it takes no time, and whoever asked waits for it' },
  begin: { ...BUSY, why: 'it is short, and stopped halfway it would only have to be begun again' },
  install: {
    ...{ deployment: 'stops', cancel: 'stops', same: 'waits', request: 'refused' },
    why: 'it is long, and touches nothing but a slot that never starts unless it becomes whole',
  },
  tellPhase: { ...BUSY, why: 'it is short, and the next order comes only after it' },
  prepare: {
    ...{ deployment: 'stops', cancel: 'stops', same: 'waits', request: 'refused' },
    why: 'it is long, and touches nothing but a folder of files that are verified again before they are used',
  },
  recall: {
    ...{ deployment: 'stops', cancel: 'stops', same: 'waits', request: 'refused' },
    why: 'it waits for a stick that may never come back, and only reads',
  },
  runStep: { ...BUSY, why: 'a step that was broken off would leave the device between two states' },
  settleStep: { ...BUSY, why: 'it is one write, and what comes next builds on it' },
  restartAgent: { ...BUSY, why: 'the process is ending, and looks again when it is up' },
  activate: { ...BUSY, why: 'it is short, and a trial that is no longer wanted is dropped after it' },
  reboot: { ...BUSY, why: 'the machine is going down, and looks again when it is up' },
  commit: { ...BUSY, why: 'a trial is settled before anything new is considered' },
  fallBack: { ...BUSY, why: 'a trial is settled before anything new is considered' },
  rollBack: { ...BUSY, why: 'it is one write, and what comes next builds on it' },
  endRollback: { ...BUSY, why: 'it is short, and what comes next builds on the result in the journal' },
  abandon: { ...BUSY, why: 'it is short, and what comes next builds on the result in the journal' },
  finish: { ...BUSY, why: 'it is short, and what comes next builds on the result in the journal' },
  report: { ...WAITS, why: 'the hub hears how the last attempt ended before the next one begins' },
}

/** What the twin's `deployment` means for an action that was decided on the basis of `known`. */
export function newsOf(
  deployment: Deployment | undefined,
  known: Pick<Observed, 'deployment' | 'attempt'>,
): Exclude<News, 'request'> {
  if (!deployment) return 'same'
  // Only a newer deployment ends a request made once: a cancel or a refused deployment of the twin does not concern it.
  if (known.attempt?.own) return replaces(deployment, known.attempt) ? 'deployment' : 'same'
  if (isSame(deployment, known.deployment)) return 'same'
  return deployment.kind === 'cancel' ? 'cancel' : 'deployment'
}

/** What a request is to the action that runs: a cancel at the device is one, wherever it comes from. */
export const newsBy = (request: Request | undefined): News =>
  request?.kind === 'command' && request.command === 'cancel' ? 'cancel' : 'request'
