import type { Action } from '../action.ts'
import { activate } from './activate.ts'
import { begin } from './begin.ts'
import type { Context } from './context.ts'
import { abandon, endRollback, finish, report } from './end.ts'
import { install } from './install.ts'
import { prepare } from './prepare.ts'
import { fallBack, reboot } from './reboot.ts'
import { restartAgent, settleStep } from './restart-agent.ts'
import { runStep } from './run-step.ts'
import { tellPhase } from './tell-phase.ts'
import { commit, noteFlight, record, rollBack } from './trial.ts'
import { waitForGate } from './wait-for-gate.ts'

/**
 * Performs one action. A power cut may interrupt it anywhere, and it is then performed again. So the order of its effects
 * matters, and each executor says why.
 */
export type Executor<Do extends Action['do']> = (
  action: Extract<Action, { readonly do: Do }>,
  context: Context,
) => Promise<void>

/** One executor for each action; the compiler checks that none is missing. */
const EXECUTORS: { readonly [Do in Action['do']]: Executor<Do> } = {
  async wait(action, context) {
    const { options, wait } = context
    if (action.for === 'health') await noteFlight(context)
    await wait(action.for === 'health' ? options.trial.retry : undefined)
  },
  async answer({ request, outcome }, { requests }) {
    requests.settle(request, outcome)
  },
  ...{ waitForGate, record, begin, install, tellPhase, activate, reboot, commit, fallBack, abandon, finish, report },
  async recall(_, { requests, seen, signal }) {
    if (seen.attempt) await requests.recall(seen.attempt, signal)
  },
  ...{ prepare, runStep, settleStep, restartAgent, rollBack, endRollback },
}

export async function perform(action: Action, context: Context): Promise<void> {
  const { ports, seen } = context
  if (action.do !== 'wait' && action.do !== 'waitForGate') {
    const why = 'why' in action ? { why: action.why } : {}
    ports.log.info('action', {
      action: action.do,
      ...why,
      workflowId: seen.attempt?.workflow.id,
      booted: seen.boot.booted,
    })
  }
  // Each executor takes only its own action, which the type of the lookup cannot express.
  const execute = EXECUTORS[action.do] as (action: Action, context: Context) => Promise<void>
  await execute(action, context)
}
