import { type Answered, type Attempt, JOURNAL_FORMAT, type Owed } from '../domain/attempt.ts'
import { type Deployment, type OnceDeployment, TWIN } from '../domain/deployment.ts'
import { allMayHaveRun, BUNDLE_HANDLER, pendingSteps } from '../domain/step-record.ts'
import type { Action, Known, Observed } from './action.ts'
import { installedBefore } from './downgrade.ts'
import { ended, failureOf, idle } from './results.ts'

/**
 * The journal entry of a deployment that begins; `last` is the attempt that it replaces. A cancel or a refusal ends as it
 * begins. `isRetry`: `last` was for the same, and somebody at the device wants another one. If the journal was lost, this may be the deployment that was in it, so all of its steps may have run.
 */
export function begun(
  deployment: Deployment | OnceDeployment,
  {
    attempt: last,
    lost,
    version,
    connected,
    wasConnected,
  }: Known & Partial<Pick<Observed, 'version' | 'connected' | 'wasConnected'>>,
  now: Date,
  isRetry = false,
): Attempt {
  const { workflow, fingerprint } = deployment
  const before = installedBefore(last, version)
  const attempt = {
    ...{
      format: JOURNAL_FORMAT,
      workflow,
      fingerprint,
      ...(before ? { before } : {}),
      // Where nothing is written to the other slot, it keeps what it holds.
      ...(last?.spare ? { spare: last.spare } : {}),
      ...(isRetry ? { retries: (last?.retries ?? 0) + 1 } : {}),
      ...(lost === undefined ? {} : { gap: lost }),
    },
    ...{ installs: 0, reboots: 0, milestones: [], steps: [], reported: false, times: { begun: now.toISOString() } },
  }
  if (deployment.kind === 'once') {
    // A connection that is away for a moment does not make a device one without a network.
    const isOffline = deployment.update.local && connected === false && !wasConnected
    return { ...attempt, ...asked(deployment, last, lost), ...(isOffline ? { offline: true } : {}) }
  }
  const { extraCodes = [] } = deployment
  const shown = { ...attempt, origin: TWIN, ...(extraCodes.length > 0 ? { extraCodes } : {}) }
  switch (deployment.kind) {
    case 'deploy': {
      const { updateId } = deployment.manifest
      const image = deployment.plans.find(({ plan }) => plan.kind === 'image')?.plan
      const criteria = image?.kind === 'image' ? { installedCriteria: image.installedCriteria } : {}
      const steps = pendingSteps(deployment.plans)
      return { ...shown, updateId, ...criteria, steps: lost === undefined ? steps : allMayHaveRun(steps) }
    }
    case 'cancel':
      return ended(shown, idle, now)
    case 'refuse':
      return ended(shown, failureOf(deployment.error, 'download'), now)
  }
}

function asked(
  { origin, update, list }: OnceDeployment,
  last: Attempt | undefined,
  lost: string | undefined,
): Pick<Attempt, 'origin' | 'own'> & Partial<Attempt> {
  // A deployment of the twin that never ended is still open: the twin may show it again.
  const answered = last?.own ? last.answered : last?.result && answerOf(last)
  const owed = last && owedAfter(last)
  const steps = pendingSteps(list?.plans ?? [{ path: [0], handler: BUNDLE_HANDLER }])
  return {
    ...{ origin, own: update, steps: list && lost !== undefined ? allMayHaveRun(steps) : steps },
    ...(update.version === undefined ? {} : { installedCriteria: update.version }),
    ...(update.updateId ? { updateId: update.updateId } : {}),
    ...(answered ? { answered } : {}),
    ...(owed ? { owed } : {}),
  }
}

/** Whose report is still owed: the attempt's own, unless it was a local one; the twin needs only the last of these. */
function owedAfter({ owed, answered: _, before: __, ...last }: Attempt): Owed | undefined {
  const { result, reported, own } = last
  return result && !reported && !own?.local ? { ...last, result } : owed
}

const answerOf = ({ workflow, fingerprint, cancelledBy }: Attempt): Answered => ({
  workflow,
  fingerprint,
  ...(cancelledBy === undefined ? {} : { cancelledBy }),
})

/** What is begun, with its number of retries. */
export const retriedBy = (
  { deployment, request }: Extract<Action, { do: 'begin' }>,
  last: Attempt | undefined,
): Pick<Deployment, 'workflow' | 'fingerprint'> & { readonly retries?: number } => ({
  ...deployment,
  ...(request ? { retries: (last?.retries ?? 0) + 1 } : {}),
})
