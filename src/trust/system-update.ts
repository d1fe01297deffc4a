import type { FileEntity, ManifestStep, SystemUpdate, UpdateManifest, Verified } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import type { Checks } from './checks.ts'
import { isHttp } from './service.ts'

/**
 * Reads the one step of a system update and finds the bundle's URL.
 *
 * `microsoft/swupdate:2` comes with a script that does the A/B work in the reference agent; here the agent does that
 * itself, so a script is not needed, and never run. Errors: AgentError `STEPS_UNSUPPORTED`, `HANDLER_UNKNOWN`,
 * `SCRIPT_NOT_ALLOWED`, `SWU_…`, `CRITERIA_MISSING`, `URL_BAD`.
 */
export function readSystemUpdate(
  manifest: Verified<UpdateManifest>,
  fileUrls: unknown,
  checks: Checks,
): Verified<SystemUpdate> {
  const { bundle, installedCriteria } = checks.run(
    'handler',
    () => readStep(manifest),
    () => manifest.steps[0]?.handler ?? '',
  )
  const url = checks.run('urls', () => urlOf(bundle, fileUrls))
  return { updateId: manifest.updateId, installedCriteria, bundle, url } as SystemUpdate as Verified<SystemUpdate>
}

function readStep(manifest: Verified<UpdateManifest>): Pick<SystemUpdate, 'bundle' | 'installedCriteria'> {
  const [step] = manifest.steps
  const unknown = manifest.steps.find(each => !/^microsoft\/swupdate:[12]$/.test(each.handler))
  if (unknown) {
    throw new AgentError(
      'HANDLER_UNKNOWN',
      `this device has no handler "${unknown.handler.slice(0, 64)}"; it has microsoft/swupdate:1 and :2`,
    )
  }
  if (!step || manifest.steps.length !== 1) {
    throw new AgentError('STEPS_UNSUPPORTED', `the update has ${manifest.steps.length} steps, this agent takes one`)
  }
  const bundle = step.handler.endsWith(':1') ? onlyFile(step) : namedFile(step)
  const installedCriteria = text(step, 'installedCriteria')
  if (!installedCriteria) throw new AgentError('CRITERIA_MISSING', 'the step has no installedCriteria')
  return { bundle, installedCriteria }
}

function onlyFile(step: ManifestStep): FileEntity {
  const [file] = step.files
  if (!file || step.files.length !== 1) {
    throw new AgentError('SWU_FILE_COUNT', `${step.handler} takes exactly one file, the step has ${step.files.length}`)
  }
  return file
}

function namedFile(step: ManifestStep): FileEntity {
  if (text(step, 'scriptFileName') !== undefined) {
    throw new AgentError(
      'SCRIPT_NOT_ALLOWED',
      'the step has a scriptFileName, and scripts are not allowed on this device',
    )
  }
  const wanted = text(step, 'swuFileName')
  if (!wanted) throw new AgentError('SWU_FILE_NAME_MISSING', 'the step has no swuFileName')
  const file = step.files.find(each => each.fileName === wanted)
  if (!file)
    throw new AgentError('SWU_FILE_UNKNOWN', `swuFileName "${wanted.slice(0, 80)}" is not one of the step's files`)
  return file
}

/** Exactly as spelled, else by a unique match that ignores case (protocol, chapter 3.3). */
function text({ handlerProperties }: ManifestStep, name: string): string | undefined {
  const names = Object.keys(handlerProperties)
  const alike = names.filter(key => key.toLowerCase() === name.toLowerCase())
  const key = names.includes(name) ? name : alike.length === 1 ? alike[0] : undefined
  if (key === undefined) return undefined
  const value = handlerProperties[key]
  if (typeof value !== 'string') throw new AgentError('MANIFEST_BAD', `handlerProperties.${name} is not a string`)
  return value
}

/** Unsigned: only ever a place to fetch from. */
export function urlOf({ fileId, fileName }: FileEntity, fileUrls: unknown): string {
  const urls = typeof fileUrls === 'object' && fileUrls !== null ? (fileUrls as Record<string, unknown>) : {}
  const url = Object.hasOwn(urls, fileId) ? urls[fileId] : undefined
  if (typeof url !== 'string') throw new AgentError('URL_BAD', `fileUrls has no URL for ${fileName} (${fileId})`)
  if (!isHttp(url)) throw new AgentError('URL_BAD', `the URL of ${fileName} is not an http or https URL`)
  return url
}
