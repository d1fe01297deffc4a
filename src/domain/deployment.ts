import type { AgentError } from './errors.ts'
import type { SlotName } from './slot.ts'

declare const verified: unique symbol
/** A value whose signature or hash was checked. Only `trust/` makes one. */
export type Verified<T> = T & { readonly [verified]: true }

declare const selfSigned: unique symbol
/** Bytes that nobody has vouched for: only for a reader that checks the bundle's own signature. Only `trust/` makes one. */
export type SelfSigned<T> = T & { readonly [selfSigned]: true }

export interface UpdateId {
  readonly provider: string
  readonly name: string
  readonly version: string
}

/** One entry of `files` of an update manifest (protocol, chapter 3.3). */
export interface FileEntity {
  readonly fileId: string
  readonly fileName: string
  readonly sizeInBytes: number
  /** 32 bytes. */
  readonly sha256: Buffer
}

/** An inline step: what to do, with which files. */
export interface ManifestStep {
  /** For example `microsoft/swupdate:2`. */
  readonly handler: string
  readonly files: readonly FileEntity[]
  readonly handlerProperties: Readonly<Record<string, unknown>>
}

export interface UpdateManifest {
  /** As sent: "1", "2.0", "4", "5". */
  readonly manifestVersion: string
  readonly updateId: UpdateId
  readonly compatibility: readonly Readonly<Record<string, string>>[]
  readonly steps: readonly ManifestStep[]
  /** As sent; informational, and no more than a hint even when signed. */
  readonly createdDateTime?: string
}

/** Names an order of the service; echoed in every report. */
export interface Workflow {
  /** 3: process deployment, 255: cancel. */
  readonly action: number
  readonly id: string
  readonly retryTimestamp?: string
}

/** What a system update comes down to, once its manifest step has been read: one bundle, and how to know it is there. */
export interface SystemUpdate {
  readonly updateId: UpdateId
  /** Equal to the first line of the version file when the update is installed. */
  readonly installedCriteria: string
  readonly bundle: FileEntity
  /** http or https. Unsigned: only ever a place to fetch from. */
  readonly url: string
}

/** What the twin asks for. */
export type Order = {
  readonly workflow: Workflow
  readonly fingerprint: string
  /** Of what was noticed while the order was verified, for its reports: how the root key package was found. */
  readonly extraCodes?: readonly number[]
} & (
  | { readonly kind: 'deploy'; readonly update: Verified<SystemUpdate> }
  | { readonly kind: 'cancel' }
  | { readonly kind: 'refuse'; readonly error: AgentError; readonly updateId?: UpdateId }
)

/**
 * What a call of `firmwareUpdate` asks for. No signed manifest stands behind it: that the bundle is a good one is for
 * SWUpdate's own signature to say, and the URL is only ever a place to fetch from.
 */
export interface FirmwareUpdate {
  /** https, of an allowed host. */
  readonly url: string
  /** 64 lower-case hexadecimal digits. */
  readonly sha256?: string
  readonly sizeInBytes?: number
  /** First line of the version file of the new system. */
  readonly version?: string
}

/** A call of `firmwareUpdate` that was admitted. */
export interface FirmwareOrder {
  readonly kind: 'firmware'
  readonly workflow: Workflow
  readonly fingerprint: string
  readonly update: FirmwareUpdate
}

/** What a direct method wants from the loop. */
export type MethodRequest = FirmwareOrder | { readonly kind: 'restart' }

/** In the journal: the call, and when its stages were reached (ISO 8601, for people to read). */
export interface FirmwareRecord {
  readonly update: FirmwareUpdate
  readonly startedWaitingTime: string
  readonly downloadCompleteTime?: string
  readonly startedApplyingImage?: string
  readonly lastFirmwareUpdate?: string
}

/** As reported. The first extended code is the overall result's; any others are soft failures on the way. */
export interface InstallResult {
  readonly resultCode: number
  readonly extendedResultCodes: readonly number[]
  readonly resultDetails: string
  /** `resultCode` of the one step, when it differs from the overall one. */
  readonly stepResultCode?: number
}

/** Why this agent ordered a fall-back, kept for the other slot to report. */
export interface Cause {
  readonly extendedResultCode: number
  readonly details: string
}

/** Which order of the twin an attempt was for. */
export type Answered = Pick<Attempt, 'workflow' | 'fingerprint' | 'cancelledBy'>

/**
 * Our try at one order: the journal holds the newest, and in it only what cannot be seen by looking at the device.
 * After a fall-back the *older* agent reads what the newer one wrote: add fields, never change one.
 */
export interface Attempt {
  readonly workflow: Workflow
  /** Tells another manifest under the same id apart. */
  readonly fingerprint: string
  readonly updateId?: UpdateId
  readonly installedCriteria?: string
  /** Reported behind the overall result's code. */
  readonly extraCodes?: readonly number[]
  /** The update that was installed last before this attempt began, and how to know that it still is. */
  readonly before?: { readonly updateId: UpdateId; readonly installedCriteria: string }
  /** Installs begun; ends a crash loop. */
  readonly installs: number
  /** Reboots ordered; ends a reboot loop. */
  readonly reboots: number
  /** This slot holds the whole bundle. */
  readonly installedTo?: SlotName
  /** Units that had failed in the old system already, when the new one was about to start. */
  readonly failedBefore?: readonly string[]
  /** What the trial boots reached, oldest first. */
  readonly milestones: readonly string[]
  readonly cause?: Cause
  /** Fingerprint of the cancel that ended this attempt. */
  readonly cancelledBy?: string
  readonly result?: InstallResult
  /** The hub has acknowledged `result`. */
  readonly reported: boolean
  /** Ordered by the method `firmwareUpdate`, not by the twin: this attempt is its own order. */
  readonly firmware?: FirmwareRecord
  /** Beside `firmware`: the order of the twin that was done with before. The twin still shows it, and it is not to be done again. */
  readonly answered?: Answered
}
