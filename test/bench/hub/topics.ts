import { isModule, resourcePath } from './ids.ts'

/** The device topics (PROTOCOL.md, "Topics"), taken apart and put together. `$rid` is opaque: never decoded. */

export const TWIN_ANSWERS = '$iothub/twin/res/#'
export const DESIRED_PATCHES = '$iothub/twin/PATCH/properties/desired/#'
export const METHOD_CALLS = '$iothub/methods/POST/#'

export type DevicePublish =
  | { readonly kind: 'twinGet' | 'twinPatch'; readonly rid: string }
  | { readonly kind: 'methodAnswer'; readonly status: number; readonly rid: string }
  | { readonly kind: 'telemetry'; readonly properties: string }

/** What a device or module may subscribe to; everything else is refused in the SUBACK. A module gets no messages. */
export const isSubscribable = (filter: string, deviceId: string) =>
  filter === TWIN_ANSWERS ||
  filter === DESIRED_PATCHES ||
  filter === METHOD_CALLS ||
  (!isModule(deviceId) && filter === `${resourcePath(deviceId)}/messages/devicebound/#`)

/** Undefined for anything this device has no business publishing to. */
export function parseTopic(topic: string, deviceId: string): DevicePublish | undefined {
  const telemetry = `${resourcePath(deviceId)}/messages/events/`
  if (topic.startsWith(telemetry)) return { kind: 'telemetry', properties: topic.slice(telemetry.length) }

  const question = topic.indexOf('/?')
  const rid = topic
    .slice(question + 2)
    .split('&')
    .find(part => part.startsWith('$rid='))
    ?.slice('$rid='.length)
  if (question < 0 || !rid) return undefined
  const path = topic.slice(0, question)
  if (path === '$iothub/twin/GET') return { kind: 'twinGet', rid }
  if (path === '$iothub/twin/PATCH/properties/reported') return { kind: 'twinPatch', rid }
  const status = /^\$iothub\/methods\/res\/(-?\d{1,9})$/.exec(path)?.[1]
  return status === undefined ? undefined : { kind: 'methodAnswer', status: Number(status), rid }
}

export const twinAnswerTopic = (status: number, rid: string, version?: number) =>
  `$iothub/twin/res/${status}/?$rid=${rid}${version === undefined ? '' : `&$version=${version}`}`

export const desiredTopic = (version: number) => `$iothub/twin/PATCH/properties/desired/?$version=${version}`

export const methodTopic = (name: string, rid: string) => `$iothub/methods/POST/${name}/?$rid=${rid}`
