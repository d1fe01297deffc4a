import type { SelfSigned, Verified } from '../domain/deployment.ts'
import type { SlotName } from '../domain/slot.ts'
import type { Contract } from './contract.ts'

/** A bundle's bytes: from a signed manifest, or with the bundle's own signature only. */
export type Bundle = Verified<AsyncIterable<Buffer>> | SelfSigned<AsyncIterable<Buffer>>

/** Writes a bundle into a slot, after it has checked the bundle's own signature. */
export interface Installer {
  /**
   * Reads `bundle` to its end and installs it into the slot `into`, which must not be the booted one. When this resolves,
   * everything is on the disk. A piece of `bundle` must be valid until the next is requested. If `bundle` throws, this throws the same
   * error, and `into` is not usable. Abort stops the installation; `into` may be half written. Never touches the boot state. Refuses
   * a bundle whose version is below `lowest`, and one that does anything else than write `into`.
   */
  install(bundle: Bundle, into: SlotName, signal: AbortSignal, lowest?: string): Promise<void>
}

export const installerContract: Contract<Installer> = {
  install: [
    ...(['SWUPDATE_FAILED', 'SWUPDATE_STALLED', 'CHILD_KILLED', 'WORK_FOLDER'] as const),
    ...(['SLOT', 'SLOT_IN_USE', 'SPACE'] as const),
    ...(['BUNDLE_FORMAT', 'BUNDLE_BEHIND', 'BUNDLE_UNSIGNED', 'BUNDLE_DESCRIPTION', 'BUNDLE_FILE'] as const),
    ...(['BUNDLE_NO_IMAGE', 'BUNDLE_HASH', 'BUNDLE_DEVICE', 'BUNDLE_HANDLER', 'BUNDLE_ATTRIBUTE'] as const),
    ...(['BUNDLE_STAGED', 'BUNDLE_SCRIPT', 'BUNDLE_LUA', 'BUNDLE_BOOT_VARIABLE', 'BUNDLE_FILES'] as const),
    ...(['BUNDLE_PARTITION', 'BUNDLE_UNWRITTEN'] as const),
  ],
}
