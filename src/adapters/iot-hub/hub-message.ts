import { isObject } from '../../domain/members.ts'

/** The hub is trusted with the twin, not with our process: its messages are checked here before the SDK sees them. */

/** IoT Hub allows 10 levels in a twin. The SDK walks it by recursion, and so does JSON.stringify. */
const MAX_DEPTH = 64
/** IoT Hub allows 256 KiB for one message, and less for a twin. */
const MAX_BYTES = 1 << 20

/** A direct method call, by its topic `$iothub/methods/POST/{name}/?$rid={rid}`. */
export interface MethodCall {
  readonly name: string
  /** Opaque; repeated byte for byte in the answer. */
  readonly rid: string
  /** As received, unchecked; a text where it was not JSON. */
  readonly payload: unknown
}

/** Undefined when the topic is not one of a method call, or lacks the name or `$rid`. */
export function methodCallOf(topic: string, bytes: Buffer): MethodCall | undefined {
  const [, name, query] = /^\$iothub\/methods\/POST\/([^/?]+)\/?\?(.*)$/s.exec(topic) ?? []
  const rid = query
    ?.split('&')
    .find(part => part.startsWith('$rid='))
    ?.slice('$rid='.length)
  // The answer's topic holds it, and a topic with a wildcard or a control character ends the connection.
  if (name === undefined || !rid || /[\p{Cc}+#]/u.test(rid)) return undefined
  const text = bytes.toString()
  if (text.trim() === '') return { name, rid, payload: null }
  // Not every caller sends strict JSON; other payloads are passed on as text.
  return { name, rid, payload: parse(text) ?? (text.trim() === 'null' ? null : text) }
}

/** Topics that the agent subscribes to. Topics of other SDK features reach code that throws when they are malformed. */
export const isTwinTopic = (topic: string): boolean =>
  topic.startsWith('$iothub/twin/res/') || topic.startsWith('$iothub/twin/PATCH/properties/desired/')

/**
 * A payload that is safe for the SDK; undefined when there is none. The SDK treats an error answer without a body as success
 * (PROTOCOL.md, "Twin errors"). It drops the status of an error answer, so the status is put into its text.
 */
export function safePayload(topic: string, payload: Buffer): Buffer | undefined {
  const status = /^\$iothub\/twin\/res\/(\d{3})\//.exec(topic)?.[1]
  const text = payload.length > MAX_BYTES ? '{' : payload.toString()
  const json = text.trim() === '' ? null : parse(text)
  if (status !== undefined && Number(status) >= 300) {
    const said = isObject(json) && typeof json.message === 'string' ? json.message : 'the hub gave no reason'
    return Buffer.from(JSON.stringify({ errorCode: Number(status) * 1000, message: `[${status}] ${said}` }))
  }
  if (!topic.startsWith('$iothub/')) return payload
  // A twin read and a patch without an object in them would throw too.
  if (status === '200') return isObject(json) ? safeTwin(json, payload) : undefined
  const needsObject = topic.startsWith('$iothub/twin/PATCH/')
  if (json === undefined || (needsObject && !isObject(json))) return undefined
  return payload
}

/** The SDK merges the twin into its own objects and calls `reported.update`, so the twin must not overwrite that. */
function safeTwin(twin: Record<string, unknown>, payload: Buffer): Buffer | undefined {
  const { desired, reported } = twin
  if (!isObject(desired) || !isObject(reported)) return undefined
  if (!Object.hasOwn(reported, 'update')) return payload
  const { update: _, ...rest } = reported
  return Buffer.from(JSON.stringify({ desired, reported: rest }))
}

/** Undefined when it is not JSON, or nested too deeply for recursion. */
function parse(text: string): unknown {
  try {
    return isTooDeep(text) ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}

function isTooDeep(text: string): boolean {
  let depth = 0
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (quoted) {
      if (char === '\\') at += 1
      else if (char === '"') quoted = false
    } else if (char === '"') quoted = true
    else if (char === '{' || char === '[') depth += 1
    else if (char === '}' || char === ']') depth -= 1
    if (depth > MAX_DEPTH) return true
  }
  return false
}
