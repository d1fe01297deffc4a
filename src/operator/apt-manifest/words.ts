import { EXIT, Failure } from '../failure.ts'

/** An entry of `packages`, as it is written (PROTOCOL.md, "APT manifest"). */
export interface PackageEntry {
  readonly name: string
  readonly version?: string
}

/** A word as `apt-get install` takes it: `name`, `name=version`, or `name-` to remove it. Not checked yet. */
export function entryOf(word: string): PackageEntry {
  const at = word.indexOf('=')
  return at < 0 ? { name: word } : { name: word.slice(0, at), version: word.slice(at + 1) }
}

/** The words of a file: blanks and line ends between them, comments after `#`. */
export const wordsIn = (text: string): readonly string[] =>
  text.split(/\r?\n/).flatMap(line => line.replace(/#.*/, '').split(/\s+/).filter(Boolean))

/**
 * The versions in a repository's Packages file, or in what `dpkg-query --show` prints: name and version in each line. The
 * architecture of a name (`libfoo:arm64`) is left out. Errors: Failure when the text is neither.
 */
export function versionsIn(text: string, file: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>()
  for (const [name, version] of /^Package:/m.test(text) ? stanzas(text) : lines(text, file)) {
    const [plain = ''] = name.split(':')
    found.set(plain, [...new Set([...(found.get(plain) ?? []), version])])
  }
  return found
}

function stanzas(text: string): readonly (readonly [string, string])[] {
  return text.split(/\r?\n\s*\n/).flatMap(stanza => {
    const field = (name: string) => new RegExp(`^${name}:[ \\t]*(\\S+)[ \\t]*\\r?$`, 'mi').exec(stanza)?.[1]
    const [name, version] = [field('Package'), field('Version')]
    return name === undefined || version === undefined ? [] : [[name, version] as const]
  })
}

function lines(text: string, file: string): readonly (readonly [string, string])[] {
  return text.split(/\r?\n/).flatMap((line, index) => {
    if (line.trim() === '') return []
    const [name, version, ...more] = line.trim().split(/\s+/)
    if (name !== undefined && version !== undefined && more.length === 0) return [[name, version] as const]
    const wanted = 'it must be a Packages file, or what dpkg-query --show prints'
    throw new Failure(EXIT.failed, `${file}: line ${index + 1} is not a name and a version: ${wanted}`)
  })
}

/** Gives each package to install its version in `versions`, unless it has one. Errors: Failure when it has none or several there. */
export function pinned(
  entry: PackageEntry,
  versions: ReadonlyMap<string, readonly string[]>,
  file: string,
): PackageEntry {
  if (entry.version !== undefined || entry.name.endsWith('-')) return entry
  const [version, ...more] = versions.get(entry.name.split(':')[0] ?? '') ?? []
  if (version === undefined) throw new Failure(EXIT.failed, `${entry.name} is not in ${file}`)
  if (more.length === 0) return { ...entry, version }
  const several = [version, ...more].join(', ')
  throw new Failure(
    EXIT.failed,
    `${entry.name} has several versions in ${file} (${several}): write ${entry.name}=VERSION`,
  )
}
