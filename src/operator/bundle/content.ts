import { choicesOf } from '../../bundle/choices.ts'
import type { Item } from '../../bundle/item.ts'
import { objectionsTo } from '../../bundle/objections.ts'
import { DescriptionError } from '../../bundle/setting.ts'
import { type Choice, type Description, nameOf, readDescription, softwareFor } from '../../bundle/sw-description.ts'
import { EXIT, Failure } from '../failure.ts'
import { type Fleet, isFor } from './agent-verdict.ts'
import type { Form } from './forms.ts'

/** One use of a file: its purpose and its target. */
export interface ListedImage {
  /** Path in `sw-description`, such as `stable.a.images`. */
  readonly selection: string
  readonly fileName: string
  readonly device?: string
  readonly type?: string
  readonly compressed?: string
  readonly sha256?: string
  /** Only the encrypted bytes can be checked, not their content. */
  readonly encrypted?: true
}

export interface ListedFile {
  readonly name: string
  readonly sizeInBytes: number
  readonly sha256: string
  /** Judged by its first bytes. */
  readonly form: Form
}

export interface DescribedContent {
  readonly version: string
  readonly description?: string
  readonly hardware: readonly string[]
  readonly images: readonly ListedImage[]
  readonly findings: readonly string[]
}

/**
 * What a description installs for each of its selections, and why a device would refuse it. Errors: Failure when the text cannot
 * be parsed.
 */
export function contentOf(bytes: Buffer, files: readonly ListedFile[], fleet: Fleet): DescribedContent {
  let description: Description
  let choices: Choice[]
  try {
    description = readDescription(bytes)
    choices = choicesOf(description)
  } catch (error) {
    throw new Failure(EXIT.failed, messageOf(error), { cause: error })
  }
  const names = new Set(files.map(({ name }) => name))
  const findings: string[] = []
  const images: ListedImage[] = []
  const hardware = new Set<string>()
  let version = ''
  let words: string | undefined
  for (const choice of choices) {
    try {
      const software = softwareFor(description, choice)
      version ||= software.version.value
      words ??= software.description?.value
      for (const { value } of software.hardware) hardware.add(value)
      const items = [...software.images, ...software.files, ...software.scripts, ...software.partitions]
      images.push(...items.map(item => listed(choice, item)))
      findings.push(
        ...objectionsTo(software, names).map(({ line, message }) => `sw-description ${message} (line ${line})`),
      )
      findings.push(...items.flatMap(item => fileFault(item, files)))
      findings.push(...strangers(software.unknown.map(({ name, setting }) => ({ name, line: setting.line }))))
      findings.push(...items.flatMap(({ unknown, line }) => strangers(unknown.map(name => ({ name, line })))))
    } catch (error) {
      findings.push(messageOf(error))
    }
  }
  findings.push(...missing(choices, fleet), ...oneDevice(description, choices, fleet))
  return {
    version,
    ...(words === undefined ? {} : { description: words }),
    ...{ hardware: [...hardware], images, findings: [...new Set(findings)] },
  }
}

function messageOf(error: unknown): string {
  if (error instanceof DescriptionError) return error.message
  throw error
}

const strangers = (settings: readonly { name: string; line: number }[]): string[] =>
  settings.map(
    ({ name, line }) => `sw-description has the setting ${name}, which SWUpdate does not know (line ${line})`,
  )

function listed({ board, set, mode }: Choice, item: Item): ListedImage {
  const text = (name: 'device' | 'type' | 'sha256') => (item[name] ? { [name]: item[name] } : {})
  return {
    selection: [board, set, mode, item.section].filter(each => each !== undefined).join('.'),
    fileName: item.fileName,
    ...text('device'),
    ...text('type'),
    ...(item.compressed ? { compressed: item.compressed } : {}),
    ...text('sha256'),
    ...(item.encrypted ? { encrypted: true } : {}),
  }
}

/** Where the bytes of the file contradict its entry. */
export function fileFault(item: Item, files: readonly ListedFile[]): string[] {
  const { fileName, sha256, line, compressed, encrypted, section, type } = item
  const file = files.find(({ name }) => name === fileName)
  if (!file) return []
  const where = `${fileName} (sw-description, line ${line})`
  if (sha256 !== '' && sha256 !== file.sha256) return [`${where}: its sha256 is another one`]
  const size = item.settings.get('size')
  const isNumber = size?.is === 'integer' || size?.is === 'long'
  if (isNumber && section !== 'partitions' && size.value !== file.sizeInBytes) {
    return [`${where}: size is another one, which SWUpdate of Debian 13 refuses`]
  }
  // Encrypted bytes show nothing.
  if (encrypted) return []
  const wanted = compressed === 'zlib' ? 'gzip' : compressed
  if (wanted !== undefined && file.form !== wanted) return [`${where}: compressed says ${wanted}, the file is not`]
  if (section !== 'images' || type !== 'raw' || file.form === 'image' || file.form === wanted) return []
  return [`${where}: the file is ${FORM[file.form]}, and would be written as it is`]
}

const FORM: Readonly<Record<Exclude<Form, 'image'>, string>> = {
  ...{ empty: 'empty', zstd: 'compressed with zstd', gzip: 'compressed with gzip', xz: 'compressed with xz' },
  ...{ bzip2: 'compressed with bzip2', lz4: 'compressed with lz4', zip: 'a zip archive', '7z': 'a 7z archive' },
  ...{ tar: 'a tar archive', cpio: 'a cpio archive', disk: 'a whole disk with a partition table' },
}

/** Devices that both selections write: one of the two is the running slot. */
function oneDevice(description: Description, choices: readonly Choice[], { selections }: Fleet): string[] {
  const devices = (selection: string): Set<string> => {
    const images = choices
      .filter(choice => choice.set !== undefined && isFor(choice, selection))
      .flatMap(choice => imagesFor(description, choice))
    return new Set(images.map(({ device }) => device).filter(Boolean))
  }
  const [first, second] = selections
  if (first === undefined || second === undefined) return []
  const other = devices(second)
  return [...devices(first)]
    .filter(device => other.has(device))
    .map(device => `${first} and ${second} both write to ${device}: one of them would overwrite the running system`)
}

function imagesFor(description: Description, choice: Choice): readonly Item[] {
  try {
    return softwareFor(description, choice).images
  } catch {
    // Reported already.
    return []
  }
}

function missing(choices: readonly Choice[], { selections }: Fleet): string[] {
  const there = choices.map(nameOf).join('; ') || 'nothing'
  return selections
    .filter(wanted => !choices.some(choice => isFor(choice, wanted)))
    .map(
      wanted =>
        `there is nothing for the selection ${wanted}: devices with it could not install this (it has ${there})`,
    )
}
