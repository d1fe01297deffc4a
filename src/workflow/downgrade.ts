import type { Attempt } from '../domain/deployment.ts'
import { RESULT_CODE } from '../domain/result-codes.ts'

export interface DowngradePolicy {
  /** Whether the service may order an older version than the one that is installed. */
  readonly allowDowngrade: boolean
  /** No version below this one, whoever orders it. */
  readonly minimumVersion?: string
}

const VERSION = /^\d+(\.\d+){1,3}$/

/**
 * The lowest version that may be installed; undefined when any may. The version that is installed is that of the last
 * update that succeeded, for as long as the system is still the one it brought, else the version file where it holds nothing
 * but a version. Where neither tells, only `minimumVersion` counts.
 */
export function lowestVersion(
  { allowDowngrade, minimumVersion }: DowngradePolicy,
  attempt: Attempt | undefined,
  version: string,
): string | undefined {
  if (allowDowngrade) return minimumVersion
  const before = attempt?.before
  const installed = before?.installedCriteria === version ? before.updateId.version : version
  if (!VERSION.test(installed)) return minimumVersion
  return minimumVersion !== undefined && compareVersions(minimumVersion, installed) > 0 ? minimumVersion : installed
}

/** What was installed when an attempt begins after `last`. */
export function installedBefore(last: Attempt | undefined): Attempt['before'] {
  const { updateId, installedCriteria, result } = last ?? {}
  return result?.resultCode === RESULT_CODE.applied && updateId && installedCriteria !== undefined
    ? { updateId, installedCriteria }
    : last?.before
}

/** Of two to four numbers with dots; a missing one is 0. */
export function compareVersions(one: string, two: string): number {
  const [left, right] = [one, two].map(text => text.split('.').map(Number)) as [number[], number[]]
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0)
    if (difference !== 0) return Math.sign(difference)
  }
  return 0
}
