import { isObject, type Json, type JsonObject, member } from './json.ts'
import { checkPatch, checkSection } from './twin-limits.ts'

/** Twin documents: pure functions over plain values. The rules are those of PROTOCOL.md, "Twin documents". */

/** Desired or reported: the document, the metadata tree beside it, and the number of accepted changes. */
export interface Section {
  readonly value: JsonObject
  readonly metadata: JsonObject
  readonly version: number
}

export interface Twin {
  readonly tags: JsonObject
  readonly desired: Section
  readonly reported: Section
  /** Grows with every change of anything. */
  readonly version: number
  /** Grows with every change of tags or desired, not with reports of the device; the etag is made of it. */
  readonly serviceVersion: number
}

/** What the service may send: a part that is absent stays as it is. */
export interface TwinUpdate {
  readonly tags?: JsonObject
  readonly desired?: JsonObject
}

/** `devicePatch` is the patch for a connected device; absent when desired did not change. */
export interface ServiceChange {
  readonly twin: Twin
  readonly devicePatch?: JsonObject
}

export function newTwin(now: string): Twin {
  const section = (stamp: JsonObject): Section => ({ value: {}, metadata: stamp, version: 1 })
  return {
    tags: {},
    desired: section({ $lastUpdated: now, $lastUpdatedVersion: 1 }),
    reported: section({ $lastUpdated: now }),
    version: 2,
    serviceVersion: 1,
  }
}

/** JSON merge patch (RFC 7396): null removes, objects merge, everything else, arrays too, replaces. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch
  const merged = new Map(Object.entries(isObject(target) ? target : {}))
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key)
    else merged.set(key, mergePatch(merged.get(key), value))
  }
  return Object.fromEntries(merged) // defines keys, so that `__proto__` is a key like any other
}

/** The metadata tree after `patch`: new stamps along every changed path, none for removed keys. */
function mergeMetadata(target: Json | undefined, patch: Json, stamp: JsonObject): JsonObject {
  const merged = new Map(Object.entries(isObject(target) && isObject(patch) ? target : {}))
  for (const [key, value] of Object.entries(isObject(patch) ? patch : {})) {
    if (value === null) merged.delete(key)
    else merged.set(key, mergeMetadata(merged.get(key), value, stamp))
  }
  return { ...Object.fromEntries(merged), ...stamp }
}

/** A report of the device. Throws HubError (400) when patch or result break a limit; then nothing has changed. */
export function patchReported(twin: Twin, patch: JsonObject, now: string): Twin {
  checkPatch(patch, 'reported')
  const reported = patched(twin.reported, patch, { $lastUpdated: now })
  checkSection(reported.value, 'reported')
  return { ...twin, reported, version: twin.version + 1 }
}

/** A change by the service: all of it or nothing. Throws HubError (400) when it breaks a limit. */
export function patchByService(twin: Twin, update: TwinUpdate, now: string): ServiceChange {
  const desiredPatch = update.desired && withoutSystemKeys(update.desired)
  const next = bumped(twin)
  const tags = update.tags === undefined ? twin.tags : patchedTags(twin.tags, update.tags)
  if (desiredPatch === undefined) return { twin: { ...next, tags } }

  checkPatch(desiredPatch, 'desired')
  const stamp = { $lastUpdated: now, $lastUpdatedVersion: twin.desired.version + 1 }
  const desired = patched(twin.desired, desiredPatch, stamp)
  checkSection(desired.value, 'desired')
  return { twin: { ...next, tags, desired }, devicePatch: { ...desiredPatch, $version: desired.version } }
}

/** As `patchByService`, but a part that is present replaces the old one. The device sees lost keys as null. */
export function replaceByService(twin: Twin, update: TwinUpdate, now: string): ServiceChange {
  return patchByService(
    twin,
    {
      ...(update.tags && { tags: replacement(twin.tags, update.tags) }),
      ...(update.desired && { desired: replacement(twin.desired.value, withoutSystemKeys(update.desired)) }),
    },
    now,
  )
}

/** What the device gets for a GET: no metadata, no tags. */
export function deviceView(twin: Twin): JsonObject {
  const view = ({ value, version }: Section) => ({ ...value, $version: version })
  return { desired: view(twin.desired), reported: view(twin.reported) }
}

/** `properties` as the service sees them. */
export function serviceView(twin: Twin): JsonObject {
  const view = ({ value, metadata, version }: Section) => ({ ...value, $metadata: metadata, $version: version })
  return { desired: view(twin.desired), reported: view(twin.reported) }
}

function patched(section: Section, patch: JsonObject, stamp: JsonObject): Section {
  return {
    value: mergePatch(section.value, patch) as JsonObject,
    metadata: mergeMetadata(section.metadata, patch, stamp),
    version: section.version + 1,
  }
}

function patchedTags(tags: JsonObject, patch: JsonObject): JsonObject {
  checkPatch(patch, 'tags')
  const merged = mergePatch(tags, patch) as JsonObject
  checkSection(merged, 'tags')
  return merged
}

const bumped = (twin: Twin): Twin => ({
  ...twin,
  version: twin.version + 1,
  serviceVersion: twin.serviceVersion + 1,
})

/** The merge patch that turns `from` into `to`, saying every key of `to` again. */
function replacement(from: JsonObject, to: JsonObject): JsonObject {
  const patch = new Map<string, Json>()
  for (const key of Object.keys(from)) if (!Object.hasOwn(to, key)) patch.set(key, null)
  for (const [key, value] of Object.entries(to)) {
    const old = member(from, key)
    patch.set(key, isObject(value) && isObject(old) ? replacement(old, value) : value)
  }
  return Object.fromEntries(patch)
}

/** Services send back what they have read, system keys included. */
function withoutSystemKeys(patch: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(patch).filter(([key]) => key !== '$version' && key !== '$metadata'))
}
