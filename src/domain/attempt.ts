import type { Allowed, FirmwareUpdate, Origin, UpdateId, Workflow } from './deployment.ts'
import type { Judged } from './flight.ts'
import { EXTENDED_RESULT_CODE, RESULT_CODE } from './result-codes.ts'
import type { SlotName } from './slot.ts'
import { nextMayHaveRun, type StepRecord } from './step-record.ts'

/** When the stages of an attempt were reached (ISO 8601, by the device's own clock, for people to read). */
export interface Times {
  readonly begun: string
  readonly downloaded?: string
  readonly applying?: string
  readonly applied?: string
}

/** A result as reported. The first extended code is that of the overall result; any others are soft failures. */
export interface InstallResult {
  readonly resultCode: number
  readonly extendedResultCodes: readonly number[]
  readonly resultDetails: string
  /** The phase in which a failure happened. */
  readonly phase?: Phase
  /** The update that runs now, if it is not the attempt's. */
  readonly installed?: UpdateId
  /** No update is known to be what runs now. */
  readonly nothingKnown?: true
}

/** `download`: until the whole bundle is there. `apply`: until the new system starts. `trial`: after that. */
export type Phase = 'download' | 'apply' | 'trial'

/** A phase after which the agent waits for the next order. */
export type ReachedPhase = Exclude<Allowed, 'apply'>

/** Why this agent ordered a fall-back; the other slot reports it. */
export interface Cause {
  readonly extendedResultCode: number
  readonly details: string
}

/** The slot that the attempt tries, or its rollback; undefined before an image is installed. */
export const slotOnTrial = ({ rollback, installedTo }: Attempt): SlotName | undefined => rollback?.to ?? installedTo

/** What the agent gave a trial up for; undefined: it did not. */
export const judgedBy = (cause: Cause | undefined): Judged =>
  cause && (cause.extendedResultCode === EXTENDED_RESULT_CODE.HEALTH ? 'health' : 'other')

/** The update that runs after `result`: null if none is known, undefined if that is what ran before. */
export function runningUpdate(
  { updateId }: Pick<Attempt, 'updateId'>,
  { resultCode, installed, nothingKnown }: InstallResult,
): UpdateId | null | undefined {
  return resultCode === RESULT_CODE.applied ? updateId : nothingKnown ? null : installed
}

/** A rollback that was ordered at the device. */
export interface Rollback {
  readonly to: SlotName
  /** First line of the version file, there and in the slot that is left. */
  readonly version: string
  readonly from: string
}

/** Which deployment of the twin an attempt was for. */
export type Answered = Pick<Attempt, 'workflow' | 'fingerprint' | 'cancelledBy'>

/** An attempt that has ended, without what only the next attempt needs. */
export type Owed = Omit<Attempt, 'owed' | 'answered' | 'before' | 'result'> & { readonly result: InstallResult }

/** See `Attempt.format`. */
export const JOURNAL_FORMAT = 1 as const

/**
 * The agent's attempt at one deployment. The journal holds the newest one, with only what cannot be observed on the device.
 * After a fall-back, the *older* agent reads what the newer one wrote. So every format must have `workflow`, `fingerprint`,
 * `origin`, `updateId`, `installedCriteria`, `installedTo`, `milestones`, `cause`, `result`, `reported`, `vouched` and `rollback` as they are here.
 * Raise the format for any change other than a new optional member.
 */
export interface Attempt {
  /** Format of the journal's content. An agent that changes it raises the number. */
  readonly format: typeof JOURNAL_FORMAT
  readonly workflow: Workflow
  /** Distinguishes manifests that have the same id. */
  readonly fingerprint: string
  readonly updateId?: UpdateId
  readonly installedCriteria?: string
  /** Reported after the code of the overall result. */
  readonly extraCodes?: readonly number[]
  /** The update that was installed last before this attempt, and the criteria that show whether it still is. */
  readonly before?: { readonly updateId: UpdateId; readonly installedCriteria: string }
  /** The criteria of the last image of the list that was committed; of a later one they say nothing. */
  readonly committed?: string
  /** Installs begun; ends a crash loop. */
  readonly installs: number
  /** Times that a gate has paused the installation; ends a download that starts over after each. */
  readonly pauses?: number
  /** Reboots ordered; ends a reboot loop. */
  readonly reboots: number
  /** This slot holds the whole bundle. */
  readonly installedTo?: SlotName
  /** The hub has acknowledged that this phase is done; only where the cloud orders each phase by itself. */
  readonly reached?: ReachedPhase
  /** This slot holds a system that was committed once; nothing was written into it since. */
  readonly spare?: { readonly slot: SlotName; readonly version: string }
  /** Somebody at the device has vouched for the system on trial: it is committed whatever its health. */
  readonly vouched?: true
  /** Only after a result: the device goes back to the spare system. */
  readonly rollback?: Rollback
  /** How often somebody at the device has had this deployment tried again. */
  readonly retries?: number
  /** Units that had already failed in the old system when the new one was about to start. */
  readonly failedBefore?: readonly string[]
  /** Milestones of the trial boots, oldest first. */
  readonly milestones: readonly string[]
  /** One for each manifest step, in order; empty for a deployment that was refused before its steps were read. */
  readonly steps: readonly StepRecord[]
  readonly cause?: Cause
  /** Fingerprint of the cancel that ended this attempt. */
  readonly cancelledBy?: string
  readonly result?: InstallResult
  /** Why something may be missing: the last write, or everything before it, could not be read. */
  readonly gap?: string
  /** The hub has acknowledged `result`. */
  readonly reported: boolean
  readonly origin: Origin
  readonly times: Times
  /** The request of an origin that asks once: the attempt then carries its own deployment. */
  readonly own?: FirmwareUpdate
  /** Begun and activated without a connection to the hub, by somebody at the device, in processes that never had one: at the end of its time, the trial does not ask for one either. */
  readonly offline?: true
  /** An earlier attempt whose result the hub has not acknowledged: a local one may begin before that. */
  readonly owed?: Owed
  /** Only with `own`: the twin's deployment that was finished before. The twin still shows it, and it must not run again. */
  readonly answered?: Answered
}

/** The attempt after one lost write. The effect that follows that write may have happened: also one on the spare system's slot. */
export const afterGap = ({ spare: _, ...attempt }: Attempt, why: string): Attempt => ({
  ...attempt,
  gap: why,
  steps: nextMayHaveRun(attempt.steps),
})
