import type { Item } from './item.ts'
import type { RefusalKind } from './setting.ts'
import type { Software } from './sw-description.ts'

/** Why a device could not install what a description selects. */
export interface Objection {
  readonly kind: RefusalKind
  readonly line: number
  readonly message: string
}

/** SWUpdate's handlers in Debian 12 and 13 (`register_handler`, HANDLER_MASK). */
const CONTENT = [
  'raw',
  'rawfile',
  'archive',
  'tar',
  'flash',
  'delta',
  'rdiff_image',
  'rdiff_file',
  'gptpart',
  'swuforward',
]
const SCRIPTS = ['lua', 'shellscript', 'preinstall', 'postinstall']
const SCRIPTS_WITHOUT_FILE = ['toggleboot', 'gptswap']
const PARTITIONERS = ['diskpart', 'diskformat', 'uniqueuuid', 'ubipartition']

const HANDLERS: Readonly<Record<Item['section'], readonly string[]>> = {
  images: CONTENT,
  files: CONTENT,
  scripts: [...SCRIPTS, ...SCRIPTS_WITHOUT_FILE],
  partitions: PARTITIONERS,
}
const WITHOUT_FILE: ReadonlySet<string> = new Set([...SCRIPTS_WITHOUT_FILE, ...PARTITIONERS])

/** Why this selection could not be installed. `files`: the names in the bundle. Pure. */
export function objectionsTo(software: Software, files: ReadonlySet<string>): Objection[] {
  const { images, files: copies, scripts, partitions, bootEnv, embeddedScript, version } = software
  const items = [...images, ...copies, ...scripts, ...partitions]
  const found = items.flatMap(item => ofItem(item, files))
  if (items.length + bootEnv.length === 0) found.push(swupdate(version.line, 'selects nothing to install'))
  for (const [index, item] of items.entries()) {
    const twin = items.slice(0, index).find(each => each.fileName !== '' && each.fileName === item.fileName)
    const isAlone =
      item.installedDirectly ||
      twin?.installedDirectly ||
      (item.section === 'scripts') !== (twin?.section === 'scripts')
    if (twin && isAlone) found.push(policy(item.line, `uses ${item.fileName} twice, also in line ${twin.line}`))
  }
  if (embeddedScript) found.push(policy(embeddedScript.line, 'has an embedded-script, whose effect cannot be checked'))
  return found
}

function ofItem(item: Item, files: ReadonlySet<string>): Objection[] {
  const { section, line, fileName, type, sha256, device, settings } = item
  const found: Objection[] = []
  if (!HANDLERS[section].includes(type)) {
    const what = type
      ? `has the type "${type}" in ${section}, which is not a handler for them`
      : `has no type in ${section}`
    found.push(policy(line, what))
  }
  if (fileName === '') {
    if (!WITHOUT_FILE.has(type)) found.push(policy(line, `has an entry of ${section} without a filename`))
  } else {
    if (!files.has(fileName)) found.push(swupdate(line, `names ${fileName}, which is not in the bundle`))
    if (!/^[^/]{1,200}$/.test(fileName) || /^(sw-description|\.\.?$|TRAILER!!!$)/.test(fileName)) {
      found.push(policy(line, `has the filename ${JSON.stringify(fileName)}`))
    }
    if (/^0*$/.test(sha256)) found.push(swupdate(line, `has no sha256 for ${fileName}`))
  }
  if (section === 'partitions') {
    if (device === '') found.push(policy(line, 'has a partition without a device'))
    const name = settings.get('name')
    if (type === 'ubipartition' && !(name?.is === 'text' && name.value))
      found.push(policy(line, 'has a volume without a name'))
  }
  if (type === 'raw' && device === '') found.push(policy(line, `has no device for ${fileName}`))
  return found
}

const swupdate = (line: number, message: string): Objection => ({ kind: 'swupdate', line, message })
const policy = (line: number, message: string): Objection => ({ kind: 'policy', line, message })

/**
 * Whether a description names a board of this revision. A regular expression is evaluated only where POSIX and JavaScript agree
 * on it; any other matches nothing.
 */
export function fits({ hardware }: Pick<Software, 'hardware'>, revision: string): boolean {
  return hardware.some(({ value }) => {
    if (!value.startsWith(PATTERN)) return value === revision
    const pattern = value.slice(PATTERN.length)
    return isPlainPattern(pattern) && new RegExp(pattern).test(revision)
  })
}

/** In `hardware-compatibility`: what follows is an extended regular expression. */
export const PATTERN = '#RE:'

export function isPlainPattern(pattern: string): boolean {
  if (!/^\^?(([\w .-]|\[[\w ]([\w .]|\w-\w)*\])[*+?]?)+\$?$/.test(pattern)) return false
  try {
    return Boolean(new RegExp(pattern))
  } catch {
    return false
  }
}
