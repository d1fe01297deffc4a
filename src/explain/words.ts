/** The explanation of a code. */
export interface Words {
  /** What the code means, as a clause without a full stop. */
  readonly means: string
  /** What to do about it, in one sentence. */
  readonly next: string
}

export const words = (means: string, next: string): Words => ({ means, next })

/** What several codes ask for. */
export const IMPORT_AGAIN = 'Import the update again with a corrected import manifest.'
export const DISK = 'Check the device’s data partition: free space, and `dmesg` for errors of the card.'
