import { createHmac, randomBytes } from 'node:crypto'
import { EXIT, Failure } from '../failure.ts'

/** Symmetric keys of the Device Provisioning Service: 16 to 64 bytes, base64. */

export const newKey = (): string => randomBytes(64).toString('base64')

/**
 * The key of one device in an enrollment group: HMAC-SHA256 of its registration id (lower case) under the group's key. It is
 * also the device's key at the hub. Who has the group's key can be any device, so only derived keys leave the office.
 */
export const derivedKey = (groupKey: string, registrationId: string): string =>
  createHmac('sha256', Buffer.from(groupKey, 'base64')).update(registrationId.toLowerCase()).digest('base64')

/** Checks a key that was read from `source`. Errors: Failure that never quotes it. */
export function checkedKey(text: string, source: string): string {
  const key = text.trim()
  const size = Buffer.from(key, 'base64').length
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(key) || key.length % 4 !== 0 || size < 16 || size > 64) {
    throw new Failure(EXIT.usage, `${source} is not a symmetric key: 16 to 64 bytes in base64`)
  }
  return key
}
