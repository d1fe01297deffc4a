import { DescriptionError, type Group, type Setting } from './setting.ts'

export const SECTIONS = ['images', 'files', 'scripts', 'partitions'] as const
export type Section = (typeof SECTIONS)[number]

/** One entry of `images`, `files`, `scripts` or `partitions`. Missing texts are empty. */
export interface Item {
  readonly section: Section
  readonly line: number
  /** Name of its file in the bundle; only some scripts and partitions have none. */
  readonly fileName: string
  /** SWUpdate's handler; default: that of its section. */
  readonly type: string
  readonly device: string
  readonly path: string
  readonly volume: string
  /** SHA-256 of the file in the bundle, lower-case hexadecimal. */
  readonly sha256: string
  readonly compressed?: 'zlib' | 'zstd'
  readonly encrypted: boolean
  /** Hexadecimal; default: the vector of the device's key file. */
  readonly ivt: string
  readonly installedDirectly: boolean
  /** Lua function that SWUpdate calls while it reads the entry. */
  readonly hook: string
  /** All of them, with their lines. */
  readonly settings: Group['settings']
  /** Names that SWUpdate does not document. */
  readonly unknown: readonly string[]
}

const TEXTS = [
  'name',
  'version',
  'filename',
  'path',
  'volume',
  'device',
  'mtdname',
  'filesystem',
  'type',
  'data',
] as const
const MORE_TEXTS = ['sha256', 'ivt', 'hook'] as const
const FLAGS = [
  'installed-directly',
  'preserve-attributes',
  'install-if-different',
  'install-if-higher',
  'encrypted',
] as const
const OTHERS = ['compressed', 'offset', 'size', 'properties']
const KNOWN: ReadonlySet<string> = new Set([...TEXTS, ...MORE_TEXTS, ...FLAGS, ...OTHERS])

/** SWUpdate's buffers have 256 bytes. */
export const MAX_TEXT_BYTES = 255
/** SWUpdate (ustrtoull): a number as in C, with a unit. */
const OFFSET = /^(0[xX][\da-fA-F]{1,13}|0[0-7]{0,15}|[1-9]\d{0,14})([GMKk](i|iB)?)?$/

/** Errors: DescriptionError for a type that SWUpdate does not expect: it would ignore the setting or misread it. */
export function readItem(entry: Group, section: Section): Item {
  const { settings, line } = entry
  const text = (name: (typeof TEXTS)[number] | (typeof MORE_TEXTS)[number]): string =>
    textOf(settings.get(name), name)?.value ?? ''
  for (const name of TEXTS) text(name)
  const flag = (name: (typeof FLAGS)[number]): boolean => flagOf(settings.get(name), name)
  for (const name of FLAGS) flag(name)
  const fileName = text('filename')
  if (fileName === '' && (section === 'images' || section === 'files')) {
    throw new DescriptionError('policy', line, `has an entry of ${section} without a filename, which SWUpdate skips`)
  }
  const compressed = compressionOf(settings.get('compressed'))
  checkOffset(settings.get('offset'))
  checkSize(settings.get('size'))
  checkProperties(settings.get('properties'))
  return {
    ...{ section, line, fileName, settings, hook: text('hook') },
    type: text('type') || defaultType(section, text('volume'), text('device')),
    ...{ device: text('device'), path: text('path'), volume: text('volume') },
    sha256: hexOf(settings.get('sha256'), 'sha256', 64),
    ...(compressed ? { compressed } : {}),
    ...{ encrypted: flag('encrypted'), ivt: hexOf(settings.get('ivt'), 'ivt', 32) },
    installedDirectly: flag('installed-directly'),
    unknown: [...settings.keys()].filter(name => !KNOWN.has(name)),
  }
}

function defaultType(section: Section, volume: string, device: string): string {
  if (section === 'files') return 'rawfile'
  if (section === 'scripts') return 'lua'
  if (section === 'partitions') return 'ubipartition'
  return volume ? 'ubivol' : device ? 'raw' : ''
}

/** Errors: DescriptionError for another type, and for a text that SWUpdate would truncate. */
export function textOf(setting: Setting | undefined, name: string): (Setting & { is: 'text' }) | undefined {
  if (!setting) return undefined
  if (setting.is !== 'text') throw new DescriptionError('policy', setting.line, `has a ${name} that is not a text`)
  if (Buffer.byteLength(setting.value) > MAX_TEXT_BYTES) {
    throw new DescriptionError('policy', setting.line, `has a ${name} of more than ${MAX_TEXT_BYTES} bytes`)
  }
  return setting
}

function flagOf(setting: Setting | undefined, name: string): boolean {
  if (!setting) return false
  if (setting.is !== 'boolean')
    throw new DescriptionError('policy', setting.line, `has ${name} that is not true or false`)
  return setting.value
}

function hexOf(setting: Setting | undefined, name: string, digits: number): string {
  const text = textOf(setting, name)?.value
  if (text === undefined || (text.length === digits && /^[\da-f]+$/i.test(text))) return text?.toLowerCase() ?? ''
  throw new DescriptionError('policy', setting!.line, `has a ${name} that is not ${digits} hexadecimal digits`)
}

function compressionOf(setting: Setting | undefined): 'zlib' | 'zstd' | undefined {
  if (!setting) return undefined
  // `true` is the older form of zlib.
  if (setting.is === 'boolean') return setting.value ? 'zlib' : undefined
  if (setting.is === 'text' && (setting.value === 'zlib' || setting.value === 'zstd')) return setting.value
  throw new DescriptionError('policy', setting.line, 'has compressed that is not "zlib" or "zstd"')
}

function checkOffset(setting: Setting | undefined): void {
  if (!setting) return
  const isNumber = (setting.is === 'integer' || setting.is === 'long') && setting.value >= 0
  if (isNumber || (setting.is === 'text' && setting.value.length < 32 && OFFSET.test(setting.value))) return
  throw new DescriptionError(
    'policy',
    setting.line,
    'has an offset that is not a number, or a number with a unit like "1M"',
  )
}

function checkSize(setting: Setting | undefined): void {
  if (!setting || ((setting.is === 'integer' || setting.is === 'long') && setting.value >= 0)) return
  throw new DescriptionError('policy', setting.line, 'has a size that is not a number')
}

function checkProperties(setting: Setting | undefined): void {
  if (!setting) return
  const isText = (each: Setting): boolean => each.is === 'text'
  const values = setting.is === 'group' ? [...setting.settings.values()] : []
  const isSound = values.every(each => isText(each) || (each.is === 'array' && each.items.every(isText)))
  if (setting.is === 'group' && isSound) return
  throw new DescriptionError('policy', setting.line, 'has properties that are not a group of texts')
}
