/** What must never be seen, whatever text it stands in: `$1` stays, the rest goes. */
const SECRETS: readonly RegExp[] = [
  // Connection strings of hub and storage, and the same as JSON; "SharedAccessKeyName" is no secret.
  /((?:Shared|Account)(?:Access)?(?:Key|Signature)\\*["']?\s*[=:]\s*\\*["']?)[^;,\s"'\\]+/gi,
  // SAS tokens, in whatever order their fields stand, and signed URLs.
  /(\bsig=)[^&;,\s"'\\]+/gi,
  /(\b(?:password|passwd|secret|token)\\*["']?[=:]\s*\\*["']?)[^&;,\s"'\\]+/gi,
  /(\/\/)[^/\s:@"']+:[^/\s@"']+(?=@)/g,
  /(-----BEGIN [A-Z ]*PRIVATE KEY-----)[^-]+(?=-----END)/g,
]

const MASK = '…'

/** `text` without keys, signatures and tokens, and without `secrets` themselves. Meant for everything that leaves the process. */
export function redact(text: string, secrets: readonly string[] = []): string {
  let clean = text
  for (const secret of secrets) clean = clean.replaceAll(secret, MASK)
  for (const pattern of SECRETS) clean = clean.replace(pattern, `$1${MASK}`)
  return clean
}

/** The same for every text in a JSON value. */
export function redactAll<T>(value: T, secrets: readonly string[] = []): T {
  return JSON.parse(JSON.stringify(value), (_, each) => (typeof each === 'string' ? redact(each, secrets) : each))
}

/** The secret parts of a connection string, in every spelling in which they may turn up. */
export function secretsOf(connectionString: string): readonly string[] {
  const values = [...connectionString.matchAll(/(?:^|;)SharedAccess(?:Key|Signature)=([^;]+)/gi)].map(match => match[1])
  const secrets = values.filter(value => value !== undefined && value.length >= 8) as string[]
  return [connectionString, ...secrets, ...secrets.map(encodeURIComponent)]
}
