import { isObject, type Json, type JsonObject } from '../hub/json.ts'

/** What the service knows when it starts a deployment. */
export interface DeploymentOrder {
  readonly workflowId: string
  readonly manifest: string
  readonly signature: string
  readonly fileUrls: Readonly<Record<string, string>>
  readonly rootKeyPackageUrl?: string
}

// workflow.action on the wire (PROTOCOL.md, "Deployment")
export const PROCESS_DEPLOYMENT = 3
const CANCEL = 255
/** The workflow id of a cancel that means no deployment in particular. */
export const NO_DEPLOYMENT = 'nodeployment'

/** The desired patch that starts `order` on a device whose desired properties are now `desired`. */
export function deployPatch(desired: JsonObject, order: DeploymentOrder): JsonObject {
  const now = currentService(desired)
  return servicePatch({
    workflow: {
      action: PROCESS_DEPLOYMENT,
      id: order.workflowId,
      ...cleared(now.workflow, ['action', 'id']),
    },
    ...(order.rootKeyPackageUrl !== undefined
      ? { rootKeyPackageUrl: order.rootKeyPackageUrl }
      : 'rootKeyPackageUrl' in now && { rootKeyPackageUrl: null }),
    updateManifest: order.manifest,
    updateManifestSignature: order.signature,
    // Desired properties are merged: addresses of the deployment before would stay if they were not cleared.
    fileUrls: { ...cleared(now.fileUrls, Object.keys(order.fileUrls)), ...order.fileUrls },
  })
}

/** The patch of an operator's cancel; real cancels name the deployment or `nodeployment`, and carry no root key package. */
export function cancelPatch(desired: JsonObject, workflowId: string = NO_DEPLOYMENT): JsonObject {
  const now = currentService(desired)
  return servicePatch({
    workflow: { action: CANCEL, id: workflowId, ...cleared(now.workflow, ['action', 'id']) },
    ...('rootKeyPackageUrl' in now && { rootKeyPackageUrl: null }),
    updateManifest: null,
    updateManifestSignature: null,
    fileUrls: null,
  })
}

/** The patch of an operator's retry of the deployment in `desired`: the same order with a new time stamp. */
export function retryPatch(desired: JsonObject, retryTimestamp: string): JsonObject {
  const workflow = asObject(currentService(desired).workflow)
  if (workflow.action !== PROCESS_DEPLOYMENT) throw new RangeError('there is no deployment to retry')
  return servicePatch({ workflow: { action: PROCESS_DEPLOYMENT, id: workflow.id ?? null, retryTimestamp } })
}

function servicePatch(service: JsonObject): JsonObject {
  return { deviceUpdate: { __t: 'c', service } }
}

/** `deviceUpdate.service`, or an empty object. */
export function currentService(desired: JsonObject): JsonObject {
  return asObject(asObject(desired.deviceUpdate).service)
}

/** A null for every key of `value` that is not in `kept`. */
function cleared(value: Json | undefined, kept: readonly string[]): JsonObject {
  const stale = Object.keys(asObject(value)).filter(key => !kept.includes(key))
  return Object.fromEntries(stale.map(key => [key, null]))
}

function asObject(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {}
}
