import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { type CardIdentity, identityIn, missingFiles } from './card-config.ts'
import { contentFlaw, MAX_BYTES, nameFlaw, OVERLAYS, overlayFlaws, pairFlaw, preseedFlaws } from './card-files.ts'

/** What goes on one card. */
export interface Device {
  /** Name of its folder, and of its card. */
  readonly name: string
  /** Path on the boot partition → file on this machine. */
  readonly files: ReadonlyMap<string, string>
  /** Of names, contents and times. */
  readonly sha256: string
  /** Files that a layer of the image takes from each card, and this one does not have. */
  readonly missing: readonly string[]
}

export interface DevicesOptions {
  /** A folder for each device. */
  readonly folder: string
  /** Files for every card; those of a device come first. */
  readonly common: string | undefined
  /** Only these. */
  readonly only: readonly string[] | undefined
  /** Files that layers of the image take from each card. */
  readonly secrets: readonly string[]
  /** Paths of the files on the image's boot partition, in lower case. */
  readonly bootFiles: ReadonlySet<string>
}

export const MAX_DEVICES = 10_000
const CONFIG = 'du-config.json'
/** Of the firmware. */
const LINES = 'usercfg.txt'
/** Of `enrol`. */
const REPORT = 'report.json'

/**
 * Reads and checks all devices. Errors: Failure when the folder itself is of no use; what is wrong with devices is in `problems`,
 * a line each.
 */
export async function readDevices(
  options: DevicesOptions,
): Promise<{ readonly devices: readonly Device[]; readonly problems: readonly string[] }> {
  const { folder, common, secrets } = options
  const problems: string[] = []
  const names = await deviceNames(options, problems)
  const sharedFlaws: string[] = []
  const shared = common === undefined ? undefined : await filesIn(common, '', secrets, sharedFlaws)
  problems.push(...sharedFlaws.map(flaw => `${common}: ${flaw}`))
  const failed = await notEnrolled(folder)
  const devices: Device[] = []
  const taken = new Map<string, string>()
  for (const name of names) {
    const flaws: string[] = []
    if (failed.has(name)) flaws.push(`enrol has not enrolled it: see ${REPORT}`)
    const own = await filesIn(join(folder, name), '', secrets, flaws)
    const files = new Map([...(shared ?? []), ...own])
    flaws.push(...twins([...files.keys()]))
    const device = await checked(name, files, options, taken, flaws)
    problems.push(...flaws.map(flaw => `${name}: ${flaw}`))
    if (device) devices.push(device)
  }
  return { devices, problems }
}

async function deviceNames(options: DevicesOptions, problems: string[]): Promise<readonly string[]> {
  const { folder, only } = options
  const entries = await readdir(folder, { withFileTypes: true }).catch(cause => {
    throw new Failure(EXIT.usage, `cannot read ${folder}: ${messageOf(cause)}`, { cause })
  })
  const found: string[] = []
  for (const entry of entries.filter(each => !each.name.startsWith('.'))) {
    const leadsTo = entry.isSymbolicLink() ? await stat(join(folder, entry.name)).catch(() => undefined) : undefined
    if (entry.isDirectory() || leadsTo?.isDirectory()) found.push(entry.name)
    else if (entry.isSymbolicLink() && !leadsTo) problems.push(`${entry.name}: it is a link that leads nowhere`)
  }
  const unknown = only?.find(name => !found.includes(name))
  if (unknown !== undefined) throw new Failure(EXIT.usage, `${folder} has no folder ${unknown}`)
  const names = [...new Set(only ?? found)].sort()
  if (names.length === 0) throw new Failure(EXIT.usage, `${folder} has no folder of a device`)
  if (names.length > MAX_DEVICES) throw new Failure(EXIT.usage, `${folder} has more than ${MAX_DEVICES} devices`)
  const lower = new Map<string, string>()
  return names.filter(name => {
    const earlier = lower.get(name.toLowerCase())
    lower.set(name.toLowerCase(), name)
    if (name.endsWith('.NEW~')) problems.push(`${name}: enrol was interrupted there: call enrol again`)
    else if (!/^[a-z0-9][a-z0-9._:-]{0,127}$/i.test(name)) problems.push(`${name}: this is not the name of a device`)
    else if (earlier !== undefined) problems.push(`${name}: there is a folder ${earlier} too`)
    else return true
    return false
  })
}

