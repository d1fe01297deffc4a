import type { Deployment } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import type { Hosts } from '../domain/hosts.ts'
import { Checks } from '../trust/checks.ts'
import type { Judged } from '../trust/judge.ts'
import type { Capabilities } from './capabilities.ts'
import { readSteps, refusedFor } from './read-steps.ts'

/**
 * Looks at what the device lets steps do that are not images; `components`: also at the list of its components. Errors: AgentError with
 * the reason why that is unknown.
 */
export type Look = (components: boolean, signal: AbortSignal) => Promise<Omit<Capabilities, 'images'>>

/**
 * As `readSteps`, on a device that is only looked at if the steps need it: a mistake in the settings of scripts, or a bus that does not
 * answer, must not stop an update of the system. `images`: a device that takes images at most.
 */
export async function readStepsOn(
  judged: Judged,
  hosts: Hosts | undefined,
  checks: Checks,
  images: Capabilities,
  look: Look | undefined,
  signal: AbortSignal,
): Promise<Deployment> {
  if (judged.kind !== 'deploy' || !look) return readSteps(judged, hosts, checks, images)
  const hasChildren = judged.manifest.steps.some(({ type }) => type === 'reference')
  if (!hasChildren && readSteps(judged, hosts, new Checks(), images).kind === 'deploy') {
    return readSteps(judged, hosts, checks, images)
  }
  try {
    const device = await look(hasChildren, signal)
    return readSteps(judged, hosts, checks, { ...images, ...device, images: images.images })
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof AgentError)) throw error
    checks.note('handler', 'fail', error.message)
    return refusedFor(judged, error)
  }
}
