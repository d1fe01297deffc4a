import type { BootState, SlotName } from '../domain/slot.ts'
import type { Contract } from './contract.ts'

/**
 * The bootloader. Every write is all or nothing, also across a power cut, and may be repeated. A trial is armed, then started by
 * a reboot. If the bootloader counts the starts itself (U-Boot), any restart after `arm` is the trial. If the reboot is the
 * activation (tryboot), only the reboot after `start` is; the armed slot stays `primary` until then.
 */
export interface BootControl {
  read(signal: AbortSignal): Promise<BootState>
  /** `slot` becomes primary, with its trial pending. The booted system runs on. */
  arm(slot: SlotName, signal: AbortSignal): Promise<void>
  /** Makes the next reboot start the armed slot. Returns the arguments that this reboot needs (`Host.reboot`). */
  start(signal: AbortSignal): Promise<readonly string[]>
  /** Makes the booted slot primary, without a trial: commits a good one, or drops one that was not started. */
  commit(signal: AbortSignal): Promise<void>
  /** The trial failed: makes the other slot primary. */
  fallBack(signal: AbortSignal): Promise<void>
}

export const bootControlContract: Contract<BootControl> = {
  read: ['BOOT_STATE'],
  arm: ['BOOT_STATE'],
  start: ['BOOT_STATE'],
  commit: ['BOOT_STATE'],
  fallBack: ['BOOT_STATE'],
}
