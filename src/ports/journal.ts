import type { Attempt } from '../domain/attempt.ts'
import type { Contract } from './contract.ts'

/**
 * What the journal holds. `lost`: there was an attempt, and nobody knows which, or how far it came. An image may be installed
 * again then; what may not run twice may have run.
 */
export type JournalContent =
  | { readonly is: 'none' }
  | { readonly is: 'lost'; readonly why: string }
  | { readonly is: 'attempt'; readonly attempt: Attempt }

/** What outlives a reboot. */
export interface Journal {
  /** What was written last; or what was written before, with `gap` set, when that alone can be read (which is logged). */
  read(): Promise<JournalContent>
  /** All or nothing, and on the disk when it resolves. */
  write(attempt: Attempt): Promise<void>
}

export const journalContract: Contract<Journal> = {
  read: ['JOURNAL'],
  write: ['JOURNAL'],
}
