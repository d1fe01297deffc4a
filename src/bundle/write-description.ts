import { UsageError } from '../domain/errors.ts'
import type { SlotName } from '../domain/slot.ts'
import { MAX_TEXT_BYTES } from './item.ts'

/** One image of a bundle as `sw-description` describes it. */
export interface ImageEntry {
  /** In the bundle. */
  readonly fileName: string
  /** SHA-256 of the file in the bundle, hexadecimal. */
  readonly sha256: string
  /** Where SWUpdate writes it; for a device with slots, another one for each. */
  readonly device: string
  readonly compressed?: 'zstd' | 'zlib'
  /** Its initialization vector, hexadecimal, if it is encrypted. */
  readonly ivt?: string
}

export interface SwDescription {
  readonly version: string
  readonly description?: string
  /** Revisions of the board, as after the colon in `swupdate -H board:revision`. */
  readonly hardware: readonly string[]
  readonly slots: Partial<Readonly<Record<SlotName, readonly ImageEntry[]>>>
  /** Bootloader variables that SWUpdate sets itself. Not needed: the agent activates a slot. */
  readonly bootEnv?: Readonly<Record<string, string>>
}

/** Writes a description; `-e stable,a` or `-e stable,b` selects the slot. Errors: UsageError for a text that it cannot hold. */
export function writeSwDescription(description: SwDescription): string {
  const { version, description: words, hardware, slots } = description
  const blocks = (['a', 'b'] as const).flatMap(slot => {
    const images = slots[slot]
    return images ? [slotBlock(slot, images, description.bootEnv ?? {})] : []
  })
  const lines = [
    `  version = ${quoted(version)};`,
    ...(words === undefined ? [] : [`  description = ${quoted(words)};`]),
    `  hardware-compatibility: [ ${hardware.map(quoted).join(', ')} ];`,
  ]
  return `software = {\n${lines.join('\n')}\n  stable = {\n${blocks.join('\n')}\n  };\n}\n`
}

function slotBlock(slot: SlotName, images: readonly ImageEntry[], bootEnv: Readonly<Record<string, string>>): string {
  const entries = images.map(
    ({ fileName, sha256, device, compressed, ivt }) => `{
        filename = ${quoted(fileName)}; type = "raw"; device = ${quoted(device)};
        ${compressed ? `compressed = ${quoted(compressed)}; ` : ''}installed-directly = true; sha256 = ${quoted(sha256)};${ivt ? ` encrypted = true; ivt = ${quoted(ivt)};` : ''}
      }`,
  )
  const variables = Object.entries(bootEnv).map(
    ([name, value]) => `{ name = ${quoted(name)}; value = ${quoted(value)}; }`,
  )
  const env = variables.length > 0 ? `\n      bootenv: ( ${variables.join(', ')} );` : ''
  return `    ${slot} = {\n      images: ( ${entries.join(', ')} );${env}\n    };`
}

function quoted(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for control characters
  if (/[\x00-\x1f\x7f]/.test(text)) {
    throw new UsageError(`${JSON.stringify(text)} has a control character, which sw-description cannot hold`)
  }
  if (Buffer.byteLength(text) > MAX_TEXT_BYTES) {
    throw new UsageError(`${JSON.stringify(text)} is longer than the ${MAX_TEXT_BYTES} bytes that SWUpdate reads`)
  }
  return `"${text.replace(/[\\"]/g, '\\$&')}"`
}
