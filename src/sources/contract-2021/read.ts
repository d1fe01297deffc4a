import type { Allowed } from '../../domain/deployment.ts'
import { AgentError } from '../../domain/errors.ts'
import { isObject, member } from '../../domain/members.ts'
import type { Reading, Service } from '../../trust/service.ts'

/** PROTOCOL.md, "Contract of 2021". */
export const COMPONENT = 'azureDeviceUpdateAgent'

const PHASES: Readonly<Record<number, Allowed>> = { 0: 'download', 1: 'install', 2: 'apply' }
const CANCEL = 255

/** The actions that today's contract has for the two kinds of orders. */
const DEPLOY = 3

/** Of a cancel: the twin has only one at a time. */
const CANCEL_ID = 'cancel'
/** Of a deployment that has no name yet, see `work-names.ts`. */
const UNNAMED = 'unnamed'

/** Reads a desired document of the twin. Never throws; ignores what is not an order. */
export function readOrder(desired: unknown): Reading {
  const version = member(desired, '$version')
  if (typeof version !== 'number') {
    return {
      hasService: false,
      ignored: new AgentError('DEPLOYMENT_MALFORMED', 'the desired properties have no $version'),
    }
  }
  const service = member(member(desired, COMPONENT), 'service')
  if (!isObject(service)) return { version, hasService: false, ...otherContract(desired) }
  const action = member(service, 'action')
  const phase = typeof action === 'number' && Object.hasOwn(PHASES, action) ? PHASES[action] : undefined
  const known = { version, hasService: true, workflow: typeof action === 'number' ? { action } : {} }
  if (action === CANCEL) return { ...known, service: orderOf(service, 'cancel') }
  if (phase) return { ...known, service: orderOf(service, 'deploy', phase) }
  return { ...known, ignored: new AgentError('ACTION_BAD', `action is ${describe(action)}, not 0, 1, 2 or 255`) }
}

function orderOf(service: Readonly<Record<string, unknown>>, action: Service['action'], allowed?: Allowed): Service {
  return {
    action,
    workflow: action === 'cancel' ? { action: CANCEL, id: CANCEL_ID } : { action: DEPLOY, id: UNNAMED },
    ...(allowed ? { allowed } : {}),
    updateManifest: member(service, 'updateManifest'),
    updateManifestSignature: member(service, 'updateManifestSignature'),
    fileUrls: member(service, 'fileUrls'),
    // This contract has none (README.md).
    rootKeyPackageUrl: undefined,
  }
}

function otherContract(desired: unknown): Pick<Reading, 'ignored'> {
  if (!isObject(member(member(desired, 'deviceUpdate'), 'service'))) return {}
  const why = 'deviceUpdate.service is the contract of today’s Device Update; piAdu.contract of this device is "2021"'
  return { ignored: new AgentError('DEPLOYMENT_MALFORMED', why) }
}

/** Describes any value of a twin, however deep, in a few characters. */
function describe(value: unknown): string {
  if (value === undefined) return 'missing'
  return typeof value === 'object' ? 'not a number' : String(value).slice(0, 40)
}
