import { createHash, type Hash } from 'node:crypto'
import { lstat, readdir, readFile, readlink, stat } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { messageOf, UsageError } from '../../src/domain/errors.ts'
import { jsonText, onOneLine } from '../../src/domain/terminal.ts'
import { parseJsonText } from '../../src/domain/text.ts'
import { fragmentFlaws } from './layer-config.ts'
import { whyProtected } from './layer-paths.ts'
import {
  bootLine,
  dataFolder,
  firmwareFile,
  moduleName,
  packageName,
  type Row,
  secret,
  type User,
  unitName,
  user,
} from './layer-rows.ts'
import { secretIn } from './layer-secrets.ts'
import { type Paragraph, readKey, readSources, sourceText } from './layer-sources.ts'

/** A file of a layer, and where it goes in the root file system. */
export interface LayerFile {
  /** On this machine. */
  readonly from: string
  /** Relative to the root, with `/`. */
  readonly path: string
}

/** A folder of data that adds to the image; its grammar is in image/layers/README.md. */
export interface Layer {
  readonly folder: string
  readonly name: string
  readonly version: string
  /** Of all its content. */
  readonly sha256: string
  /** Paths in the root file system that it may take over from an earlier layer. */
  readonly replaces: readonly string[]
  readonly packages: readonly string[]
  /** Apt sources of its own, each with its key (sources.list(5), deb822 style). */
  readonly sources: readonly string[]
  readonly files: readonly LayerFile[]
  readonly units: readonly string[]
  readonly users: readonly User[]
  /** As in image/data.txt, with the names of users. */
  readonly data: readonly string[]
  readonly modules: readonly string[]
  /** `PACKAGE FILE` of firmware. */
  readonly firmware: readonly string[]
  readonly bootLines: readonly string[]
  readonly overlays: readonly LayerFile[]
  /** `NAME TARGET MODE OWNER` of files that each card gets. */
  readonly secrets: readonly string[]
  /** Settings of the agent, as in du-config.json; undefined when there are none. */
  readonly config: unknown
}

const LISTS = {
  'packages.txt': packageName,
  'units.txt': unitName,
  'users.txt': user,
  'data.txt': dataFolder,
  'modules.txt': moduleName,
  'firmware.txt': firmwareFile,
  'boot.txt': bootLine,
  'secrets.txt': secret,
} as const
const FOLDERS = ['rootfs', 'health.d', 'overlays']
const SOURCES = 'sources'
const CONFIG = 'du-config.json'
const KNOWN = ['layer.json', 'README.md', ...Object.keys(LISTS), ...FOLDERS, SOURCES, CONFIG]

const MAX_LIST_BYTES = 2 ** 20
const MAX_FILE_BYTES = 2 ** 29
const MAX_ENTRIES = 100_000

/** Reads a layer. Errors: what is wrong with it, with the name of the file and the number of the line. */
export async function readLayer(folder: string): Promise<Layer> {
  const found = await stat(folder).catch(() => undefined)
  if (!found?.isDirectory()) throw new UsageError(`--layer ${folder}: there is no such folder`)
  const problems: string[] = []
  const hash = createHash('sha256')
  const names = (await readdir(folder)).sort()
  for (const name of names) {
    if (!KNOWN.includes(name))
      problems.push(`${printable(name)} is unknown: a layer is data only (${KNOWN.slice(2).join(', ')})`)
  }
  const { name, version, replaces, settings } = await readHead(folder, problems)
  const rows: Record<string, Row[]> = {}
  for (const [list, parse] of Object.entries(LISTS)) {
    const text = names.includes(list) ? await readText(folder, list, problems) : ''
    hash.update(`${list} ${text.length}\n${text}`)
    rows[list] = []
    for (const [i, raw] of text.split('\n').entries()) {
      const line = raw.trim()
      if (line === '' || line.startsWith('#')) continue
      const row = parse(line)
      if (typeof row === 'string') problems.push(`${list}:${i + 1}: ${printable(line)}: ${row}`)
      else rows[list].push(row)
    }
  }
  const files: LayerFile[] = []
  const overlays: LayerFile[] = []
  for (const top of FOLDERS) {
    if (!names.includes(top)) continue
    for (const file of await walk(folder, top, problems)) {
      const path = file.path.slice(top.length + 1)
      hash.update(`${file.path} ${await fingerprint(file.from)}\n`)
      const why = await refusal(top, path, file.from)
      if (why) problems.push(`${printable(file.path)}: ${why}`)
      else if (top === 'overlays') overlays.push({ from: file.from, path: file.path })
      else files.push({ from: file.from, path: top === 'rootfs' ? path : `etc/pi-adu/health.d/${path}` })
    }
  }
  const sources = names.includes(SOURCES) ? await readSourcesOf(folder, hash, problems) : []
  const config = names.includes(CONFIG) ? await readConfigOf(folder, settings, hash, problems) : undefined
  const texts = (list: string): readonly string[] => rows[list]!.map(row => row.text)
  const layer: Layer = {
    ...{ folder, name, version, replaces, files, overlays, sources, config, sha256: hash.digest('hex') },
    packages: texts('packages.txt'),
    units: texts('units.txt'),
    users: rows['users.txt']!.flatMap(row => (row.user ? [row.user] : [])),
    data: texts('data.txt'),
    modules: texts('modules.txt'),
    firmware: texts('firmware.txt'),
    bootLines: texts('boot.txt'),
    secrets: texts('secrets.txt'),
  }
  if (problems.length > 0) throw new Error(refused(name || folder, problems))
  return layer
}

