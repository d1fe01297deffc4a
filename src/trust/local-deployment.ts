import type { Deploy, Deployment, FirmwareUpdate, PlannedStep, Workflow } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import { Hosts } from '../domain/hosts.ts'
import { isObject, member } from '../domain/members.ts'
import { systemUpdateOf } from '../domain/system-update.ts'
import { JsonError, readJson, utf8 } from './json.ts'
import { isSafeName } from './names.ts'
import type { Service } from './service.ts'

/** The file that makes a folder a deployment. */
export const DEPLOYMENT_FILE = 'deployment.json'

/** Several times the largest manifest with its signature, escaped as JSON text, in bytes. */
export const MAX_DEPLOYMENT_BYTES = 2 << 20

/** Stands for the folder while the deployment is verified: no real host has a name under `.invalid` (RFC 6761). */
const PLACE = 'http://folder.invalid/'

/** Allows the folder and nothing else. */
export const FOLDER_HOSTS = new Hosts('the folder', ['folder.invalid'])

/** While the deployment is verified. */
export const urlIn = (fileName: string): string => `${PLACE}${encodeURIComponent(fileName)}`

/** The name of a file in the folder, from a URL that `readLocalDeployment` has made. Errors: AgentError `LOCAL_FILE`. */
export function fileNameIn(url: string): string {
  const name = url.startsWith(PLACE) ? decodeURIComponent(url.slice(PLACE.length)) : ''
  if (isSafeName(name)) return name
  throw new AgentError('LOCAL_FILE', 'the deployment names something that is not a file in its folder')
}

/**
 * The deployment in `deployment.json`: `deviceUpdate.service` as the twin carries it, but the URLs are names of files in the same
 * folder. Nothing is trusted yet. The workflow id of the cloud is not used: this is an attempt of its own, and must not be
 * reported as that one. Errors: AgentError `LOCAL_FOLDER`.
 */
export function readLocalDeployment(bytes: Buffer, workflow: Workflow): Service {
  const given = parsed(bytes)
  if (member(given, 'updateManifest') === undefined) throw bad('has no updateManifest')
  const action = member(member(given, 'workflow'), 'action')
  if (action !== undefined && action !== 3)
    throw bad('asks for another action than a deployment: workflow.action is not 3')
  const fileUrls = member(given, 'fileUrls')
  if (!isObject(fileUrls)) throw bad('has no fileUrls with the names of its files')
  const rootKeyPackage = member(given, 'rootKeyPackageUrl')
  return {
    action: 'deploy',
    workflow,
    updateManifest: member(given, 'updateManifest'),
    updateManifestSignature: member(given, 'updateManifestSignature'),
    fileUrls: Object.fromEntries(Object.entries(fileUrls).map(([id, name]) => [id, placed(name, `the file ${id}`)])),
    rootKeyPackageUrl: placed(rootKeyPackage ?? null, 'rootKeyPackageUrl'),
  }
}

/** The deployment with the URLs of the files in its folder. `at`: the URL of one of them. Errors: the refusal's; AgentError `LOCAL_FILE`. */
export function placedList(deployment: Deployment, at: (fileName: string) => string): Deploy {
  if (deployment.kind === 'refuse') throw deployment.error
  if (deployment.kind === 'cancel') throw bad('does not deploy anything')
  const { signed, manifest, plans } = deployment
  const placed = (step: PlannedStep): PlannedStep => {
    const urls = Object.entries(step.urls).map(([id, url]) => [id, at(fileNameIn(url))])
    return { ...step, urls: Object.fromEntries(urls) }
  }
  const [first, ...others] = plans
  return { kind: 'deploy', local: true, signed, manifest, plans: [placed(first), ...others.map(placed)] }
}

/**
 * What a folder asks for. One image says all that is needed, so a process that comes later need not read the folder again; a list
 * is named by its `deployment.json`.
 */
export function localUpdate(list: Deploy, at: (fileName: string) => string): FirmwareUpdate {
  const { updateId } = list.manifest
  const [first, ...others] = list.plans
  if (first.plan.kind === 'image' && others.length === 0) {
    const { installedCriteria: version, bundle } = first.plan
    const { url = '' } = systemUpdateOf(list)
    const sha256 = bundle.sha256.toString('hex')
    return { url, local: true, updateId, version, sizeInBytes: bundle.sizeInBytes, sha256 }
  }
  const image = list.plans.find(({ plan }) => plan.kind === 'image')?.plan
  const version = image?.kind === 'image' ? { version: image.installedCriteria } : {}
  return { url: at(DEPLOYMENT_FILE), local: true, list: true, updateId, ...version }
}

/** Every file that its steps need. */
export function filesOf({ plans }: Deploy) {
  return plans.flatMap(({ plan, urls, path }) => {
    const files = plan.kind === 'image' ? [plan.bundle] : plan.kind === 'work' ? [...plan.probe, ...plan.payload] : []
    return files.map(({ fileId, fileName, sizeInBytes }) => {
      const what = `${fileName} of step ${path.map(index => index + 1).join('.')}`
      return { url: urls[fileId] ?? '', sizeInBytes, what }
    })
  })
}

function parsed(bytes: Buffer): Record<string, unknown> {
  if (bytes.length > MAX_DEPLOYMENT_BYTES) throw bad(`is larger than ${MAX_DEPLOYMENT_BYTES} bytes`)
  const text = utf8(bytes)
  if (text === undefined) throw bad('is not UTF-8 text')
  try {
    const json = readJson(text)
    if (isObject(json)) return json
  } catch (error) {
    if (error instanceof JsonError) throw bad(error.plain)
    throw error
  }
  throw bad('is not an object')
}

/** Null stays: it is how a twin takes a value away. */
function placed(name: unknown, what: string): string | null {
  if (name === null) return null
  if (typeof name === 'string' && isSafeName(name)) return urlIn(name)
  throw bad(`does not give ${what.slice(0, 80)} the plain name of a file in the same folder`)
}

const bad = (what: string): AgentError => new AgentError('LOCAL_FOLDER', `${DEPLOYMENT_FILE} ${what}`)
