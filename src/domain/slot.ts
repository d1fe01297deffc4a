/** A copy of the system. The two names are used everywhere: partition labels, boot state, SWUpdate selections, CLI. */
export type SlotName = 'a' | 'b'

export const other = (slot: SlotName): SlotName => (slot === 'a' ? 'b' : 'a')

export const isSlotName = (text: unknown): text is SlotName => text === 'a' || text === 'b'

/**
 * The boot state as one snapshot, in our words. It lives in one file of at most 512 bytes that the boot script and the
 * agent share, so that every change of it is a single sector.
 */
export interface BootState {
  /** Running now, from the kernel command line. */
  readonly booted: SlotName
  /** Started next. */
  readonly primary: SlotName
  /** `pending`: `primary` is on trial. `failed`: a trial ended and `primary` is the slot that was fallen back to. */
  readonly trial: 'none' | 'pending' | 'failed'
  /** Starts of `primary` that the boot script still allows while the trial is pending. */
  readonly tries: number
}
