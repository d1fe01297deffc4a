import { type Item, readItem, SECTIONS, type Section, textOf } from './item.ts'
import { parseLibconfig } from './libconfig.ts'
import { type Found, find, findLinked, linkOf, type Path } from './links.ts'
import { DescriptionError, type Group, type Setting, type Text } from './setting.ts'

/** SWUpdate's options `-H board:revision` and `-e set,mode`. */
export interface Choice {
  readonly board?: string
  readonly set?: string
  readonly mode?: string
}

/** A description that was parsed. What a device takes from it depends on its choice, see `softwareFor`. */
export interface Description {
  readonly root: Group
  readonly software: Group
}

/** A bootloader variable that SWUpdate would set. */
export interface Variable {
  readonly name: string
  readonly value: string
  readonly line: number
  readonly settings: Group['settings']
}

export interface Named {
  readonly name: string
  readonly setting: Setting
}

/** What SWUpdate takes from a description for one choice, with all links resolved. */
export interface Software extends Readonly<Record<Section, readonly Item[]>> {
  readonly version: Text
  readonly description?: Text
  /** Revisions of the board that it fits; one that begins with `#RE:` is a regular expression. */
  readonly hardware: readonly Text[]
  readonly bootEnv: readonly Variable[]
  /** Lua that SWUpdate runs while it reads the description. */
  readonly embeddedScript?: Setting
  /** Settings of SWUpdate that change how it works, such as `output`, `reboot`, `bootloader_state_marker`, `vars`. */
  readonly options: readonly Named[]
  /** Settings that SWUpdate would ignore: misspelt, or from another version. */
  readonly unknown: readonly Named[]
}

/** Of SWUpdate up to 2025, beside those that have a member of `Software`. */
const OPTIONS = [
  ...['bootloader_state_marker', 'bootloader_transaction_marker', 'output', 'reboot', 'vars', 'namespace-for-vars'],
  ...['update-type', 'no-downgrading', 'max-version'],
]
export const CONTENT = [...SECTIONS, 'bootenv', 'uboot']
const KNOWN: ReadonlySet<string> = new Set([
  ...['version', 'description', 'hardware-compatibility', 'embedded-script', 'ref'],
  ...CONTENT,
  ...OPTIONS,
])
export const ITEM_LIMIT = 256

/** Reads the text of a description. Errors: DescriptionError. */
export function readDescription(bytes: Uint8Array): Description {
  const root = parseLibconfig(bytes)
  const software = root.settings.get('software')
  if (software?.is !== 'group') throw new DescriptionError('swupdate', 1, 'has no group "software"')
  return { root, software }
}

/**
 * What SWUpdate would take for `choice`. Errors: DescriptionError when SWUpdate would refuse it or might interpret it
 * differently.
 */
export function softwareFor({ root, software }: Description, choice: Choice): Software {
  const lookUp = (name: string): Found | undefined => lookUpIn(root, choice, name)
  const version = textOf(lookUp('version')?.setting, 'version')
  if (!version) throw new DescriptionError('swupdate', software.line, 'has no version')
  if (version.value === '') throw new DescriptionError('policy', version.line, 'has an empty version')
  const description = textOf(lookUp('description')?.setting, 'description')
  const hardware = lookUp('hardware-compatibility')?.setting
  if (!hardware) {
    throw new DescriptionError('swupdate', software.line, `has no hardware-compatibility for ${nameOf(choice)}`)
  }
  const items = (section: Section) => itemsOf(root, section, lookUp(section), entry => readItem(entry, section))
  const embeddedScript = lookUp('embedded-script')?.setting
  return {
    version,
    ...(description ? { description } : {}),
    hardware: revisionsOf(hardware),
    images: items('images'),
    files: items('files'),
    scripts: items('scripts'),
    partitions: items('partitions'),
    bootEnv: itemsOf(root, 'bootenv', lookUp('bootenv') ?? lookUp('uboot'), readVariable),
    ...(embeddedScript ? { embeddedScript } : {}),
    options: OPTIONS.flatMap(name => {
      const found = lookUp(name)
      return found ? [{ name, setting: found.setting }] : []
    }),
    unknown: placesOf(root, choice).flatMap(({ setting }) => strangersIn(setting)),
  }
}

