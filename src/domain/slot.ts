/** A copy of the system. The two names are used everywhere: partition labels, boot state, SWUpdate selections, CLI. */
export type SlotName = 'a' | 'b'

export const other = (slot: SlotName): SlotName => (slot === 'a' ? 'b' : 'a')

export const isSlotName = (text: unknown): text is SlotName => text === 'a' || text === 'b'

/**
 * A snapshot of the boot state, in the agent's terms. It is in one file of at most 512 bytes that the boot script and the
 * agent share, so every change writes a single sector.
 */
export interface BootState {
  /** The running slot, from the kernel command line. */
  readonly booted: SlotName
  /** The slot to start next. */
  readonly primary: SlotName
  /** `pending`: `primary` is on trial. `failed`: a trial failed, and `primary` is the slot that the device fell back to. */
  readonly trial: 'none' | 'pending' | 'failed'
  /** Starts of `primary` that the boot script still allows while the trial is pending. */
  readonly tries: number
}
