import type { Attempt } from '../../domain/attempt.ts'
import type { Deployment } from '../../domain/deployment.ts'
import { ercText, RESULT_CODE } from '../../domain/result-codes.ts'
import { ALL_OPEN } from '../../gates/gates.ts'
import type { Check } from '../../trust/checks.ts'
import type { Action, Known, Observed } from '../../workflow/action.ts'
import { begun } from '../../workflow/begun.ts'
import { type DowngradePolicy, lowestVersion } from '../../workflow/downgrade.ts'
import { nextAction } from '../../workflow/next-action.ts'
import { wouldDo } from './steps.ts'

/** The facts of a device that decide about a deployment. */
export interface DeviceFacts extends Known {
  readonly downgrade: DowngradePolicy
  /** First line of the version file. */
  readonly version: string
}

interface Plan {
  readonly verdict: 'accept' | 'refuse'
  readonly extendedResultCode: string
  readonly reason: string
}

/** A device at rest: a trial is always settled before a deployment. */
const AT_REST = { booted: 'a', primary: 'a', trial: 'none', tries: 0 } as const

/** Gates only delay an update, so they do not affect the verdict. */
const NO_GATE = { gates: ALL_OPEN, consented: false } as const
const OUTSIDE_A_TRIAL = { health: { state: 'unknown' }, milestones: [], connected: true } as const

/** What the agent's own planner decides about a verified deployment on this device. */
export function planned(
  deployment: Extract<Deployment, { kind: 'deploy' }>,
  { downgrade, attempt, lost, version }: DeviceFacts,
  list: Check[],
): Plan {
  const look = (now: Attempt | undefined): Action => {
    const lowest = lowestVersion(downgrade, now, version)
    const rest = { boot: AT_REST, version, deployment, request: undefined, ...OUTSIDE_A_TRIAL, ...NO_GATE } as const
    return nextAction({ ...rest, attempt: now, lost, lowest } satisfies Observed)
  }
  // An unreported result would only be reported first, so it does not matter here.
  const last = attempt?.result && { ...attempt, reported: true }
  const next = begun(deployment, { attempt: last ?? attempt, lost }, new Date(0))
  const lowest = lowestVersion(downgrade, next, version)
  const { updateId } = deployment.manifest
  const [{ plan }] = deployment.plans
  const image = deployment.plans.length === 1 && plan.kind === 'image' ? plan : undefined
  const would = (reason: string) => ({ verdict: 'accept', extendedResultCode: ercText(0), reason }) as const
  if (last && look(last).do === 'wait') {
    const { resultCode = 0, extendedResultCodes = [] } = last.result ?? {}
    const how = `${resultCode}, ${extendedResultCodes.map(ercText).join()}`
    const until = 'it does nothing more until the id, the manifest or the retryTimestamp changes'
    return would(`the agent has done this deployment, with the result ${how}; ${until}`)
  }
  const action = look(next)
  const isLow = action.do === 'finish' && action.result.resultCode === RESULT_CODE.failure
  if (lowest !== undefined && deployment.plans.some(each => each.plan.kind === 'image')) {
    const detail = `version ${updateId.version}; this device takes nothing older than ${lowest}`
    list.push({ name: 'downgrade', outcome: isLow ? 'fail' : 'pass', detail })
  }
  if (action.do === 'finish' && isLow) {
    const { extendedResultCodes, resultDetails } = action.result
    const reason = resultDetails.replace(/ \([0-9A-F]{8}\)$/, '')
    return { verdict: 'refuse', extendedResultCode: ercText(extendedResultCodes[0] ?? 0), reason }
  }
  if (action.do === 'finish') {
    const is = image ? `the system is "${image.installedCriteria}" already` : 'no step has anything to do'
    return would(`${is}: the agent would report success and install nothing`)
  }
  if (!image) return would(`the agent would ${wouldDo(deployment)}`)
  const { bundle, installedCriteria } = image
  return would(`the agent would install ${bundle.fileName}: the system is "${version}", not "${installedCriteria}"`)
}
