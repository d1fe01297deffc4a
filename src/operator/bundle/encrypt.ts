import { createCipheriv, createHash, createHmac } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { EXIT, Failure, messageOf } from '../failure.ts'

/** As `swupdate -K` reads it. */
export interface ImageKey {
  readonly key: Buffer
}

const KEY_FILE = /^\s*([\da-f]{32}|[\da-f]{48}|[\da-f]{64})\s+([\da-f]{32})\s*$/i

/**
 * The devices' key file (`swupdate -K`): key, a blank, initialization vector, in hexadecimal. Its vector is for files that have
 * none of their own. Errors: Failure, which never quotes the file.
 */
export async function readImageKey(path: string): Promise<ImageKey> {
  const text = await readFile(path, 'latin1').catch(cause => {
    throw new Failure(EXIT.usage, `cannot read ${path}: ${messageOf(cause)}`, { cause })
  })
  const key = KEY_FILE.exec(text)?.[1]
  if (key === undefined) {
    throw new Failure(
      EXIT.usage,
      `${path} is not a key file of SWUpdate: one line with the AES key (32, 48 or 64 hexadecimal digits) and the vector (32)`,
    )
  }
  return { key: Buffer.from(key, 'hex') }
}

/**
 * Encrypts `from` into `to` and returns the vector in hexadecimal. AES-CBC with PKCS #7 padding, as SWUpdate decrypts. The
 * vector is a keyed hash of the content: different contents never share one, and the same bundle gives the same bytes.
 */
export async function encryptFile(from: string, to: string, { key }: ImageKey): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(from, { highWaterMark: 1 << 20 }), hash)
  const vector = createHmac('sha256', key).update('pi-adu bundle vector').update(hash.digest()).digest().subarray(0, 16)
  const cipher = createCipheriv(`aes-${key.length * 8}-cbc`, key, vector)
  await pipeline(createReadStream(from, { highWaterMark: 1 << 20 }), cipher, createWriteStream(to, { mode: 0o600 }))
  return vector.toString('hex')
}
