import type { Workflow } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'

/** `deviceUpdate.service` of the twin (protocol, chapter 1.5), as far as it can be read without trusting it. */
export interface Service {
  readonly action: 'deploy' | 'cancel'
  readonly workflow: Workflow
  /** As sent, unverified. */
  readonly updateManifest: unknown
  readonly updateManifestSignature: unknown
  readonly fileUrls: unknown
  readonly rootKeyPackageUrl: unknown
}

export interface Reading {
  /** `$version` of the desired properties; undefined when the document is unusable. */
  readonly version?: number
  /** Whether there is a `deviceUpdate.service` to acknowledge. */
  readonly hasService: boolean
  /** For the acknowledgement, as sent. */
  readonly workflow?: unknown
  readonly service?: Service
  /** Why there is no order although something was sent. */
  readonly ignored?: AgentError
}

const PROCESS_DEPLOYMENT = 3
const CANCEL = 255

/** Reads a desired document of the twin. Never throws; what is no order at all is ignored. */
export function readDesired(desired: unknown): Reading {
  const version = member(desired, '$version')
  if (typeof version !== 'number') {
    return { hasService: false, ignored: ignored('ORDER_MALFORMED', 'the desired properties have no $version') }
  }
  const service = member(member(desired, 'deviceUpdate'), 'service')
  if (!isObject(service)) return { version, hasService: false }
  const sent = member(service, 'workflow')
  return { version, hasService: true, ...(isObject(sent) ? { workflow: sent } : {}), ...readService(service) }
}

/** Nothing is acted on without an `action` that is known, and an id to report about. */
export function readService(service: Readonly<Record<string, unknown>>): Pick<Reading, 'service' | 'ignored'> {
  const sent = member(service, 'workflow')
  const action = member(sent, 'action')
  if (action !== PROCESS_DEPLOYMENT && action !== CANCEL) {
    const what = action === undefined ? 'missing' : describe(action)
    return { ignored: ignored('ACTION_BAD', `workflow.action is ${what}, not 3 or 255`) }
  }
  const id = member(sent, 'id')
  if (typeof id !== 'string' || id === '' || id.length > 512) {
    return { ignored: ignored('MANIFEST_BAD', 'workflow.id is not a text of 1 to 512 characters') }
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

/** Undefined when the order names no package. Errors: AgentError `PACKAGE_URL_MISSING`, `PACKAGE_URL`. */
export function packageUrlOf({ action, rootKeyPackageUrl: url }: Service): string | undefined {
  // Services before 2023 send none, and null is how a twin takes a value away (chapter 12.4, row 35).
  if (action === 'cancel' || url === undefined || url === null) return undefined
  if (typeof url !== 'string' || url === '') throw new AgentError('PACKAGE_URL_MISSING', 'rootKeyPackageUrl is no text')
  if (!isHttp(url)) throw new AgentError('PACKAGE_URL', 'rootKeyPackageUrl is not an http or https URL')
  return url
}

export const isHttp = (url: string): boolean => URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)

const ignored = (code: 'ORDER_MALFORMED' | 'ACTION_BAD' | 'MANIFEST_BAD', message: string): AgentError =>
  new AgentError(code, message)

/** Of anything a twin may hold, however deep. */
const describe = (value: unknown): string =>
  typeof value === 'object' ? (value === null ? 'null' : 'an object') : String(value).slice(0, 40)

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const member = (value: unknown, key: string): unknown =>
  isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined
