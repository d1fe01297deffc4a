import { CpioError, CpioReader } from './cpio.ts'
import { DescriptionError } from './setting.ts'
import { readDescription } from './sw-description.ts'
import { entriesOf } from './tree.ts'

/** The head of a bundle, `sw-description` with its signature, must end before this offset. */
export const MAX_HEAD_BYTES = 262_144

/**
 * Offset of the image in a bundle with a single image that is neither compressed nor encrypted, so that the slot will hold the
 * same bytes. "more": `head`, the first bytes of the bundle, is too short. Undefined for any other bundle. Trusts nothing and
 * refuses nothing.
 */
export function firstPlainImage(head: Buffer): number | 'more' | undefined {
  const names: string[] = []
  const description: Buffer[] = []
  try {
    for (const part of new CpioReader().push(head)) {
      if (part.is === 'content' && names.length === 1) description.push(part.bytes)
      if (part.is === 'trailer') return undefined
      if (part.is !== 'member') continue
      names.push(part.member.name)
      if (names.length === 3)
        return isPlain(Buffer.concat(description), part.member.name) ? part.member.first : undefined
    }
    return 'more'
  } catch (error) {
    if (error instanceof CpioError || error instanceof DescriptionError) return undefined
    throw error
  }
}

function isPlain(description: Buffer, name: string): boolean {
  return entriesOf(readDescription(description).root).every(({ settings }) => {
    const [file, compressed, encrypted] = ['filename', 'compressed', 'encrypted'].map(each => settings.get(each))
    const isOther = file?.is === 'text' && file.value !== name
    const isOff = (each: typeof file): boolean => !each || (each.is === 'boolean' && !each.value)
    return !isOther && isOff(compressed) && isOff(encrypted)
  })
}
