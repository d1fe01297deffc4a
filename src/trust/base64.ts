/** As JWS wants it (RFC 7515): the URL alphabet, no padding, and one way only to write the same bytes. */
export function fromBase64url(text: string): Buffer | undefined {
  if (!/^[\w-]*$/.test(text)) return undefined
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}

/** Either alphabet, with or without padding: what the service writes where a standard says otherwise (chapter 4.2). */
export function fromBase64(text: string): Buffer | undefined {
  const bare = text.replace(/={1,2}$/, '')
  return /^[A-Za-z0-9+/_-]+$/.test(bare) && bare.length % 4 !== 1 ? Buffer.from(bare, 'base64') : undefined
}
