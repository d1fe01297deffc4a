import * as v from 'valibot'
import { type Devices, type IdentityUpdate, twinEtag } from './devices.ts'
import { invalidArgument } from './errors.ts'
import { namesOf } from './ids.ts'
import { isObject, type JsonObject, member } from './json.ts'
import type { DeviceRecord } from './store.ts'
import { serviceView, type TwinUpdate } from './twin.ts'

/** Records as the service sees them, and back (PROTOCOL.md, "Service API"). */

const NO_THUMBPRINTS = { primaryThumbprint: null, secondaryThumbprint: null }

export function twinJson(record: DeviceRecord, devices: Devices): JsonObject {
  return {
    ...idsOf(record),
    etag: twinEtag(record),
    deviceEtag: record.etag,
    status: record.status,
    statusUpdateTime: record.statusUpdated,
    connectionState: connectionState(record, devices),
    lastActivityTime: record.lastActivity,
    cloudToDeviceMessageCount: 0,
    authenticationType: authenticationType(record),
    x509Thumbprint: thumbprints(record),
    modelId: record.modelId,
    version: record.twin.version,
    tags: record.twin.tags,
    properties: serviceView(record.twin),
    capabilities: { iotEdge: false },
  }
}

export function deviceJson(record: DeviceRecord, devices: Devices): JsonObject {
  return {
    ...idsOf(record),
    generationId: record.generationId,
    etag: record.etag,
    connectionState: connectionState(record, devices),
    status: record.status,
    statusReason: record.statusReason,
    connectionStateUpdatedTime: record.connectionUpdated,
    statusUpdatedTime: record.statusUpdated,
    lastActivityTime: record.lastActivity,
    cloudToDeviceMessageCount: 0,
    authentication: {
      symmetricKey: { primaryKey: record.keys.primary, secondaryKey: record.keys.secondary },
      x509Thumbprint: thumbprints(record),
      type: authenticationType(record),
    },
    capabilities: { iotEdge: false },
  }
}

function idsOf({ id }: DeviceRecord): JsonObject {
  const { device, module } = namesOf(id)
  return module === undefined ? { deviceId: device } : { deviceId: device, moduleId: module, managedBy: '' }
}

const connectionState = ({ id }: DeviceRecord, devices: Devices) => (devices.link(id) ? 'Connected' : 'Disconnected')

const authenticationType = ({ thumbprints, caSigned }: DeviceRecord) =>
  caSigned ? 'certificateAuthority' : thumbprints.length > 0 ? 'selfSigned' : 'sas'

const thumbprints = ({ thumbprints: [primary, secondary] }: DeviceRecord) =>
  primary === undefined ? NO_THUMBPRINTS : { primaryThumbprint: primary, secondaryThumbprint: secondary ?? null }

// The SDK sends empty text for "make one".
const key = v.nullish(v.union([v.pipe(v.string(), v.base64()), v.literal('')]))
const thumbprint = v.nullish(v.pipe(v.string(), v.regex(/^([0-9a-fA-F]{40}|[0-9a-fA-F]{64})$/)))
const identitySchema = v.object({
  status: v.nullish(v.picklist(['enabled', 'disabled'])),
  statusReason: v.nullish(v.pipe(v.string(), v.maxLength(128))),
  authentication: v.nullish(
    v.object({
      type: v.nullish(v.string()),
      symmetricKey: v.nullish(v.object({ primaryKey: key, secondaryKey: key })),
      x509Thumbprint: v.nullish(v.object({ primaryThumbprint: thumbprint, secondaryThumbprint: thumbprint })),
    }),
  ),
})

/** Throws HubError (400). Keys that are absent are left to the hub. */
export function identityOf(body: unknown): IdentityUpdate {
  const parsed = v.safeParse(identitySchema, body)
  if (!parsed.success) throw invalidArgument(v.summarize(parsed.issues))
  const { status, statusReason, authentication } = parsed.output
  const { primaryKey, secondaryKey } = authentication?.symmetricKey ?? {}
  const { primaryThumbprint, secondaryThumbprint } = authentication?.x509Thumbprint ?? {}
  return {
    ...(status && { status }),
    ...(statusReason !== undefined && { statusReason }),
    ...(authentication?.type && { caSigned: authentication.type === 'certificateAuthority' }),
    ...(primaryKey && { keys: { primary: primaryKey, secondary: secondaryKey || primaryKey } }),
    ...(authentication?.x509Thumbprint && {
      thumbprints: [primaryThumbprint, secondaryThumbprint].filter(print => typeof print === 'string'),
    }),
  }
}

/** Throws HubError (400). Parts a service may not change, such as `reported`, are ignored as in the cloud. */
export function twinUpdateOf(body: unknown): TwinUpdate {
  if (!isObject(body)) throw invalidArgument('the body is not a JSON object')
  const tags = member(body, 'tags')
  const desired = member(member(body, 'properties'), 'desired')
  for (const part of [tags, desired]) {
    if (part !== undefined && part !== null && !isObject(part)) throw invalidArgument('tags and desired are objects')
  }
  return { ...(isObject(tags) && { tags }), ...(isObject(desired) && { desired }) }
}
