import { stat, statfs } from 'node:fs/promises'
import type { Plan } from './output.ts'

/** A folder's file system. */
export interface Space {
  readonly folder: string
  /** Bytes for us. */
  readonly free: number
  readonly fileSystem: number
}

/** Undefined when the folder cannot be looked at: then nothing is compared. */
export async function spaceOf(folder: string): Promise<Space | undefined> {
  try {
    const [{ dev }, { bavail, bsize }] = await Promise.all([stat(folder), statfs(folder)])
    return { folder, free: bavail * bsize, fileSystem: dev }
  } catch {
    return undefined
  }
}

/** For the lists, logs and backups that apt and dpkg write beside the packages, and what apt rounds. */
const MARGIN = 16_000_000

/**
 * What is lacking, as a clause; undefined when there is enough. `archives`: where apt keeps downloads; `system`: where packages are
 * unpacked. Both may be one file system.
 */
export function spaceLack(plan: Plan, archives: Space | undefined, system: Space | undefined): string | undefined {
  const { download, unpacked } = plan
  if (download + unpacked === 0) return undefined
  const isOne = archives !== undefined && archives.fileSystem === system?.fileSystem
  const needs: readonly (readonly [Space | undefined, number])[] = isOne
    ? [[system, download + unpacked]]
    : [
        [archives, download],
        [system, unpacked],
      ]
  const lacking = needs.find(([space, bytes]) => space !== undefined && bytes > 0 && space.free < bytes + MARGIN)
  if (!lacking?.[0]) return undefined
  const [{ folder, free }, bytes] = lacking
  return `the packages need ${megabytes(bytes + MARGIN)} in ${folder}, which has ${megabytes(free)} free`
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`
