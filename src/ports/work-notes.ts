import type { Contract } from './contract.ts'

/** Work that was started: how often it did not finish, and the boot of the last start. */
export interface WorkNote {
  readonly starts: number
  readonly boot: string
}

/** Notes that outlive the process, see CrashGuard. */
export interface WorkNotes {
  /** `boot` identifies the current boot. Notes that cannot be read count as none, which is logged. */
  read(): Promise<{ readonly boot: string; readonly begun: Readonly<Record<string, WorkNote>> }>
  /** Atomic; on the disk when it resolves. */
  write(begun: Readonly<Record<string, WorkNote>>): Promise<void>
}

export const workNotesContract: Contract<WorkNotes> = {
  read: ['JOURNAL'],
  write: ['JOURNAL'],
}
