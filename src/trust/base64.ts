/** Base64url as in RFC 7515: the URL alphabet, no padding, and only the canonical encoding. */
export function fromBase64url(text: string): Buffer | undefined {
  if (!/^[\w-]*$/.test(text)) return undefined
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}

/** Either alphabet, with or without padding, as the service writes them (PROTOCOL.md, "Signature"). */
export function fromBase64(text: string): Buffer | undefined {
  const bare = text.replace(/={1,2}$/, '')
  return /^[A-Za-z0-9+/_-]+$/.test(bare) && bare.length % 4 !== 1 ? Buffer.from(bare, 'base64') : undefined
}
