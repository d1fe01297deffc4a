import { type Network, Unusable } from './wishes.ts'

export type Security = 'psk' | 'open' | '8021x'

/** Bytes of an SSID (IEEE 802.11, 9.4.2.2). */
const MAX_SSID = 32

/** A network with its file in iwd's form. Errors: `Unusable`. Pure. */
export function networkOf(ssid: Buffer, security: Security, text: string): Network {
  if (ssid.length === 0) throw new Unusable('the SSID is empty')
  if (ssid.length > MAX_SSID)
    throw new Unusable(`the SSID has ${ssid.length} bytes, and at most ${MAX_SSID} are possible`)
  const name = ssid.toString('latin1')
  const plain = /^[A-Za-z0-9 _-]+$/.test(name)
  // iwd.network(5), "NAMING".
  const file = `${plain ? name : `=${ssid.toString('hex')}`}.${security}`
  const readable = ssid.toString('utf8')
  const ok =
    Buffer.from(readable).equals(ssid) && !/[\p{Cc}\p{Cf}\u2028\u2029]/u.test(readable.replaceAll('\u200d', ''))
  return { file, ssid: ok ? readable : file.slice(0, file.lastIndexOf('.')), text }
}

/** Bytes of hexadecimal digits. Errors: `Unusable`. Pure. */
export function ssidOfHex(hex: string): Buffer {
  if (!/^([0-9a-f]{2})+$/i.test(hex))
    throw new Unusable('the SSID in hexadecimal digits needs two digits for each byte')
  return Buffer.from(hex, 'hex')
}

/** A password as a line of `[Security]`: a passphrase, or a key of 64 hexadecimal digits. Errors: `Unusable`. Pure. */
export function passwordLine(password: string): string {
  return isKey(password) ? keyLine(password) : passphraseLine(password)
}

export const isKey = (password: string): boolean => /^[0-9a-f]{64}$/i.test(password)

/** Errors: `Unusable`. Pure. */
export function keyLine(key: string): string {
  if (!isKey(key)) throw new Unusable('the key (PreSharedKey) must have 64 hexadecimal digits')
  return `PreSharedKey=${key.toLowerCase()}`
}

/** IEEE 802.11, J.4.1: 8 to 63 characters of ASCII. Errors: `Unusable`. Pure. */
export function passphraseLine(passphrase: string): string {
  if (!/^[\x20-\x7e]*$/.test(passphrase))
    throw new Unusable('the password has characters that are not ASCII: give it as a key of 64 hexadecimal digits')
  if (isKey(passphrase))
    throw new Unusable('64 hexadecimal digits are a key: write PreSharedKey= in place of Passphrase=')
  if (passphrase.length < 8 || passphrase.length > 63)
    throw new Unusable(`the password has ${passphrase.length} characters, and must have 8 to 63`)
  return `Passphrase=${escaped(passphrase)}`
}

/** iwd.network(5), "FILE FORMAT". Pure. */
export const escaped = (value: string): string =>
  value
    .replaceAll('\\', '\\\\')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replace(/^[ \t]/, space => (space === ' ' ? '\\s' : '\\t'))
