import { stat } from 'node:fs/promises'
import { EXIT, Failure } from '../failure.ts'
import { jsonOf, readInput } from '../input.ts'
import { checkManifest, type Finding } from './check.ts'
import type { Contents, Role } from './contents.ts'
import type { File, ImportManifest, InlineStep, UpdateId } from './schema.ts'

/** Where the files of a manifest are that was checked by itself. */
export interface Places {
  fileOf(name: string): string
  childOf(updateId: UpdateId): string
}

export interface Found {
  readonly findings: readonly Finding[]
  /** By file name: see `names` of `Content`. */
  readonly versions: ReadonlyMap<string, string>
}

/** Reads the files that are there as the devices read them, and the import manifests of the children. */
export async function findBeside(manifest: ImportManifest, places: Places, contents: Contents): Promise<Found> {
  const versions = new Map<string, string>()
  const findings: Finding[] = []
  for (const [index, file] of (manifest.files ?? []).entries()) {
    const { names, found } = await fileFindings(file, `files.${index}`, roleIn(manifest, file.filename))
    if (names !== undefined) versions.set(file.filename, names)
    findings.push(...found)
    for (const [at, related] of (file.relatedFiles ?? []).entries()) {
      findings.push(...(await fileFindings(related, `files.${index}.relatedFiles.${at}`, 'plain')).found)
    }
  }
  for (const [index, step] of manifest.instructions.steps.entries()) {
    if (step.type !== 'reference') continue
    findings.push(...(await childFindings(manifest, step.updateId, `instructions.steps.${index}.updateId`, places)))
  }
  return { findings, versions }

  async function fileFindings({ filename, sizeInBytes, hashes }: Omit<File, 'relatedFiles'>, path: string, role: Role) {
    const place = places.fileOf(filename)
    const there = await stat(place).catch(() => undefined)
    if (!there) return { found: [] }
    if (there.size !== sizeInBytes) {
      return { found: [error(`${path}.sizeInBytes`, `is ${sizeInBytes}, ${place} has ${there.size}`)] }
    }
    const { sha256, names, faults } = await contents.of(place, role)
    if (sha256 !== hashes.sha256) return { found: [error(`${path}.hashes.sha256`, `is not that of ${place}`)] }
    return { names, found: faults.map(({ level, message }): Finding => ({ level, path, message })) }
  }
}

const error = (path: string, message: string): Finding => ({ level: 'error', path, message })

/** What the first step that has the file uses it as. */
function roleIn({ instructions }: ImportManifest, name: string): Role {
  const inline = instructions.steps.filter((step): step is InlineStep => step.type !== 'reference')
  const step = inline.find(({ files }) => files.includes(name))
  const { scriptFileName } = step?.handlerProperties ?? {}
  if (name === scriptFileName) return 'script'
  if (step?.handler === 'microsoft/apt:1') return 'apt'
  return name.endsWith('.swu') || step?.handler === 'microsoft/swupdate:1' ? 'bundle' : 'plain'
}

/** The rules for several updates of one import (PROTOCOL.md, "Import limits"). */
async function childFindings(
  parent: ImportManifest,
  wanted: UpdateId,
  path: string,
  places: Places,
): Promise<readonly Finding[]> {
  const file = places.childOf(wanted)
  if (!(await stat(file).catch(() => undefined))) return []
  const json = await readInput(file)
    .then(bytes => jsonOf(bytes, file))
    .catch((cause: unknown) => {
      if (cause instanceof Failure && cause.exitCode === EXIT.failed) return cause
      throw cause
    })
  if (json instanceof Failure) return [error(path, json.message)]
  const faults = checkManifest(json).filter(({ level }) => level === 'error')
  if (faults.length > 0) return faults.map(fault => error(path, `${file}: ${fault.path} ${fault.message}`))
  const child = json as ImportManifest
  const findings: Finding[] = []
  if (named(child.updateId) !== named(wanted)) {
    findings.push(error(path, `is ${named(wanted)}, and ${file} is ${named(child.updateId)}`))
  }
  if (child.instructions.steps.some(({ type }) => type === 'reference')) {
    findings.push(error(path, `${file} refers to other updates itself, which only the update on top may do`))
  }
  const alike = child.compatibility.find(each => parent.compatibility.some(other => pairs(each) === pairs(other)))
  if (alike !== undefined) {
    const why = 'the service takes one update name for each, and these pairs select the components'
    findings.push(error(path, `${file} has the same compatibility as this update (${pairs(alike)}): ${why}`))
  }
  return findings
}

const named = ({ provider, name, version }: UpdateId): string => `${provider}.${name}.${version}`

const pairs = (compatibility: Readonly<Record<string, string>>): string =>
  Object.entries(compatibility)
    .map(pair => pair.join('=').toLowerCase())
    .sort()
    .join(',')
