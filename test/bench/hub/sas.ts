import { createHmac, timingSafeEqual } from 'node:crypto'

/** A shared access signature taken apart. Nothing in it has been checked. */
export interface SasToken {
  /** The resource exactly as it stands in the token: what was signed. */
  readonly sr: string
  readonly sig: string
  /** Seconds since the epoch, as text: what was signed. */
  readonly se: string
  readonly skn?: string
}

const PREFIX = 'SharedAccessSignature '

const signature = (sr: string, se: string, key: string) =>
  createHmac('sha256', Buffer.from(key, 'base64')).update(`${sr}\n${se}`).digest()

/** `sr` is taken as given: devices pass it URL-encoded, the service SDK passes it raw. `expires` in seconds. */
export function createSas(sr: string, key: string, expires: number, policy?: string): string {
  const se = String(Math.floor(expires))
  const sig = encodeURIComponent(signature(sr, se, key).toString('base64'))
  return `${PREFIX}sr=${sr}&sig=${sig}${policy === undefined ? '' : `&skn=${policy}`}&se=${se}`
}

/** Undefined when the text is not a token, or names a field twice. */
export function parseSas(text: string): SasToken | undefined {
  if (!text.startsWith(PREFIX)) return undefined
  const fields = new Map<string, string>()
  for (const part of text.slice(PREFIX.length).split('&')) {
    const equals = part.indexOf('=')
    const name = part.slice(0, equals)
    if (equals < 1 || fields.has(name)) return undefined
    fields.set(name, part.slice(equals + 1))
  }
  const sr = fields.get('sr')
  const sig = decoded(fields.get('sig'))
  const se = fields.get('se')
  const skn = decoded(fields.get('skn'))
  if (!sr || !sig || !se || !/^\d{1,15}$/.test(se)) return undefined
  return { sr, sig, se, ...(skn !== undefined && { skn }) }
}

/** True when one of `keys` (base64) signed the token. Takes the same time wherever a wrong signature differs. */
export function isSignedBy(token: SasToken, keys: readonly string[]): boolean {
  const given = Buffer.from(token.sig, 'base64')
  let signed = false
  for (const key of keys) {
    const wanted = signature(token.sr, token.se, key)
    if (given.length === wanted.length && timingSafeEqual(given, wanted)) signed = true
  }
  return signed
}

/** Milliseconds since the epoch. */
export const expiryOf = (token: SasToken) => Number(token.se) * 1000

/**
 * The host and path a token is for. The host is lower case and without a port, since a device with
 * `HostName=localhost:18883` signs the port too.
 */
export function resourceOf(token: SasToken): { host: string; path: string } | undefined {
  const text = decoded(token.sr)
  if (text === undefined) return undefined
  const slash = text.indexOf('/')
  const host = slash < 0 ? text : text.slice(0, slash)
  return { host: withoutPort(host), path: slash < 0 ? '' : text.slice(slash) }
}

export const withoutPort = (host: string) => host.toLowerCase().replace(/:\d+$/, '')

/** Clients send arbitrary bytes: a broken %-sequence is "no value", not an exception. */
export function decoded(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : decodeURIComponent(text)
  } catch {
    return undefined
  }
}
