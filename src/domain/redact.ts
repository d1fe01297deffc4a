/** Names, or ends of names, whose values are always secret, with the separators that may be between the words. */
const NAMES = [
  '(?:x[-_])?(?:api|functions|subscription|ocp-apim-subscription|account|shared[-_]?access|access|secret|private|storage)[-_]?key',
  'shared[-_]?access[-_]?signature',
  'x-amz-(?:security-token|credential)',
  'x-goog-credential',
  '[\\w-]*(?:password|passwd|passphrase|secret|token)',
  'pwd',
].join('|')
/** A value, up to the end of a query parameter, of a connection string's field, or of a JSON string. */
const VALUE = '[^&;,\\s"\'\\\\]+'

/** Secrets that must never be shown, in any text: `$1` stays, the rest is removed. */
const SECRETS: readonly RegExp[] = [
  // Also in JSON, and in JSON inside a string. "SharedAccessKeyName" is not a secret.
  new RegExp(`((?<![\\w-])(?:${NAMES})\\\\*["']?\\s*[=:]\\s*\\\\*["']?)${VALUE}`, 'gi'),
  // Messages often mention a signature that is not a secret: "signature: …".
  new RegExp(`((?<![\\w-])(?:x-amz-|x-goog-)?signature(?:=|\\\\*["']\\s*:\\s*\\\\*["']))${VALUE}`, 'gi'),
  // SAS tokens, with their fields in any order, and signed URLs.
  new RegExp(`(\\bsig=)${VALUE}`, 'gi'),
  // Names that mean something else outside a query; Azure Functions take a key as `code`.
  new RegExp(`([?&](?:code|key|auth|sign|hmac|hdnts|hdnea|policy)=)${VALUE}`, 'gi'),
  // Header fields (RFC 9110, section 11.6.2), in any form in which they appear in a text.
  /((?:proxy-)?authorization\\*["']?\s*[=:]\s*\\*["']?(?:basic|bearer|digest|negotiate|sharedkey)\s+)[^\s"'\\]+/gi,
  /(\b(?:Basic|Bearer)\s+)(?=\S*(?:[\d=+/]|[a-z][A-Z]))[\w+/.~-]{8,}={0,2}/g,
  // User and password of a URL; a password may hold an @, so the last one counts.
  /(\/\/)[^/\s"'?#]+(?=@)/g,
  /(-----BEGIN [A-Z ]*PRIVATE KEY-----)[^-]+(?=-----END)/g,
]

const MASK = '…'

/** `text` without keys, signatures, tokens and the given `secrets`. For everything that leaves the process. */
export function redact(text: string, secrets: readonly string[] = []): string {
  let clean = text
  for (const secret of secrets) clean = clean.replaceAll(secret, MASK)
  for (const pattern of SECRETS) clean = clean.replace(pattern, `$1${MASK}`)
  return clean
}

/** The same for every string in a JSON value. */
export function redactAll<T>(value: T, secrets: readonly string[] = []): T {
  return JSON.parse(JSON.stringify(value), (_, each) => (typeof each === 'string' ? redact(each, secrets) : each))
}

/** The secret parts of a connection string, in every encoding in which they may appear. */
export function secretsOf(connectionString: string): readonly string[] {
  const values = [...connectionString.matchAll(/(?:^|;)SharedAccess(?:Key|Signature)=([^;]+)/gi)].map(match => match[1])
  const secrets = values.filter(value => value !== undefined && value.length >= 8) as string[]
  return [connectionString, ...secrets, ...secrets.map(encodeURIComponent)]
}
