import type { Deploy, FileEntity, PlannedStep, UpdateId, Verified } from './deployment.ts'

/** A system update: its bundle, with signed size and hash, and where to fetch it. */
export interface SystemUpdate {
  readonly updateId: UpdateId
  readonly installedCriteria: string
  readonly bundle: Verified<FileEntity>
  /** Undefined: the cloud has removed it after the download (PROTOCOL.md, "Contract of 2021"). */
  readonly url?: string
  /** The URL is that of a file in a folder. */
  readonly local?: true
}

/** The system update of a step that is an image; by default the first step. */
export function systemUpdateOf(
  { manifest: { updateId }, plans, local }: Pick<Deploy, 'manifest' | 'plans' | 'local'>,
  step: PlannedStep = plans[0],
): SystemUpdate {
  if (step.plan.kind !== 'image') throw new Error('a system update has the plan of an image')
  const { installedCriteria, bundle } = step.plan
  const url = step.urls[bundle.fileId]
  return { updateId, installedCriteria, bundle, ...(url === undefined ? {} : { url }), ...(local ? { local } : {}) }
}
