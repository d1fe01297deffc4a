import type { Attempt } from '../../domain/attempt.ts'
import { closedOf, type GateSettings } from '../../gates/gates.ts'
import type { Ports } from '../../ports/ports.ts'
import { reporterOf } from '../../sources/reporter.ts'
import { observeGates } from '../observe.ts'
import { attemptOf, Paused } from './context.ts'
import type { Executor } from './perform.ts'

/** Milliseconds between two checks: an application that removes its lock does not notify the agent. */
const GATE_LOOK = 10_000

export const waitForGate: Executor<'waitForGate'> = async ({ gate, why, until }, context) => {
  const { ports, options, wait, tell, isNews } = context
  const attempt = attemptOf(context)
  if (isNews(`${attempt.workflow.id} ${why}`)) {
    ports.log.info('gate.closed', { gate, why, workflowId: attempt.workflow.id })
    const patch = reporterOf(options.reporters, attempt).waiting?.(attempt, why)
    if (patch) await tell(patch)
  }
  const left = until === undefined ? GATE_LOOK : until - ports.clock.now().getTime()
  // It may be past: then the next check is not urgent, or it would be made again and again.
  await wait(left > 0 ? Math.min(left, GATE_LOOK) : GATE_LOOK)
}

/** An image is written while it is downloaded. */
const GATES = { install: ['download', 'install'], prepare: ['download'] } as const

/**
 * Aborts `installation` with `Paused` when one of its gates closes. Ends when that is aborted; never rejects. Not over watched ports: a
 * look at the gates is no sign that the installation advances.
 */
export async function pauseOnClosedGate(
  attempt: Attempt | undefined,
  observable: { readonly ports: Pick<Ports, 'conditions' | 'clock'>; readonly gates: GateSettings },
  action: 'install' | 'prepare',
  installation: AbortController,
): Promise<void> {
  const { clock } = observable.ports
  for (;;) {
    await clock.sleep(GATE_LOOK, installation.signal).catch(() => {})
    if (installation.signal.aborted) return
    try {
      const closed = closedOf((await observeGates(observable, attempt)).gates, GATES[action])
      if (closed) return installation.abort(new Paused(closed.why))
    } catch (error) {
      return installation.abort(error)
    }
  }
}
