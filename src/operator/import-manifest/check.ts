import * as v from 'valibot'
import { isSafeName } from '../../trust/names.ts'
import { agentFindings } from './agent-verdict.ts'
import { handlerFindings } from './handler-rules.ts'
import {
  type File,
  type ImportManifest,
  type InlineStep,
  type ManifestVersion,
  type ReferenceStep,
  SCHEMAS,
} from './schema.ts'

export interface Finding {
  /** `error`: the service refuses it, or no device could install it. `warning`: it probably is not what its author intended. */
  readonly level: 'error' | 'warning'
  /** Location such as `files.0.sizeInBytes`; empty for the whole manifest. */
  readonly path: string
  readonly message: string
}

/** For the files of one import together, in bytes (PROTOCOL.md, "Import limits"). */
const MAX_TOTAL = 2147483648

/** Facts from outside the manifest. */
export interface Beside {
  /** By file name: the version in `sw-description` of each bundle that was found, and `name-version` of each APT manifest. */
  readonly versions?: ReadonlyMap<string, string>
  /** First line of the new system's version file, if it is not the bundle's version. */
  readonly installedCriteria?: string | undefined
}

/** Checks the rules of PROTOCOL.md, "Import schema", and what follows from them. Pure. */
export function checkManifest(json: unknown, beside: Beside = {}): readonly Finding[] {
  const version = (json as { manifestVersion?: unknown } | null | undefined)?.manifestVersion
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    return [error('', 'is not a JSON object')]
  }
  if (typeof version !== 'string' || !Object.hasOwn(SCHEMAS, version)) {
    return [error('manifestVersion', `is ${JSON.stringify(version)}; known are "4.0" and "5.0"`)]
  }
  const result = v.safeParse(SCHEMAS[version as ManifestVersion], json)
  if (!result.success) return result.issues.map(issue => error(v.getDotPath(issue) ?? '', complaint(issue, version)))
  return relations(result.output as ImportManifest, beside)
}

const error = (path: string, message: string): Finding => ({ level: 'error', path, message })
const warning = (path: string, message: string): Finding => ({ level: 'warning', path, message })

const NEW_IN_5 = /(^|\.)(properties|relatedFiles|downloadHandler)$/

function complaint(issue: v.BaseIssue<unknown>, version: string): string {
  if (issue.received === 'undefined') return 'is missing'
  if (!issue.message.startsWith('Invalid key')) return issue.message
  const newer = version === '4.0' && NEW_IN_5.test(v.getDotPath(issue) ?? '')
  return newer ? 'came with version 5.0, this manifest is 4.0' : 'is not known here'
}

/** Rules between members. */
function relations(manifest: ImportManifest, beside: Beside): Finding[] {
  const { instructions, files = [], updateId, isDeployable } = manifest
  const steps = instructions.steps.map((step, index) => ({ step, path: `instructions.steps.${index}` }))
  const inline = steps.filter((each): each is { step: InlineStep; path: string } => 'handler' in each.step)
  const references = steps.filter((each): each is { step: ReferenceStep; path: string } => 'updateId' in each.step)
  const names = files.map(({ filename }) => filename)
  return [
    ...references.flatMap(({ step, path }, index) =>
      references.findIndex(other => sameId(other.step, step)) < index
        ? [error(`${path}.updateId`, 'is that of an earlier step')]
        : [],
    ),
    ...names.flatMap((name, index) =>
      names.indexOf(name) < index ? [error(`files.${index}.filename`, `"${name}" is there twice`)] : [],
    ),
    ...inline.flatMap(({ step, path }) => [
      ...step.files.flatMap((name, index) => [
        ...(names.includes(name) ? [] : [error(`${path}.files.${index}`, `"${name}" is not in files`)]),
        ...(step.files.indexOf(name) < index ? [error(`${path}.files.${index}`, `"${name}" is there twice`)] : []),
      ]),
      ...ofHandler(manifest, step, path, beside),
    ]),
    ...names.flatMap((name, index) =>
      inline.some(({ step }) => step.files.includes(name))
        ? []
        : [warning(`files.${index}`, `"${name}" is in no step: no device will ever fetch it`)],
    ),
    ...files.flatMap((file, index) => [
      ...safeName(file, `files.${index}`),
      ...related(file, `files.${index}`),
      ...(file.relatedFiles ?? []).flatMap((each, at) => safeName(each, `files.${index}.relatedFiles.${at}`)),
    ]),
    ...totalSize(files),
    ...references.flatMap(({ step, path }) =>
      sameId(step, { updateId }) ? [error(`${path}.updateId`, 'the update refers to itself')] : [],
    ),
    ...(isDeployable === false && references.length > 0
      ? [error('isDeployable', 'an update that only others refer to cannot refer to others itself')]
      : []),
    ...sameCriteria(inline),
    ...lostPackages(inline),
    ...(/(^|\.)0\d/.test(updateId.version)
      ? [warning('updateId.version', 'leading zeros are dropped by the service')]
      : []),
  ]
}