/** Path on the boot partition → file; a flaw is added for each that no card may have. */
async function filesIn(
  folder: string,
  below: string,
  secrets: readonly string[],
  flaws: string[],
): Promise<Map<string, string>> {
  const files = new Map<string, string>()
  const names = await readdir(join(folder, below)).catch(cause => {
    throw new Failure(EXIT.usage, `cannot read ${join(folder, below)}: ${messageOf(cause)}`, { cause })
  })
  for (const name of names.sort()) {
    const path = below === '' ? name : `${below}/${name}`
    const from = join(folder, path)
    const found = await stat(from).catch(() => undefined)
    if (found?.isDirectory() && path === OVERLAYS) {
      for (const [each, file] of await filesIn(folder, path, secrets, flaws)) files.set(each, file)
      continue
    }
    const flaw = found?.isFile() ? nameFlaw(path, secrets) : 'it is not a regular file'
    if (flaw) flaws.push(`${JSON.stringify(path).slice(1, -1)}: ${flaw}`)
    else if (found!.size > MAX_BYTES) flaws.push(`${path}: it is larger than 1 MiB`)
    else files.set(path, from)
  }
  return files
}

/** Names that are one name on FAT, where the later file would replace the earlier. Pure. */
function twins(paths: readonly string[]): readonly string[] {
  const taken = new Map<string, string>()
  return paths.flatMap(path => {
    const earlier = taken.get(path.toLowerCase())
    taken.set(path.toLowerCase(), path)
    return earlier === undefined ? [] : [`${path}: the boot partition takes it for ${earlier}: remove one`]
  })
}

/** Undefined when something is wrong, which is then in `flaws`. */
async function checked(
  name: string,
  files: ReadonlyMap<string, string>,
  { secrets, bootFiles }: Pick<DevicesOptions, 'secrets' | 'bootFiles'>,
  taken: Map<string, string>,
  flaws: string[],
): Promise<Device | undefined> {
  if (!files.has(CONFIG)) flaws.push(`there is no ${CONFIG}`)
  const hash = createHash('sha256')
  const contents = new Map<string, Buffer>()
  for (const [path, from] of [...files].sort(([one], [two]) => (one < two ? -1 : 1))) {
    const content = await readFile(from).catch(cause => {
      throw new Failure(EXIT.usage, `cannot read ${from}: ${messageOf(cause)}`, { cause })
    })
    contents.set(path, content)
    // FAT has times of two seconds.
    const seconds = Math.floor((await stat(from)).mtimeMs / 2000) * 2
    hash.update(`${path}\n${seconds}\n${content.length}\n`).update(content)
    const flaw = contentFlaw(path, content)
    if (flaw) flaws.push(`${path}: ${flaw}`)
  }
  flaws.push(...preseedFlaws(contents))
  const own = [...files.keys()].map(path => path.toLowerCase())
  const lines = overlayFlaws(contents.get(LINES)?.toString('latin1') ?? '', {
    isThere: path => own.includes(path) || bootFiles.has(path),
    nobody: 'neither the device nor the image has',
    // A line of a layer, which comes before these, may have one.
    hasOverlay: [...bootFiles].some(path => path.startsWith(`${OVERLAYS}/`)),
  })
  flaws.push(...lines.map(flaw => `${LINES}: ${flaw}`))
  const pair = flaws.length === 0 ? pairFlaw(contents) : undefined
  if (pair) flaws.push(pair)
  const config = contents.get(CONFIG)
  const identity = config && flaws.length === 0 ? identityIn(config, contents, flaws) : undefined
  if (config && identity) {
    flaws.push(...missingFiles(config, contents))
    claim(name, identity, taken, flaws)
  }
  if (flaws.length > 0) return undefined
  return { name, files, sha256: hash.digest('hex'), missing: secrets.filter(secret => !files.has(secret)) }
}

/** Two cards of one identity would take turns at the hub. */
function claim(name: string, { id, credentials }: CardIdentity, taken: Map<string, string>, flaws: string[]): void {
  const claims = [
    ...(id === undefined ? [] : [[`id ${id}`, `the id ${JSON.stringify(id)}`] as const]),
    ...credentials.map(each => [`key ${each.sha256}`, each.what] as const),
  ]
  for (const [key, what] of claims) {
    const earlier = taken.get(key)
    if (earlier !== undefined) flaws.push(`it has ${what} of ${earlier}`)
    else taken.set(key, name)
  }
}

/** Folders of devices that the provisioning service does not know, as far as a report of enrol is there. */
async function notEnrolled(folder: string): Promise<ReadonlySet<string>> {
  const text = await readFile(join(folder, REPORT), 'utf8').catch(() => '{}')
  try {
    const { devices } = JSON.parse(text) as { devices?: readonly { registrationId: string; state: string }[] }
    return new Set((devices ?? []).filter(({ state }) => state === 'failed').map(each => each.registrationId))
  } catch {
    return new Set()
  }
}
