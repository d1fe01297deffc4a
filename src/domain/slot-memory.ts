import type { Attempt } from './attempt.ts'
import { RESULT_CODE } from './result-codes.ts'
import { other, type SlotName } from './slot.ts'

/** What the running system cannot observe: the content of the other slot, and the last good update. For people to read. */
export interface SlotMemory {
  /** The version in each slot; `null` if an installation began to write and did not finish. */
  readonly versions: Readonly<Partial<Record<SlotName, string | null>>>
  readonly lastUpdate?: {
    readonly workflowId: string
    readonly fingerprint: string
    /** Provider, name and version, or what requested the update. */
    readonly name: string
    /** ISO 8601, by the device's own clock. */
    readonly time: string
  }
}

/** The memory after `attempt` was written to the journal, in a system booted from `booted`. Pure. */
export function remember(memory: SlotMemory, attempt: Attempt, booted: SlotName, now: Date): SlotMemory {
  const { installs, installedTo, installedCriteria, own, origin, result, workflow, fingerprint, updateId } = attempt
  const rest = other(booted)
  const versions = { ...memory.versions }
  if (installs > 0 && installedTo === undefined) versions[rest] = null
  else if (installedTo === rest) {
    const version = installedCriteria ?? own?.version
    if (version === undefined) delete versions[rest]
    else versions[rest] = version
  }
  const last = memory.lastUpdate
  const isNew = last?.workflowId !== workflow.id || last.fingerprint !== fingerprint
  if (result?.resultCode !== RESULT_CODE.applied || !isNew) return { ...memory, versions }
  const id = updateId && `${updateId.provider} ${updateId.name} ${updateId.version}`
  const name =
    id ??
    [origin === 'firmwareUpdate' ? 'the method firmwareUpdate' : origin, installedCriteria]
      .filter(Boolean)
      .join(', version ')
  return { versions, lastUpdate: { workflowId: workflow.id, fingerprint, name, time: now.toISOString() } }
}
