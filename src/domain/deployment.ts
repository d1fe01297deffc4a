import type { CommandRequest } from './command.ts'
import type { AgentError } from './errors.ts'

declare const verified: unique symbol
/** A value whose signature or hash was checked. Only `trust/` can make one. */
export type Verified<T> = T & { readonly [verified]: true }

declare const selfSigned: unique symbol
/** Bytes without a signed hash: only for a reader that checks the bundle's own signature. Only `trust/` can make one. */
export type SelfSigned<T> = T & { readonly [selfSigned]: true }

export interface UpdateId {
  readonly provider: string
  readonly name: string
  readonly version: string
}

/** One entry of `files` of an update manifest (PROTOCOL.md, "Files of a manifest"). */
export interface FileEntity {
  readonly fileId: string
  readonly fileName: string
  readonly sizeInBytes: number
  /** 32 bytes. */
  readonly sha256: Buffer
}

/** One entry of `instructions.steps` (PROTOCOL.md, "Manifest with steps"). */
export type ManifestStep = InlineStep | ReferenceStep

/** A step with its own handler and files. */
export interface InlineStep {
  readonly type: 'inline'
  /** For example `microsoft/swupdate:2`. */
  readonly handler: string
  readonly files: readonly Verified<FileEntity>[]
  readonly handlerProperties: Readonly<Record<string, unknown>>
}

/** The update of a component: a node of the tree, whose own steps are in a child manifest. */
export interface ReferenceStep {
  readonly type: 'reference'
  /** The file with the child manifest. */
  readonly file: Verified<FileEntity>
  readonly child: Verified<ChildManifest>
}

export interface UpdateManifest {
  /** As sent: "1", "2.0", "4", "5". */
  readonly manifestVersion: string
  readonly updateId: UpdateId
  readonly compatibility: readonly Readonly<Record<string, string>>[]
  readonly steps: readonly ManifestStep[]
  /** As sent; only informational, even when signed. */
  readonly createdDateTime?: string
}

/** The tree has two levels: a child manifest has no reference steps. */
export interface ChildManifest extends UpdateManifest {
  readonly steps: readonly InlineStep[]
}

/** Names a deployment of the service; echoed in every report. */
export interface Workflow {
  /** 3: process deployment, 255: cancel. */
  readonly action: number
  readonly id: string
  readonly retryTimestamp?: string
}

/**
 * The bundle is written to the other slot, which is then tried. The workflow owns slots, trial and commit; a plan only
 * requests them.
 */
export interface ImagePlan {
  readonly kind: 'image'
  /** Equal to the first line of the version file when the update is installed. */
  readonly installedCriteria: string
  readonly bundle: Verified<FileEntity>
}

/**
 * Work that the step service carries out as root, after it has verified the same signed text itself (`Steps` in
 * `ports/steps.ts`): packages, a script, or a handler of the device's owner.
 */
export interface WorkPlan {
  readonly kind: 'work'
  readonly installedCriteria?: string
  /** The files that are needed to ask whether the step is installed, such as its script. */
  readonly probe: readonly Verified<FileEntity>[]
  /** The other files. */
  readonly payload: readonly Verified<FileEntity>[]
  readonly work: AptWork | ScriptWork | OwnWork
}

/** `microsoft/apt:1` (PROTOCOL.md, "APT manifest"). */
export interface AptWork {
  readonly is: 'apt'
  /** The APT manifest. */
  readonly manifest: Verified<FileEntity>
}

/** `microsoft/script:1`, and `microsoft/swupdate:2` with `scriptFileName` (PROTOCOL.md, "Script contract"). */
export interface ScriptWork {
  readonly is: 'script'
  readonly script: Verified<FileEntity>
  /** Words; component tokens are not replaced yet. */
  readonly arguments: readonly string[]
  readonly apiVersion: '1.0' | '1.1'
  /** Only for `microsoft/swupdate:2`: the name of the image's file. */
  readonly swuFileName?: string
}

/** An executable of the device's owner, named after its handler. */
export interface OwnWork {
  readonly is: 'own'
  readonly handler: string
  readonly properties: Readonly<Record<string, unknown>>
}

