import type { FileEntity, Verified } from '../domain/deployment.ts'
import type { Contract } from './contract.ts'

/** The folder of one step's files, below that of its workflow. Both parts are safe names (`isSafeName`). */
export interface StepFolder {
  readonly workflowId: string
  /** Where the step is in the manifest's tree. The parts of a component's update share the folder, whatever the component. */
  readonly path: readonly number[]
}

/** Keeps the files of steps until they have run (PROTOCOL.md, "Downloads"). */
export interface WorkFolder {
  /** The folder's absolute path; it need not exist. */
  where(folder: StepFolder): string
  /** Whether `file` is there, whole and right: its size and SHA-256 are compared. */
  has(folder: StepFolder, file: Verified<FileEntity>): Promise<boolean>
  /** Writes `file`; it has its name only when all of it is on the disk. If `bytes` throws, this throws the same error. */
  write(folder: StepFolder, file: Verified<FileEntity>, bytes: Verified<AsyncIterable<Buffer>>): Promise<void>
  /** Bytes that may be written. */
  free(): Promise<number>
  /** Removes the folders of all workflows but this one. Errors are logged. */
  keepOnly(workflowId: string | undefined): Promise<void>
}

export const workFolderContract: Contract<WorkFolder> = {
  has: ['WORK_FOLDER'],
  write: ['WORK_FOLDER', 'SPACE'],
  free: ['WORK_FOLDER'],
  keepOnly: [],
}
