import { createHash, type Hash } from 'node:crypto'
import { lstat, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, UsageError } from '../../src/domain/errors.ts'
import { onOneLine } from '../../src/domain/terminal.ts'
import { parseJsonText } from '../../src/domain/text.ts'
import { fragmentFlaws } from './layer-config.ts'
import { fingerprint, type LayerFile, MAX_LIST_BYTES, printable, readText, refusal, walk } from './layer-files.ts'
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
import { type Paragraph, readKey, readSources, sourceText } from './layer-sources.ts'

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
  const all = [...new Set(problems)]
  const more = all.length > 3 ? `; and ${all.length - 3} more` : ''
  // Names in du-config.json are of strangers as well.
  return onOneLine(`layer ${layer} is refused: ${all.slice(0, 3).join('; ')}${more}`)
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
