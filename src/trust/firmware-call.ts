import type { FirmwareUpdate } from '../domain/deployment.ts'
import { readRelaxed } from './relaxed-json.ts'

/** What configuration demands of a call of `firmwareUpdate`. */
export interface FirmwarePolicy {
  readonly enabled: boolean
  /** Hosts, with a port or not; `*.example.com` is every host below it, `*` every host. */
  readonly allowedHosts: readonly string[]
  readonly requireSha256: boolean
}

/** Room for a URL with a signature, and for everything else three times over. */
const MAX_TEXT = 8192
const MAX_URL = 2048

/** A call that is not obeyed, and why, in one sentence for the caller. */
export class CallRefused extends Error {}

/**
 * The one way from the payload of `firmwareUpdate` to something that may be acted on: an object, a text with JSON, or
 * the relaxed quoting of the .NET sample (protocol, chapter 11.1). Errors: CallRefused.
 */
export function readFirmwareCall(payload: unknown, policy: FirmwarePolicy): FirmwareUpdate {
  const call = objectOf(payload)
  const url = urlOf(call.fwPackageUri, policy)
  const sha256 = hashOf(call.sha256 ?? call.fwPackageCheckValue)
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
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  const what = value === null ? 'null' : Array.isArray(value) ? 'a list' : `a ${typeof value}`
  return refuse(`the payload is ${what}, not an object like {"fwPackageUri": "https://…"}`)
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
  if (text === undefined) refuse('fwPackageUri is missing')
  if (typeof text !== 'string' || text.length > MAX_URL || !URL.canParse(text)) {
    refuse(`fwPackageUri is not a URL of at most ${MAX_URL} characters`)
  }
  const url = new URL(text)
  if (url.protocol !== 'https:') refuse(`fwPackageUri begins with ${url.protocol.slice(0, 20)}, only https: is taken`)
  if (url.username !== '' || url.password !== '')
    refuse('fwPackageUri has a user name in it, which the twin would show')
  if (!allowedHosts.some(allowed => matches(url, allowed))) {
    refuse(`host ${url.host.slice(0, 80)} is not allowed on this device (piAdu.firmwareUpdate.allowedHosts)`)
  }
  return text
}

function matches({ hostname, host, port }: URL, allowed: string): boolean {
  if (allowed === '*') return true
  const [name = '', onlyPort] = allowed.split(':')
  if (onlyPort !== undefined && onlyPort !== (port || '443')) return false
  return name.startsWith('*.') ? hostname.endsWith(name.slice(1)) : hostname === name || host === allowed
}

/** Hexadecimal or base64. */
function hashOf(text: unknown): string | undefined {
  if (text === undefined || text === null) return undefined
  if (typeof text === 'string' && /^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase()
  if (typeof text === 'string' && /^[A-Za-z0-9+/]{43}=$/.test(text)) return Buffer.from(text, 'base64').toString('hex')
  return refuse('sha256 is neither 64 hexadecimal digits nor 44 characters of base64')
}

function refuse(why: string): never {
  throw new CallRefused(why)
}