async function readConfigOf(
  folder: string,
  settings: readonly string[],
  hash: Hash,
  problems: string[],
): Promise<unknown> {
  const text = await readText(folder, CONFIG, problems)
  hash.update(`${CONFIG} ${text.length}\n${text}`)
  try {
    const config: unknown = parseJsonText(text, 'onceOnly')
    problems.push(...fragmentFlaws(config, settings).map(flaw => `${CONFIG}: ${flaw}`))
    return config
  } catch (error) {
    problems.push(`${CONFIG} ${messageOf(error)}`)
    return undefined
  }
}

async function readSourcesOf(folder: string, hash: Hash, problems: string[]): Promise<readonly string[]> {
  const paragraphs: Paragraph[] = []
  const keys = new Set<string>()
  for (const { path, from } of await walk(folder, SOURCES, problems)) {
    const name = path.slice(SOURCES.length + 1)
    hash.update(`${path} ${await fingerprint(from)}\n`)
    if (name.endsWith('.sources') && !name.includes('/'))
      paragraphs.push(...readSources(name, await readText(folder, path, problems), problems))
    else if (/^[^/]+\.(asc|gpg)$/.test(name)) keys.add(name)
    else problems.push(`${printable(path)} is unknown: NAME.sources and keys (.asc, .gpg) lie here`)
  }
  const armors = new Map<string, string>()
  for (const name of keys) {
    const found = await lstat(join(folder, SOURCES, name))
    const isSmall = found.isFile() && found.size <= MAX_LIST_BYTES
    const key = isSmall ? await readKey(join(folder, SOURCES, name)) : { why: 'it is not a file of up to 1 MiB' }
    if ('why' in key) problems.push(`${SOURCES}/${printable(name)}: ${key.why}`)
    else armors.set(name, key.armor)
    if (!paragraphs.some(fields => fields.get('signed-by') === name))
      problems.push(`${SOURCES}/${printable(name)}: no source is signed by it`)
  }
  return paragraphs.flatMap(fields => {
    const name = fields.get('signed-by') ?? ''
    const armor = armors.get(name)
    if (name !== '' && !keys.has(name)) problems.push(`${SOURCES}: there is no key ${printable(name)}`)
    return armor === undefined ? [] : [sourceText(fields, armor)]
  })
}

/** One line for a layer that is refused. Pure. */
export function refused(layer: string, problems: readonly string[]): string {
  const more = problems.length > 3 ? `; and ${problems.length - 3} more` : ''
  // Names in du-config.json are of strangers as well.
  return onOneLine(`layer ${layer} is refused: ${problems.slice(0, 3).join('; ')}${more}`)
}

interface Head extends Pick<Layer, 'name' | 'version' | 'replaces'> {
  readonly settings: readonly string[]
}

async function readHead(folder: string, problems: string[]): Promise<Head> {
  const text = await readText(folder, 'layer.json', problems)
  const nothing = { name: '', version: '', replaces: [], settings: [] }
  if (text === '') {
    if (problems.every(problem => !problem.startsWith('layer.json'))) problems.push('layer.json is empty')
    return nothing
  }
  let head: unknown
  try {
    head = parseJsonText(text, 'onceOnly')
  } catch (error) {
    problems.push(`layer.json ${messageOf(error)}`)
    return nothing
  }
  if (typeof head !== 'object' || head === null || Array.isArray(head)) {
    problems.push('layer.json must be an object with name and version')
    return nothing
  }
  const { name, version, replaces = [], settings = [], ...rest } = head as Record<string, unknown>
  for (const key of Object.keys(rest)) problems.push(`layer.json: ${printable(key)} is unknown`)
  const hasName = typeof name === 'string' && /^[a-z][a-z0-9-]{0,31}$/.test(name) && !name.startsWith('pi-adu')
  if (!hasName)
    problems.push('layer.json: name must be lower case letters, digits and hyphens, and must not begin with pi-adu')
  const hasVersion = typeof version === 'string' && /^\d+\.\d+\.\d+([-+][\w.+-]+)?$/.test(version)
  if (!hasVersion) problems.push('layer.json: version must be like 1.0.0')
  const isList = (value: unknown): value is string[] =>
    Array.isArray(value) && value.every(path => typeof path === 'string')
  if (!isList(replaces)) problems.push('layer.json: replaces must be a list of paths')
  if (!isList(settings)) problems.push('layer.json: settings must be a list of names')
  return {
    name: hasName ? (name as string) : '',
    version: hasVersion ? (version as string) : '',
    replaces: isList(replaces) ? replaces : [],
    settings: isList(settings) ? settings : [],
  }
}

