import { AgentError } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/result-codes.ts'
import type { SlotName } from '../domain/slot.ts'
import type { Allowance } from './allowance.ts'
import type { Contents } from './archive-guard.ts'
import type { Item } from './item.ts'
import { DescriptionError, type Group, type Setting } from './setting.ts'
import { type Choice, readDescription, type Software, softwareFor } from './sw-description.ts'
import { fileNamesOf, settingsOf } from './tree.ts'

/** The name that bundles give a slot, relative to the folder that SWUpdate runs in. */
export const INLET: Readonly<Record<SlotName, string>> = { a: 'pi-adu/a', b: 'pi-adu/b' }

export interface Terms {
  readonly slot: SlotName
  /** The configured path of the slot: a bundle may name it instead of the inlet. */
  readonly device: string
  /** As for `swupdate -e`: "stable,a". */
  readonly selection: string
  readonly board: string | undefined
  readonly allow: ReadonlySet<Allowance>
}

/** The variables of the boot state: only the agent writes them. */
const BOOT_STATE = new Set(['primary', 'trial', 'tries'])

/** Harmless scalars of a group; `-M` and `-m` overrule the markers. */
const HARMLESS_IN_GROUP = new Set([
  ...['version', 'description', 'name', 'hardware-compatibility', 'ref', 'reboot'],
  ...['bootloader_transaction_marker', 'bootloader_state_marker'],
])
/** Attributes that a raw image may have. `install-if-…` can only skip the image, which is detected afterwards. */
const HARMLESS_IN_IMAGE = new Set([
  ...['name', 'version', 'description', 'filename', 'type', 'device', 'sha256', 'compressed', 'installed-directly'],
  ...['install-if-different', 'install-if-higher', 'preserve-attributes', 'encrypted', 'ivt'],
])

/**
 * Whether SWUpdate may see this `sw-description`: one raw image for the slot of `terms`, with its hash, and what `terms.allow`
 * names. Scripts and Lua are refused in every selection, everything else in the selection that SWUpdate will use.
 * Errors: AgentError `BUNDLE_…`, with the line.
 */
export function inspect(bytes: Buffer, terms: Terms): Contents {
  try {
    const description = readDescription(bytes)
    new Inspection(terms).tree(description.root)
    const [set, mode] = terms.selection.split(',')
    const choice: Choice = {
      ...(terms.board === undefined ? {} : { board: terms.board }),
      ...(set === undefined || mode === undefined ? {} : { set, mode }),
    }
    const software = softwareFor(description, choice)
    const image = new Inspection(terms).software(software)
    return {
      files: fileNamesOf(description.root),
      needed: new Set(
        [...software.images, ...software.files, ...software.scripts].flatMap(({ fileName }) => fileName || []),
      ),
      image: image.fileName,
      packed: image.encrypted || image.type !== 'raw' || image.compressed === 'zlib' ? 'other' : image.compressed,
      direct: image.device !== INLET[terms.slot],
      encrypted: image.encrypted,
    }
  } catch (error) {
    if (!(error instanceof DescriptionError)) throw error
    throw new AgentError('BUNDLE_DESCRIPTION', `the bundle's ${error.message}`, { cause: error })
  }
}

class Inspection {
  readonly #terms: Terms

  constructor(terms: Terms) {
    this.#terms = terms
  }

