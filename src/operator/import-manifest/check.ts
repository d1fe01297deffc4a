import * as v from 'valibot'
import { type ImportManifest, type InlineStep, type ManifestVersion, type ReferenceStep, SCHEMAS } from './schema.ts'

export interface Finding {
  /** `error`: the service refuses it, or no device could install it. `warning`: it will not do what its author thinks. */
  readonly level: 'error' | 'warning'
  /** Where, such as `files.0.sizeInBytes`; empty for the whole. */
  readonly path: string
  readonly message: string
}

/** Sum of the files of one import (chapter 10.2: 2 GB). */
const MAX_TOTAL = 2147483648

/** Every rule of chapter 10 that can be looked at in the file alone. Pure. */
export function checkManifest(json: unknown): readonly Finding[] {
  const version = (json as { manifestVersion?: unknown } | null | undefined)?.manifestVersion
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    return [error('', 'is not a JSON object')]
  }
  if (typeof version !== 'string' || !Object.hasOwn(SCHEMAS, version)) {
    return [error('manifestVersion', `is ${JSON.stringify(version)}; known are "4.0" and "5.0"`)]
  }
  const result = v.safeParse(SCHEMAS[version as ManifestVersion], json)
  if (!result.success) return result.issues.map(issue => error(v.getDotPath(issue) ?? '', complaint(issue, version)))
  return relations(result.output as ImportManifest)
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

/** What one member says of another. */
function relations(manifest: ImportManifest): Finding[] {
  const { instructions, files = [], updateId, isDeployable } = manifest
  const steps = instructions.steps.map((step, index) => ({ step, path: `instructions.steps.${index}` }))
  const inline = steps.filter((each): each is { step: InlineStep; path: string } => 'handler' in each.step)
  const references = steps.filter((each): each is { step: ReferenceStep; path: string } => 'updateId' in each.step)
  const names = files.map(({ filename }) => filename)
  return [
    ...names.flatMap((name, index) =>
      names.indexOf(name) < index ? [error(`files.${index}.filename`, `"${name}" is there twice`)] : [],
    ),
    ...inline.flatMap(({ step, path }) => [
      ...step.files.flatMap((name, index) => [
        ...(names.includes(name) ? [] : [error(`${path}.files.${index}`, `"${name}" is not in files`)]),
        ...(step.files.indexOf(name) < index ? [error(`${path}.files.${index}`, `"${name}" is there twice`)] : []),
      ]),
      ...ofHandler(step, path),
    ]),
    ...names.flatMap((name, index) =>
      inline.some(({ step }) => step.files.includes(name))
        ? []
        : [warning(`files.${index}`, `"${name}" is in no step: no device will ever fetch it`)],
    ),
    ...totalSize(files),
    ...references.flatMap(({ step, path }) =>
      JSON.stringify(step.updateId) === JSON.stringify(updateId)
        ? [error(`${path}.updateId`, 'the update refers to itself')]
        : [],
    ),
    ...(isDeployable === false && references.length > 0
      ? [error('isDeployable', 'an update that only others refer to cannot refer to others itself')]
      : []),
    ...sameCriteria(inline),
    ...(/(^|\.)0\d/.test(updateId.version)
      ? [warning('updateId.version', 'leading zeros are dropped by the service')]
      : []),
  ]
}

function totalSize(files: NonNullable<ImportManifest['files']>): Finding[] {
  const related = files.flatMap(file => file.relatedFiles ?? [])
  const total = [...files, ...related].reduce((sum, { sizeInBytes }) => sum + sizeInBytes, 0)
  return total > MAX_TOTAL ? [error('files', `are ${total} bytes together, one import takes ${MAX_TOTAL}`)] : []
}

/** What the handlers need that the service does not check (chapters 3.4 and 5.3). */
function ofHandler({ handler, files, handlerProperties = {} }: InlineStep, path: string): Finding[] {
  const at = `${path}.handlerProperties`
  const property = (name: string): unknown => handlerProperties[name]
  if (!/^microsoft\/(swupdate:[12]|script:1|apt:1)$/.test(handler)) {
    return [warning(`${path}.handler`, `"${handler}" is not a handler that is known here`)]
  }
  const findings: Finding[] = []
  if (typeof property('installedCriteria') !== 'string' || property('installedCriteria') === '') {
    findings.push(error(`${at}.installedCriteria`, 'is missing: no device can tell that the update is installed'))
  }
  if (handler === 'microsoft/swupdate:1' && files.length !== 1) {
    findings.push(error(`${path}.files`, 'microsoft/swupdate:1 takes exactly one file'))
  }
  if (handler === 'microsoft/swupdate:2') {
    findings.push(...namesFile('swuFileName', true))
    findings.push(...namesFile('scriptFileName', false))
    if (property('scriptFileName') !== undefined) {
      findings.push(warning(`${at}.scriptFileName`, 'pi-adu-agent runs no scripts and refuses a step with one'))
    }
  }
  if (handler === 'microsoft/script:1') findings.push(...namesFile('scriptFileName', true))
  return findings

  function namesFile(name: string, needed: boolean): Finding[] {
    const value = property(name)
    if (value === undefined) return needed ? [error(`${at}.${name}`, 'is missing')] : []
    return files.includes(String(value)) ? [] : [error(`${at}.${name}`, `"${value}" is not one of the step's files`)]
  }
}

function sameCriteria(inline: readonly { step: InlineStep; path: string }[]): Finding[] {
  const criteria = inline.map(({ step }) => step.handlerProperties?.installedCriteria)
  return inline.flatMap(({ path }, index) =>
    criteria[index] !== undefined && criteria.indexOf(criteria[index]) < index
      ? [warning(`${path}.handlerProperties.installedCriteria`, 'is that of an earlier step: this one will be skipped')]
      : [],
  )
}
