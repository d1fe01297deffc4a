import { reporterOf } from '../../sources/reporter.ts'
import { begun } from '../begun.ts'
import { hasWork } from '../ending.ts'
import type { Executor } from './perform.ts'

export const begin: Executor<'begin'> = async (
  { deployment, request },
  { ports, options, seen, requests, tell, signal },
) => {
  const { boot, journal, clock, events } = ports
  // The caller has been answered meanwhile, so the request must not begin.
  const asked = deployment.kind === 'once' ? deployment : request
  if (asked && !requests.take(asked)) return
  // End an old trial before the new attempt is in the journal. In the other order, a power cut in between would make the
  // agent report the fall-back of an update that was never tried.
  if (seen.boot.trial !== 'none' || seen.boot.primary !== seen.boot.booted) await boot.commit(signal)
  // Earlier consent does not cover a new update: the user did not know of it.
  if (seen.consented) await ports.conditions.forgetConsent()
  const next = begun(deployment, seen, clock.now(), request !== undefined)
  // Files of an earlier workflow are of no use any more, and an image needs none, also with the same id. Once the journal has forgotten it, nobody would remove them.
  if (hasWork(next) || (seen.attempt ? hasWork(seen.attempt) : seen.lost !== undefined)) {
    await ports.workFolder.keepOnly(hasWork(next) ? next.workflow.id : undefined)
  }
  await journal.write(next)
  const { workflow, origin } = next
  events.tell({ event: 'deployment.taken', workflowId: workflow.id, origin, kind: deployment.kind })
  if (request) requests.settle(request, { is: 'begun' })
  if (deployment.kind !== 'once') return
  // This stage is not held: the caller is waiting for it.
  const patch = reporterOf(options.reporters, next).stage(next, 'waiting')
  if (patch) await tell(patch)
  requests.settle(deployment, { is: 'begun' })
}