const sameId = (one: Pick<ReferenceStep, 'updateId'>, other: Pick<ReferenceStep, 'updateId'>): boolean =>
  (['provider', 'name', 'version'] as const).every(key => one.updateId[key] === other.updateId[key])

const safeName = ({ filename }: Pick<File, 'filename'>, path: string): Finding[] =>
  isSafeName(filename) ? [] : [error(`${path}.filename`, `${JSON.stringify(filename)} is a name that devices refuse`)]

/** Related files need a handler that can use them (PROTOCOL.md, "Import schema"). */
function related({ relatedFiles = [], downloadHandler }: File, path: string): Finding[] {
  if (!downloadHandler) {
    return relatedFiles.length > 0 ? [error(`${path}.downloadHandler`, 'is missing: relatedFiles need one')] : []
  }
  if (relatedFiles.length === 0) {
    return [warning(`${path}.downloadHandler`, 'does nothing: the file has no relatedFiles')]
  }
  if (downloadHandler.id !== 'microsoft/delta:1') return []
  return relatedFiles.flatMap(({ properties = {} }, index) =>
    ['microsoft.sourceFileHash', 'microsoft.sourceFileHashAlgorithm'].flatMap(name =>
      typeof properties[name] === 'string'
        ? []
        : [warning(`${path}.relatedFiles.${index}.properties`, `has no ${name}: no device can use the file`)],
    ),
  )
}

/** The agent's own code finds what our rules do not name better. */
function ofHandler(manifest: ImportManifest, step: InlineStep, path: string, beside: Beside): readonly Finding[] {
  const findings = handlerFindings(step, path, manifest.updateId.version, beside)
  const isListed = step.files.every(name => manifest.files?.some(({ filename }) => filename === name))
  if (!isListed || findings.some(({ level }) => level === 'error')) return findings
  return [...findings, ...agentFindings(manifest, step, path)]
}

function totalSize(files: NonNullable<ImportManifest['files']>): Finding[] {
  const related = files.flatMap(file => file.relatedFiles ?? [])
  const total = [...files, ...related].reduce((sum, { sizeInBytes }) => sum + sizeInBytes, 0)
  return total > MAX_TOTAL ? [error('files', `are ${total} bytes together, one import takes ${MAX_TOTAL}`)] : []
}

/** An image replaces the whole system. */
function lostPackages(inline: readonly { step: InlineStep; path: string }[]): Finding[] {
  const isImage = ({ handler, handlerProperties }: InlineStep): boolean =>
    handler.startsWith('microsoft/swupdate:') && handlerProperties?.scriptFileName === undefined
  const last = inline.findLastIndex(({ step }) => isImage(step))
  const why = 'its packages are not in the system that a later step installs: put it behind the image'
  return inline.flatMap(({ step, path }, index) =>
    step.handler === 'microsoft/apt:1' && index < last ? [warning(path, why)] : [],
  )
}

function sameCriteria(inline: readonly { step: InlineStep; path: string }[]): Finding[] {
  const criteria = inline.map(({ step }) => step.handlerProperties?.installedCriteria)
  return inline.flatMap(({ path }, index) =>
    criteria[index] !== undefined && criteria.indexOf(criteria[index]) < index
      ? [warning(`${path}.handlerProperties.installedCriteria`, 'is that of an earlier step: this one will be skipped')]
      : [],
  )
}
