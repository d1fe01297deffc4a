import type { Allowed, Workflow } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import { isObject, member } from '../domain/members.ts'
import { webUrl } from '../domain/web-url.ts'

/** `deviceUpdate.service` of the twin (PROTOCOL.md, "Deployment"), as far as it can be read without trusting it. */
export interface Service {
  readonly action: 'deploy' | 'cancel'
  readonly workflow: Workflow
  /** The phase that the cloud orders; undefined on a contract that orders the whole update. */
  readonly allowed?: Allowed
  /** As sent, unverified. */
  readonly updateManifest: unknown
  readonly updateManifestSignature: unknown
  readonly fileUrls: unknown
  readonly rootKeyPackageUrl: unknown
}

export interface Reading {
  /** `$version` of the desired properties; undefined when the document is unusable. */
  readonly version?: number
  /** Whether there is a `service` to acknowledge. */
  readonly hasService: boolean
  /** For the acknowledgement, as sent. */
  readonly workflow?: unknown
  readonly service?: Service
  /** Why a desired document that was sent is not a deployment. */
  readonly ignored?: AgentError
}

const PROCESS_DEPLOYMENT = 3
const CANCEL = 255

/** Reads a desired document of the twin. Never throws; ignores what is not a deployment. */
export function readDesired(desired: unknown): Reading {
  const version = member(desired, '$version')
  if (typeof version !== 'number') {
    return { hasService: false, ignored: ignored('DEPLOYMENT_MALFORMED', 'the desired properties have no $version') }
  }
  const service = member(member(desired, 'deviceUpdate'), 'service')
  if (!isObject(service)) {
    const hint = otherPattern(desired)
    return {
      version,
      hasService: false,
      ...(hint === undefined ? {} : { ignored: ignored('DEPLOYMENT_MALFORMED', hint) }),
    }
  }
  const sent = member(service, 'workflow')
  return { version, hasService: true, ...(isObject(sent) ? { workflow: sent } : {}), ...readService(service) }
}

/** Names an older update pattern in desired properties without `deviceUpdate.service`, if there is a known one. */
export function otherPattern(desired: unknown): string | undefined {
  if (isObject(member(desired, 'azureDeviceUpdateAgent'))) {
    return 'azureDeviceUpdateAgent is the contract of 2021; this agent takes it only with piAdu.contract "2021"'
  }
  const firmware = member(desired, 'firmware')
  if (['fwVersion', 'fwPackageURI', 'fwPackageUri'].some(name => member(firmware, name) !== undefined)) {
    return 'desired.firmware is the pattern of the 2018 tutorial; this agent takes deployments of Device Update, and the method firmwareUpdate'
  }
  return undefined
}

/** A deployment needs a known `action`, and an id to report about. */
export function readService(service: Readonly<Record<string, unknown>>): Pick<Reading, 'service' | 'ignored'> {
  const sent = member(service, 'workflow')
  const action = member(sent, 'action')
  if (action !== PROCESS_DEPLOYMENT && action !== CANCEL) {
    return { ignored: ignored('ACTION_BAD', actionFlaw(service)) }
  }
  const id = member(sent, 'id')
  if (typeof id !== 'string' || id === '' || id.length > 512) {
    const why = id === undefined ? 'is missing' : 'is not a text of 1 to 512 characters'
    return { ignored: ignored('MANIFEST_BAD', `workflow.id ${why}`) }
  }
  const retryTimestamp = member(sent, 'retryTimestamp')
  const workflow = { action, id, ...(typeof retryTimestamp === 'string' ? { retryTimestamp } : {}) }
  return {
    service: {
      action: action === CANCEL ? 'cancel' : 'deploy',
      workflow,
      updateManifest: member(service, 'updateManifest'),
      updateManifestSignature: member(service, 'updateManifestSignature'),
      fileUrls: member(service, 'fileUrls'),
      rootKeyPackageUrl: member(service, 'rootKeyPackageUrl'),
    },
  }
}

function actionFlaw(service: Readonly<Record<string, unknown>>): string {
  const workflow = member(service, 'workflow')
  if (isObject(workflow)) {
    const action = member(workflow, 'action')
    return `workflow.action is ${action === undefined ? 'missing' : describe(action)}, not 3 or 255`
  }
  if (workflow !== undefined) return 'workflow is not an object'
  return member(service, 'action') === undefined
    ? 'workflow is missing'
    : 'an action without a workflow around it is the contract of 2021; this agent takes workflow.action 3 and 255'
}

/** Undefined when the deployment names no package. Errors: AgentError `PACKAGE_URL_MISSING`, `PACKAGE_URL`. */
export function packageUrlOf({ action, rootKeyPackageUrl: url }: Service): string | undefined {
  // Services before 2023 send none (PROTOCOL.md, "Package download"), and null is how a twin takes a value away.
  if (action === 'cancel' || url === undefined || url === null) return undefined
  if (typeof url !== 'string' || url === '')
    throw new AgentError('PACKAGE_URL_MISSING', 'rootKeyPackageUrl is not a text')
  const checked = webUrl(url)
  if (!checked.url) throw new AgentError('PACKAGE_URL', `rootKeyPackageUrl ${checked.flaw}`)
  return checked.url.href
}

const ignored = (code: 'DEPLOYMENT_MALFORMED' | 'ACTION_BAD' | 'MANIFEST_BAD', message: string): AgentError =>
  new AgentError(code, message)

/** Describes any value of a twin, however deep, in a few characters. */
const describe = (value: unknown): string =>
  typeof value === 'object' ? (value === null ? 'null' : 'an object') : String(value).slice(0, 40)