/** The text of a list; empty, with a problem, when it cannot be read as text. */
async function readText(folder: string, name: string, problems: string[]): Promise<string> {
  const path = join(folder, name)
  const found = await lstat(path).catch(() => undefined)
  const problem = (why: string): string => {
    problems.push(`${name} ${why}`)
    return ''
  }
  if (!found) return problem('is missing')
  if (!found.isFile()) return problem('is not a regular file')
  if (found.size > MAX_LIST_BYTES) return problem('is larger than 1 MiB')
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path))
    return text.includes('\0') ? problem('is not a text: it contains zeros') : text
  } catch {
    return problem('is not UTF-8')
  }
}

/** All below `folder/top` that is not a directory, sorted. */
async function walk(folder: string, top: string, problems: string[]): Promise<readonly LayerFile[]> {
  const files: LayerFile[] = []
  const visit = async (path: string): Promise<void> => {
    const from = join(folder, path)
    // First: a name that is not UTF-8 does not lead to its file.
    if (path !== top && /[\p{Cc}\p{Cf}\u2028\u2029\ufffd]/u.test(path))
      return void problems.push(`${printable(path)}: the name has characters that names of files must not have`)
    const found = await lstat(from)
    if (found.isDirectory()) {
      if ((found.mode & 0o7000) !== 0) problems.push(`${path}: setuid, setgid and sticky folders are refused`)
      for (const name of (await readdir(from)).sort()) await visit(posix.join(path, name))
    } else if (path === top) problems.push(`${top} is not a folder`)
    else if (files.length >= MAX_ENTRIES) throw new Error(`layer ${folder}: ${top} has more than ${MAX_ENTRIES} files`)
    else files.push({ from, path })
  }
  await visit(top)
  return files
}

/** Why a file of a layer cannot be taken; undefined when it can. */
async function refusal(top: string, path: string, from: string): Promise<string | undefined> {
  const found = await lstat(from)
  if (top === 'rootfs') {
    const why = whyProtected(path)
    if (why) return why
  } else if (path.includes('/') || path.startsWith('.')) return 'only files are taken here'
  if (found.isSymbolicLink()) {
    if (top !== 'rootfs') return 'links are refused here'
    return leadsOut(path, await readlink(from)) ? 'the link leads out of the root file system' : undefined
  }
  if (!found.isFile()) return 'it is neither a file nor a link nor a folder'
  if ((found.mode & 0o7000) !== 0) return 'setuid, setgid and sticky files are refused'
  if (found.size > MAX_FILE_BYTES) return `it is larger than ${MAX_FILE_BYTES / 2 ** 20} MiB`
  if (top === 'health.d' && (found.mode & 0o100) === 0) return 'a health check must be executable'
  const content = await readFile(from)
  if (top === 'overlays') {
    if (!/^[\w.+-]{1,60}\.dtbo$/.test(path)) return 'an overlay has a name like my-board.dtbo'
    return content.length >= 4 && content.readUInt32BE(0) === 0xd00dfeed ? undefined : 'it is not a device tree overlay'
  }
  if (top === 'health.d' && !/^(#!|\x7fELF)/.test(content.toString('latin1', 0, 4)))
    return 'a health check begins with #! or is an ELF program'
  const what = secretIn(path, content)
  return what && `it looks like a secret (${what}): every device would have it. Name it in secrets.txt`
}

/** Whether a relative link climbs above the root. An absolute one is read from the root of the device. */
function leadsOut(path: string, target: string): boolean {
  if (target.startsWith('/')) return posix.normalize(target).split('/').includes('..')
  return posix.normalize(posix.join(posix.dirname(path), target)).startsWith('..')
}

async function fingerprint(file: string): Promise<string> {
  const found = await lstat(file)
  if (found.isSymbolicLink()) return `link ${await readlink(file)}`
  if (!found.isFile() || found.size > MAX_FILE_BYTES) return 'refused'
  return `${found.mode & 0o100} ${createHash('sha256')
    .update(await readFile(file))
    .digest('hex')}`
}

/** A text of strangers, on one line. */
const printable = (text: string): string => jsonText(text.slice(0, 120)).slice(1, -1)
