import { EXIT, Failure } from '../failure.ts'

export type SlotName = 'a' | 'b'

/** One image of a bundle as `sw-description` tells it. */
export interface ImageEntry {
  /** In the bundle. */
  readonly fileName: string
  /** Hexadecimal, of the file as it lies in the bundle. */
  readonly sha256: string
  /** Where SWUpdate writes it; for a device with slots, another one for each. */
  readonly device: string
  readonly compressed?: 'zstd' | 'zlib'
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

/** SWUpdate's list of what is in a bundle, in libconfig's language; `-e stable,a` or `-e stable,b` selects the slot. */
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
    ({ fileName, sha256, device, compressed }) => `{
        filename = ${quoted(fileName)}; type = "raw"; device = ${quoted(device)};
        ${compressed ? `compressed = ${quoted(compressed)}; ` : ''}installed-directly = true; sha256 = ${quoted(sha256)};
      }`,
  )
  const variables = Object.entries(bootEnv).map(
    ([name, value]) => `{ name = ${quoted(name)}; value = ${quoted(value)}; }`,
  )
  const env = variables.length > 0 ? `\n      bootenv: ( ${variables.join(', ')} );` : ''
  return `    ${slot} = {\n      images: ( ${entries.join(', ')} );${env}\n    };`
}

function quoted(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\x00-\x1f\x7f]/.test(text)) {
    throw new Failure(EXIT.usage, `${JSON.stringify(text)} has a control character, which sw-description cannot hold`)
  }
  return `"${text.replace(/[\\"]/g, '\\$&')}"`
}