  /** Checks what is refused in every selection, and unknown settings in the surrounding groups. */
  tree(root: Group): void {
    for (const { name, setting, inEntry } of settingsOf(root)) {
      if (name === 'embedded-script' || name === 'hook') {
        this.#refuse('lua', 'BUNDLE_LUA', setting, `${name}: Lua would run while SWUpdate reads the description`)
      } else if (name === 'scripts' && !isEmpty(setting)) {
        this.#refuse(
          'scripts',
          'BUNDLE_SCRIPT',
          setting,
          'scripts: they would run before the hash of the bundle is known',
        )
      } else if (!inEntry && !isOuter(setting) && !HARMLESS_IN_GROUP.has(name)) {
        this.#refuse('attributes', 'BUNDLE_ATTRIBUTE', setting, `${name}, which a system update does not need`)
      }
    }
  }

  /** Returns the image of the slot. */
  software(software: Software): Item {
    if (software.images.length === 0) throw this.#withoutImage()
    for (const item of software.scripts) this.#script(item)
    for (const item of software.files) {
      this.#refuse(
        'files',
        'BUNDLE_FILES',
        item,
        'files, which are written outside the slot: put them into the image of the system',
      )
      this.#hashed(item)
    }
    for (const item of software.partitions) {
      this.#refuse('partitions', 'BUNDLE_PARTITION', item, 'a partition to be made')
    }
    for (const { name, line } of software.bootEnv) this.#variable(name, line)
    for (const { name, setting } of software.options) {
      if (HARMLESS_IN_GROUP.has(name)) continue
      this.#refuse('attributes', 'BUNDLE_ATTRIBUTE', setting, `${name}, which a system update does not need`)
    }
    const images = software.images.filter(item => this.#image(item))
    const [image, second] = images
    if (second) fail('BUNDLE_DEVICE', second, `a second image for slot ${this.#terms.slot}`)
    if (!image) throw this.#withoutImage()
    return image
  }

  #withoutImage(): AgentError {
    const { slot, selection } = this.#terms
    const found = `sw-description has nothing for the selection ${selection} that is written to slot ${slot} (device "${INLET[slot]}")`
    const instead = 'files alone are not a system update: put them into an image of the system'
    return new AgentError('BUNDLE_NO_IMAGE', `${found}, so the slot would start what it holds now; ${instead}`)
  }

  /** Whether it is for the slot. */
  #image(item: Item): boolean {
    const { slot, device } = this.#terms
    if (item.type !== 'raw') {
      const found =
        item.type === '' ? 'an image without type and device' : `an image of type ${JSON.stringify(item.type)}`
      this.#refuse('handlers', 'BUNDLE_HANDLER', at(item, 'type'), `${found}, not "raw"`)
      if (item.type === 'bootloader' || item.type === 'uboot' || item.type === 'bootenv') {
        fail('BUNDLE_BOOT_VARIABLE', at(item, 'type'), 'a file of bootloader variables, which only the agent may write')
      }
    }
    const isForSlot = item.device === INLET[slot] || item.device === device
    if (!isForSlot) {
      const found = item.device === '' ? 'an image without a device' : `an image for ${JSON.stringify(item.device)}`
      this.#refuse('devices', 'BUNDLE_DEVICE', at(item, 'device'), `${found}, not for "${INLET[slot]}"`)
    }
    this.#hashed(item)
    if (!item.installedDirectly) {
      this.#refuse(
        'staging',
        'BUNDLE_STAGED',
        item,
        'an image without "installed-directly = true", which SWUpdate would copy to the temporary folder first',
      )
    }
    for (const [name, setting] of item.settings) {
      if (HARMLESS_IN_IMAGE.has(name) || name === 'hook') continue
      this.#refuse(
        'attributes',
        'BUNDLE_ATTRIBUTE',
        setting,
        `${name} of an image, which a system update does not need`,
      )
    }
    return isForSlot
  }

  #script(item: Item): void {
    if (item.type === 'lua') this.#refuse('lua', 'BUNDLE_LUA', item, 'a script in Lua')
    this.#hashed(item)
  }

  #variable(name: string, line: number): void {
    if (BOOT_STATE.has(name)) {
      fail('BUNDLE_BOOT_VARIABLE', { line }, `the bootloader variable ${name}, which only the agent may write`)
    }
    this.#refuse(
      'bootenv',
      'BUNDLE_BOOT_VARIABLE',
      { line },
      `the bootloader variable ${JSON.stringify(name.slice(0, 40))}`,
    )
  }

  /** Never allowed: SWUpdate would accept any file of that name, and copy some below the temporary folder. */
  #hashed(item: Item): void {
    if (/[/\0]|^\.*$/.test(item.fileName) && item.fileName !== '') {
      fail(
        'BUNDLE_FILE',
        at(item, 'filename'),
        `${JSON.stringify(item.fileName.slice(0, 80))}, which is not a plain file name`,
      )
    }
    if (item.sha256 === '') fail('BUNDLE_HASH', item, `no sha256 for ${JSON.stringify(item.fileName)}`)
  }

  #refuse(allowance: Allowance, code: ErrorCode, where: { readonly line: number }, what: string): void {
    if (!this.#terms.allow.has(allowance)) fail(code, where, what, `; piAdu.bundle.allow "${allowance}" would allow it`)
  }
}

function fail(code: ErrorCode, { line }: { readonly line: number }, what: string, more = ''): never {
  throw new AgentError(code, `line ${line} of sw-description has ${what}${more}`)
}

/** Line of the setting, or else of the item. */
const at = (item: Item, name: string): { readonly line: number } => item.settings.get(name) ?? item

const isOuter = ({ is }: Setting): boolean => is === 'group' || is === 'list'

const isEmpty = (setting: Setting): boolean => setting.is === 'list' && setting.items.length === 0