/** Groups and lists of any name may be selections, or what a link leads to. */
function strangersIn(group: Setting): Named[] {
  const settings = group.is === 'group' ? [...group.settings] : []
  return settings.flatMap(([name, setting]) =>
    KNOWN.has(name) || setting.is === 'group' || setting.is === 'list' ? [] : [{ name, setting }],
  )
}

/** As in SWUpdate's log: `stable,a`, behind its board if it has one. */
export const nameOf = ({ board, set, mode }: Choice): string => {
  const selection = set === undefined ? undefined : `${set},${mode}`
  return [board, selection].filter(each => each !== undefined).join(': ') || 'any device'
}

/** From the most specific to the most general; the first match counts (SWUpdate, `find_node_and_path`). */
export function lookUpIn(root: Group, choice: Choice, name: string): Found | undefined {
  for (const place of placesOf(root, choice)) {
    const found = find(root, [...place.path, name])
    if (found) return found
  }
  return undefined
}

function placesOf(root: Group, { board, set, mode }: Choice): Found[] {
  const selection = set === undefined || mode === undefined ? undefined : [set, mode]
  const places: Path[] = [
    ...(board !== undefined && selection ? [['software', board, ...selection]] : []),
    ...(selection ? [['software', ...selection]] : []),
    ...(board === undefined ? [] : [['software', board]]),
    ['software'],
  ]
  return places.flatMap(place => find(root, place) ?? [])
}

function itemsOf<T>(root: Group, section: string, found: Found | undefined, read: (entry: Group) => T): T[] {
  const items: T[] = []
  let count = 0
  if (found) collect(found, 0)
  return items

  function collect({ setting, path }: Found, depth: number): void {
    if (setting.is !== 'list')
      throw new DescriptionError('policy', setting.line, `has ${section} that are not a list (…)`)
    for (const entry of setting.items) {
      count += 1
      // Links count too; otherwise nested links to empty lists could be followed almost for ever.
      if (count > ITEM_LIMIT) {
        throw new DescriptionError('policy', entry.line, `has more than ${ITEM_LIMIT} entries in ${section}`)
      }
      if (entry.is !== 'group') {
        throw new DescriptionError('policy', entry.line, `has an entry of ${section} that is not a group {…}`)
      }
      const link = linkOf(entry)
      if (!link) {
        items.push(read(entry))
      } else if (entry.settings.size > 1) {
        throw new DescriptionError('policy', link.line, 'has a ref beside other settings, which SWUpdate ignores')
      } else if (depth === 9) {
        throw new DescriptionError('policy', link.line, `has more than ${depth} links in a row`)
      } else {
        collect(findLinked(root, path, link), depth + 1)
      }
    }
  }
}

function readVariable(entry: Group): Variable {
  const name = textOf(entry.settings.get('name'), 'name')
  const value = textOf(entry.settings.get('value'), 'value')
  if (!name?.value) throw new DescriptionError('policy', entry.line, `has an entry of bootenv without a name`)
  return { name: name.value, value: value?.value ?? '', line: entry.line, settings: entry.settings }
}

function revisionsOf(setting: Setting): Text[] {
  const items = setting.is === 'list' || setting.is === 'array' ? setting.items : []
  const texts = items.filter((each): each is Text => each.is === 'text' && each.value !== '')
  if (texts.length === 0 || texts.length < items.length) {
    throw new DescriptionError('policy', setting.line, 'has a hardware-compatibility that is not an array of texts')
  }
  return texts.map(each => textOf(each, 'hardware-compatibility')!)
}