/** There is nothing to do, because no component matches the step. The step is reported as skipped, with code 604. */
export interface NothingPlan {
  readonly kind: 'nothing'
  /** Shown in the report. */
  readonly why: string
}

/** What a handler has read from its manifest step: only signed content. */
export type Plan = ImagePlan | WorkPlan | NothingPlan

/** A part of the device that is updated through it (PROTOCOL.md, "Components"). */
export interface Component {
  readonly id: string
  readonly name: string
  readonly group?: string
  readonly manufacturer?: string
  readonly model?: string
  readonly version?: string
  readonly properties: Readonly<Record<string, string>>
}

/** A manifest step that can be carried out. */
export interface PlannedStep {
  /** Index of the step in its manifest; below a reference step, one more index for each level. */
  readonly path: readonly number[]
  readonly handler: string
  readonly plan: Plan
  /** Undefined: the host. */
  readonly component?: Component
  /** By file id, for every file that the plan needs and that can still be fetched: http or https, from an allowed host. Unsigned. */
  readonly urls: Readonly<Record<string, string>>
}

/** In order of execution. */
export type Plans = readonly [PlannedStep, ...PlannedStep[]]

/** What was signed, as sent: whoever carries out a step verifies it again. */
export interface SignedText {
  readonly manifest: string
  readonly signature: string
  /** Detached manifests and those of reference steps. The signed text has their hashes. */
  readonly detached: readonly string[]
}

/** A manifest whose steps this device can all carry out. */
export interface Deploy {
  readonly kind: 'deploy'
  /** Brought to the device: its URLs are those of files in a folder. */
  readonly local?: true
  readonly signed: SignedText
  readonly manifest: Verified<UpdateManifest>
  readonly plans: Plans
}

/**
 * How far the cloud lets an update go, where it orders each phase by itself (PROTOCOL.md, "Contract of 2021"). Each phase
 * includes those before it.
 */
export type Allowed = 'download' | 'install' | 'apply'

/** What is known about every deployment of the twin, even a refused one. */
export interface Named {
  readonly workflow: Workflow
  /** Undefined: the device goes all the way. */
  readonly allowed?: Allowed
  /** Distinguishes deployments that have the same id but different content. */
  readonly fingerprint: string
  /** For the reports: codes from the verification, such as the one for the root key package. */
  readonly extraCodes?: readonly number[]
}

export type Cancel = Named & { readonly kind: 'cancel' }
export type Refusal = Named & { readonly kind: 'refuse'; readonly error: AgentError; readonly updateId?: UpdateId }

/** What the twin requests. */
export type Deployment = (Named & Deploy) | Cancel | Refusal

/** Requested once. Without `updateId` there is no signed manifest: only the bundle's own signature protects the device, which SWUpdate checks. */
export interface FirmwareUpdate {
  /** https, from an allowed host, or locally a file: URL. */
  readonly url: string
  /** Requested at the device. */
  readonly local?: true
  /** A list of steps from a folder. `url` is that of its `deployment.json`, from which each process reads the list again. */
  readonly list?: true
  /** From the signed manifest of a local deployment, as are the other members then. */
  readonly updateId?: UpdateId
  /** 64 lower-case hexadecimal digits. */
  readonly sha256?: string
  readonly sizeInBytes?: number
  /** First line of the version file of the new system; of a list, that of its first image. */
  readonly version?: string
}

/**
 * The name of the source of an update. The twin (`deviceUpdate`) shows its request as long as it is wanted; every other
 * origin asks once and gets an answer.
 */
export type Origin = string

/** The only origin whose request persists. */
export const TWIN: Origin = 'deviceUpdate'

/** An update requested once, such as an accepted call of `firmwareUpdate`. */
export interface OnceDeployment {
  readonly kind: 'once'
  readonly origin: Origin
  readonly workflow: Workflow
  readonly fingerprint: string
  readonly update: FirmwareUpdate
  /** What `update.list` promises. */
  readonly list?: Deploy
}

/** A request made once: an update, just a reboot, or an order given at the device. */
export type Request = OnceDeployment | { readonly kind: 'reboot'; readonly origin: Origin } | CommandRequest
