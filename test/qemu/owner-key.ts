import { generateKeyPairSync } from 'node:crypto'

/** An SSH key of the owner: the private half as PEM, the public one as a line of authorized_keys (RFC 4253, 6.6). */
export function ownerKey(): { readonly pem: string; readonly authorized: string } {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 3072 })
  const { n, e } = publicKey.export({ format: 'jwk' })
  const blob = Buffer.concat(
    [Buffer.from('ssh-rsa'), positive(e as string), positive(n as string)].flatMap(field => [length(field), field]),
  )
  return {
    pem: privateKey.export({ format: 'pem', type: 'pkcs1' }).toString(),
    authorized: `ssh-rsa ${blob.toString('base64')} owner\n`,
  }
}

function length(field: Buffer): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(field.length)
  return bytes
}

/** A number whose first bit is set would be a negative one. */
function positive(base64url: string): Buffer {
  const bytes = Buffer.from(base64url, 'base64url')
  return (bytes[0] ?? 0) > 127 ? Buffer.concat([Buffer.of(0), bytes]) : bytes
}
