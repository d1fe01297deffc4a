import { constants } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import * as v from 'valibot'

/** Where the reference agent keeps the criteria of installed APT manifests (PROTOCOL.md, "APT manifest"). */
export const CRITERIA_FILE = '/var/lib/adu/installedcriteria'

/** One entry of the file. */
export interface Criteria {
  readonly installedCriteria: string
  /** The reference writes `installed`. */
  readonly state: string
  readonly timestamp: string
  /** Ours: the APT manifest's name. The reference has no such member. */
  readonly name?: string
}

const entry = v.looseObject({
  installedCriteria: v.string(),
  state: v.string(),
  timestamp: v.optional(v.string(), ''),
  name: v.optional(v.string()),
})

/** The entries of the file's text. What cannot be read is no entry: dpkg knows better, and an installation writes a new one. */
export function readCriteria(text: string): readonly Criteria[] {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return []
  }
  return (Array.isArray(json) ? json : []).flatMap(each => {
    const found = v.safeParse(entry, each)
    return found.success ? [found.output as Criteria] : []
  })
}

export const hasCriteria = (entries: readonly Criteria[], criteria: string): boolean =>
  entries.some(({ installedCriteria, state }) => installedCriteria === criteria && state === 'installed')

/** The entries after an installation: of each APT manifest only the newest, so that going back to an old version is seen. */
export function withCriteria(
  entries: readonly Criteria[],
  name: string,
  criteria: string,
  now: Date,
): readonly Criteria[] {
  const others = entries.filter(each => each.installedCriteria !== criteria && !isOf(each, name))
  return [...others, { installedCriteria: criteria, state: 'installed', timestamp: now.toISOString(), name }]
}

/** An entry of the reference has no name: by convention its criteria are `name-version`, and a version begins with a digit. */
const isOf = (each: Criteria, name: string): boolean =>
  each.name === undefined
    ? each.installedCriteria.startsWith(`${name}-`) && /^\d/.test(each.installedCriteria.slice(name.length + 1))
    : each.name === name

const MAX_BYTES = 1024 * 1024

/** The text of the file; empty if there is none. Its folder may belong to another user, so nothing but a plain file is read. */
export async function readCriteriaFile(file: string): Promise<string> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    () => undefined,
  )
  if (!handle) return ''
  try {
    const seen = await handle.stat()
    return seen.isFile() && seen.size <= MAX_BYTES ? await handle.readFile('utf8') : ''
  } finally {
    await handle.close()
  }
}

/** Replaces the file: after a power cut it is the old one or the new one. Errors: those of the file system. */
export async function writeCriteriaFile(file: string, entries: readonly Criteria[]): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o755 })
  const temporary = `${file}.new`
  await rm(temporary, { force: true })
  // A link that somebody puts there is not followed.
  const handle = await open(temporary, 'wx', 0o644)
  try {
    await handle.writeFile(`${JSON.stringify(entries, null, 2)}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporary, file)
  const folder = await open(dirname(file), 'r')
  await folder.sync().finally(() => folder.close())
}
