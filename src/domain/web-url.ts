/** A checked http or https URL, split into decoded parts. Only `webUrl` makes one. */
export interface WebUrl {
  /** As serialised by the parser, so without anything that the parser ignores. */
  readonly href: string
  readonly secure: boolean
  /** `name[:port]` as in a Host field, IPv6 addresses in brackets. */
  readonly host: string
  /** A name in lower case, or an address without brackets. */
  readonly hostname: string
  readonly port: number
  readonly origin: string
  /** Path and query, as in a request line. */
  readonly target: string
  /** Last part of the path; may be empty. */
  readonly fileName: string
  /** `name:password`, decoded; undefined without a user name. */
  readonly credentials: Buffer | undefined
}

/** `flaw` ends a sentence that begins with the URL's purpose. It does not quote the text. */
export type CheckedUrl =
  | { readonly url: WebUrl; readonly flaw?: never }
  | { readonly url?: never; readonly flaw: string }

/** Several times the length of a URL with a signature. */
export const MAX_URL_LENGTH = 8192

const DEFAULT_PORT = { http: 80, https: 443 } as const
/** The only other schemes that messages may name: a foreign text must not get into a message as a scheme. */
const OTHER_SCHEMES = new Set(['about:', 'blob:', 'data:', 'file:', 'ftp:', 'javascript:', 'ws:', 'wss:'])
const CONTROLS = /\p{Cc}/u
const BAD_ESCAPE = /%(?![\da-f]{2})/i

/**
 * The only way from a text to a URL that the agent connects to: for the twin, method calls, the `Location` of a redirect
 * (relative to `base`) and the proxies of the environment. Never throws.
 */
export function webUrl(text: unknown, base?: WebUrl): CheckedUrl {
  if (typeof text !== 'string') return { flaw: 'is not a text' }
  if (text.length > MAX_URL_LENGTH) return { flaw: `is longer than ${MAX_URL_LENGTH} characters` }
  // URL parsers silently drop tabs and line ends, so two readers would see different URLs.
  if (CONTROLS.test(text)) return { flaw: 'has a tab, a line end or another control character in it' }
  if (!URL.canParse(text, base?.href)) return { flaw: 'is not a URL' }
  const url = new URL(text, base?.href)
  const { protocol, hostname, username, password } = url
  if (protocol !== 'http:' && protocol !== 'https:') {
    return { flaw: `begins with ${OTHER_SCHEMES.has(protocol) ? protocol : 'another scheme'}, not http: or https:` }
  }
  if (url.port === '0') return { flaw: 'has the port 0' }
  if (BAD_ESCAPE.test(username + password)) {
    return { flaw: 'has a user name or password with a % that is not followed by two hexadecimal digits: write %25' }
  }
  const secure = protocol === 'https:'
  const credentials = Buffer.concat([decoded(username), Buffer.from(':'), decoded(password)])
  return {
    url: {
      href: url.href,
      secure,
      host: url.host,
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port: Number(url.port || DEFAULT_PORT[secure ? 'https' : 'http']),
      origin: url.origin,
      target: `${url.pathname}${url.search}`,
      fileName: url.pathname.split('/').at(-1) ?? '',
      credentials: username === '' && password === '' ? undefined : credentials,
    },
  }
}

/** Percent-decodes to bytes, because `decodeURIComponent` rejects those that are not UTF-8. */
function decoded(text: string): Buffer {
  const latin1 = text.replace(/%([\da-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return Buffer.from(latin1, 'latin1')
}
