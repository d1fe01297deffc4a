import type { StepRecord } from '../domain/step-record.ts'

/** What a step may request of the device. */
export type Restart = 'reboot' | 'agentRestart'

/** What a step requested with its result, and when it wants it. */
export interface Wish {
  readonly restart: Restart
  readonly when: 'now' | 'later'
}

/** The boot and the process that run now. */
export interface Here {
  readonly bootId: string
  readonly process: string
}

/** The wish in a result of `install` or `apply` (PROTOCOL.md, "Result codes"). Pure. */
export function wishOf(resultCode: number): Wish | undefined {
  switch (resultCode) {
    case 605:
    case 705:
      return { restart: 'reboot', when: 'now' }
    case 606:
    case 706:
      return { restart: 'reboot', when: 'later' }
    case 607:
    case 707:
      return { restart: 'agentRestart', when: 'now' }
    case 608:
    case 708:
      return { restart: 'agentRestart', when: 'later' }
    default:
      return undefined
  }
}

/** The restart that a step must get before it can go on; undefined when there is none, or when it has happened. Pure. */
export function wantedNow(step: StepRecord, here: Here | undefined): Restart | undefined {
  if (step.wants !== 'rebootNow' && step.wants !== 'agentRestart') return undefined
  const restart = step.wants === 'rebootNow' ? 'reboot' : 'agentRestart'
  return hasHappened(restart, step, here) ? undefined : restart
}

/** The restart that the end of the list still owes to this step. Pure. */
export const wantedLater = (step: StepRecord, here: Here | undefined): Restart | undefined =>
  step.later && !hasHappened(step.later, step, here) ? step.later : undefined

/** The restart at the end of the list, and the step that gets it: a reboot serves those too that want less. Pure. */
export function restartAtEnd(
  steps: readonly StepRecord[],
  here: Here | undefined,
): { readonly at: number; readonly restart: Restart } | undefined {
  for (const restart of ['reboot', 'agentRestart'] as const) {
    const at = steps.findIndex(step => wantedLater(step, here) === restart)
    if (at >= 0) return { at, restart }
  }
  return undefined
}

/** The stronger of two. */
export const strongest = (one: Restart | undefined, two: Restart | undefined): Restart | undefined =>
  one === 'reboot' || two === 'reboot' ? 'reboot' : (one ?? two)

/** Observed, not remembered: another boot or another process is running. What cannot be observed has not happened. */
function hasHappened(restart: Restart, step: StepRecord, here: Here | undefined): boolean {
  if (!here) return false
  if (step.bootId !== here.bootId) return true
  return restart === 'agentRestart' && step.process !== here.process
}
