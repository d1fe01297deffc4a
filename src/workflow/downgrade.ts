import type { Attempt } from '../domain/attempt.ts'
import type { FirmwareUpdate } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import { RESULT_CODE } from '../domain/result-codes.ts'
import { compareVersions } from '../domain/versions.ts'
import type { TwinSide } from '../sources/device-update/twin-side.ts'
import type { Loop } from '../sources/once-source.ts'
import type { Observed } from './action.ts'

export interface DowngradePolicy {
  /** Whether the service may deploy a version older than the installed one. */
  readonly allowDowngrade: boolean
  /** Whether a local deployment may be older too. Default: no, because a signature does not expire. */
  readonly allowLocalDowngrade?: boolean
  /** The lowest version allowed, whatever the origin. */
  readonly minimumVersion?: string
}

const VERSION = /^\d+(\.\d+){1,3}$/

/**
 * The lowest version that may be installed; undefined when any may. The installed version is that of the last update that
 * this device installed and committed, as long as its system is still running. Otherwise it is the content of the version
 * file, if that is a plain version. If neither is known, only `minimumVersion` counts.
 */
export function lowestVersion(
  { allowDowngrade, allowLocalDowngrade = false, minimumVersion }: DowngradePolicy,
  attempt: Pick<Attempt, 'before' | 'own'> | undefined,
  version: string,
): string | undefined {
  if (attempt?.own?.local ? allowLocalDowngrade : allowDowngrade) return minimumVersion
  const before = attempt?.before
  const installed = before?.installedCriteria === version ? before.updateId.version : version
  if (!VERSION.test(installed)) return minimumVersion
  return minimumVersion !== undefined && compareVersions(minimumVersion, installed) > 0 ? minimumVersion : installed
}

/** What the loop knows about a local deployment before it begins. */
export const localVerdict = (
  known: () => {
    readonly twin: Pick<TwinSide, 'verifyLocal'>
    readonly seen: Pick<Observed, 'attempt' | 'version'> | undefined
  },
  policy: DowngradePolicy,
): Pick<Loop, 'verify' | 'objection'> => ({
  verify: (...given) => known().twin.verifyLocal(...given),
  objection(update) {
    const { seen } = known()
    return seen && objection(update, seen, policy)
  },
})

/** Why a local update need not or must not begin; a bundle says its version only to the installer, which checks it. */
function objection(
  update: FirmwareUpdate,
  { attempt, version }: { readonly attempt: Attempt | undefined; readonly version: string },
  policy: DowngradePolicy,
): AgentError | undefined {
  // Its other steps have their turn, and without an image its version says nothing about the system.
  if (update.list && (update.version === undefined || update.version === version)) return undefined
  if (update.version === version) return new AgentError('LOCAL_INSTALLED', `version ${version} is running already`)
  const before = installedBefore(attempt, version)
  const lowest = lowestVersion(policy, { own: update, ...(before ? { before } : {}) }, version)
  const wanted = update.updateId?.version
  if (wanted === undefined || lowest === undefined || compareVersions(wanted, lowest) >= 0) return undefined
  return new AgentError('DOWNGRADE', tooLow(wanted, lowest))
}

/** Whether a system of this version may not run, as far as its version tells. */
export const isBelow = (version: string, minimumVersion: string): boolean =>
  VERSION.test(version) && compareVersions(version, minimumVersion) < 0

export const tooLow = (version: string, lowest: string): string =>
  `version ${version} is older than ${lowest}, the lowest that this device may take`

/**
 * What is installed when an attempt begins after `last`. A deployment whose version was already installed has changed
 * nothing, so its update id says nothing about the system. `version`: what runs now, if that is known.
 */
export function installedBefore(last: Attempt | undefined, version?: string): Attempt['before'] {
  const { updateId, committed, installedTo, result } = last ?? {}
  const isApplied = installedTo !== undefined && result?.resultCode === RESULT_CODE.applied
  // A list may fail after its image was committed, or because that image does not run any more.
  const isThere = version === undefined || committed === version
  const criteria = isApplied ? last?.installedCriteria : isThere ? committed : undefined
  return updateId && criteria !== undefined ? { updateId, installedCriteria: criteria } : last?.before
}
