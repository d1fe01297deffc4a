import type { FirmwareUpdate } from '../domain/deployment.ts'
import { Hosts } from '../domain/hosts.ts'
import { isObject } from '../domain/members.ts'
import { webUrl } from '../domain/web-url.ts'
import { readRelaxed } from './relaxed-json.ts'

/** What the configuration requires of a `firmwareUpdate` call. */
export interface FirmwarePolicy {
  readonly enabled: boolean
  /** As in `Hosts`. */
  readonly allowedHosts: readonly string[]
  readonly requireSha256: boolean
}

/** The setting with the allowed hosts. */
export const FIRMWARE_HOSTS = 'piAdu.firmwareUpdate.allowedHosts'

/** Room for a URL with a signature, and ample room for the rest. */
const MAX_TEXT = 8192
const MAX_URL = 2048

/** A refused call; the message is one sentence for the caller. */
export class CallRefused extends Error {}

/**
 * The only way from the payload of `firmwareUpdate` to something that may be acted on: an object, a text with JSON, or the
 * relaxed quoting of the .NET sample (PROTOCOL.md, "Call"). Errors: CallRefused.
 */
export function readFirmwareCall(payload: unknown, policy: FirmwarePolicy): FirmwareUpdate {
  const call = objectOf(payload)
  checkNames(call)
  if (call.fwPackageUri === undefined) refuse(`fwPackageUri is missing${whatIsThere(call)}`)
  const url = urlOf(call.fwPackageUri, policy)
  const sha256 =
    call.sha256 === undefined || call.sha256 === null
      ? hashOf('fwPackageCheckValue', call.fwPackageCheckValue)
      : hashOf('sha256', call.sha256)
  if (sha256 === undefined && policy.requireSha256) {
    refuse('sha256 is missing, and this device takes no image without it (piAdu.firmwareUpdate.requireSha256)')
  }
  const { sizeInBytes, version } = call
  if (sizeInBytes !== undefined && !(Number.isSafeInteger(sizeInBytes) && (sizeInBytes as number) > 0)) {
    refuse('sizeInBytes is not a whole number above 0')
  }
  if (version !== undefined && (typeof version !== 'string' || !/^[\x21-\x7e]{1,64}$/.test(version))) {
    refuse('version is not a text of 1 to 64 characters without spaces')
  }
  return {
    url,
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(sizeInBytes === undefined ? {} : { sizeInBytes: sizeInBytes as number }),
    ...(version === undefined ? {} : { version: version as string }),
  }
}

function objectOf(payload: unknown): Record<string, unknown> {
  const value = typeof payload === 'string' ? parsed(payload) : payload
  if (isObject(value)) return value
  const what = value === null ? 'null' : Array.isArray(value) ? 'a list' : `a ${typeof value}`
  return refuse(`the payload is ${what}, not an object like {"fwPackageUri": "https://…"}`)
}

/** Names only, and only plain ones, because they go into the log. */
function whatIsThere(call: Readonly<Record<string, unknown>>): string {
  const names = Object.keys(call).filter(name => /^[\w.-]{1,40}$/.test(name))
  return names.length === 0 ? '' : `; the payload has ${names.slice(0, 5).join(', ')}`
}

const NAMES = ['fwPackageUri', 'sha256', 'fwPackageCheckValue', 'sizeInBytes', 'version']

/** Refuses names with different case: a hash under such a name would be ignored and protect nothing. */
function checkNames(call: Readonly<Record<string, unknown>>): void {
  const given = Object.keys(call)
  for (const name of NAMES) {
    const other = given.find(each => each !== name && each.toLowerCase() === name.toLowerCase())
    if (other !== undefined && !given.includes(name)) refuse(`${other} must be spelled ${name}`)
  }
}

function parsed(text: string): unknown {
  if (text.length > MAX_TEXT) refuse(`the payload is longer than ${MAX_TEXT} characters`)
  try {
    return JSON.parse(text)
  } catch {
    return readRelaxed(text) ?? refuse('the payload is a text that is not JSON')
  }
}

function urlOf(text: unknown, { allowedHosts }: FirmwarePolicy): string {
  if (typeof text !== 'string' || text.length > MAX_URL) {
    refuse(`fwPackageUri is not a URL of at most ${MAX_URL} characters`)
  }
  const { url, flaw } = webUrl(text)
  if (!url) refuse(`fwPackageUri ${flaw}; only https: is taken`)
  if (!url.secure) refuse('fwPackageUri begins with http:, only https: is taken')
  if (url.credentials) refuse('fwPackageUri has a user name in it, which the twin would show')
  const refused = new Hosts(FIRMWARE_HOSTS, allowedHosts).refusal(url, true)
  if (refused) {
    const host = `host ${url.host.slice(0, 80)} is not allowed on this device (${FIRMWARE_HOSTS})`
    refuse(refused === 'private' ? `${host}: "*" does not allow private networks` : host)
  }
  // As sent, because callers look for it in the twin.
  return text
}

/** Hexadecimal or base64. */
function hashOf(name: string, text: unknown): string | undefined {
  if (text === undefined || text === null) return undefined
  if (typeof text === 'string' && /^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase()
  if (typeof text === 'string' && /^[A-Za-z0-9+/]{43}=$/.test(text)) return Buffer.from(text, 'base64').toString('hex')
  return refuse(`${name} is neither 64 hexadecimal digits nor 44 characters of base64`)
}

function refuse(why: string): never {
  throw new CallRefused(why)
}
