/** A network, as a file of iwd (iwd.network(5)). */
export interface Network {
  /** Name of its file: the SSID in iwd's encoding, with `.psk`, `.open` or `.8021x`. */
  readonly file: string
  /** The SSID for a person. */
  readonly ssid: string
  /** The file's text. It has the password. */
  readonly text: string
}

/** What one file on the boot partition asks for. */
export interface Wishes {
  readonly networks?: readonly Network[]
  /** ISO 3166-1 alpha-2, in upper case. */
  readonly country?: string
  readonly hostname?: string
  /** Such as `Europe/Berlin`. */
  readonly timezone?: string
  /** Lines of authorized_keys. */
  readonly keys?: readonly string[]
  /** Settings in the file that this system does not have, by name. */
  readonly without?: readonly string[]
}

/** Why a file is not taken: one clause, without a secret. */
export class Unusable extends Error {}

/** Countries that the kernel's regulatory database has; undefined when there is none to ask. */
export type Countries = ReadonlySet<string> | undefined

/** Errors: `Unusable`. Pure. */
export function countryOf(text: string, countries: Countries): string {
  const country = text.trim().toUpperCase()
  if (!/^[A-Z]{2}$/.test(country)) throw new Unusable('the country is a code of two letters, such as DE')
  if (country === 'UK') throw new Unusable('the code of the United Kingdom is GB, not UK')
  if (countries && !countries.has(country))
    throw new Unusable(`${country} is not a country that the regulatory database knows (ISO 3166, such as DE or GB)`)
  return country
}

/**
 * The countries in a regulatory database: magic, version 20, then rows of a code and a pointer until a row of zeros
 * (include/net/regulatory.h and net/wireless/reg.c of the kernel). Pure.
 */
export function countriesOf(db: Buffer): Countries {
  if (db.length < 8 || db.toString('latin1', 0, 4) !== 'RGDB' || db.readUInt32BE(4) !== 20) return undefined
  const found = new Set<string>()
  for (let at = 8; at + 4 <= db.length && db.readUInt16BE(at + 2) !== 0; at += 4)
    found.add(db.toString('latin1', at, at + 2))
  return found
}
