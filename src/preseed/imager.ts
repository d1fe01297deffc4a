import { isKey, keyLine, networkOf, passphraseLine, ssidOfHex } from './network.ts'
import { type Countries, countryOf, type Network, Unusable, type Wishes } from './wishes.ts'

type Table = Readonly<Record<string, unknown>>

/** Settings of Imager that this system does not have. Other names are never printed: one may be a password in the wrong place. */
const WITHOUT = [
  ...['user.name', 'user.password', 'user.password_encrypted', 'ssh.password_authentication', 'locale.keymap'],
  'runcmd.cmds',
]
const GROUPS = ['system', 'ssh', 'locale', 'user', 'ethernet', 'time', 'ca_certificates', 'runcmd']
const WLAN = ['ssid', 'ssid_hex', 'password', 'password_encrypted', 'hidden', 'country', 'key_mgmt']

/**
 * What Raspberry Pi Imager's `rpi-preseed.toml`, and the older `custom.toml`, ask for: WLAN, country, SSH keys, host name and time
 * zone. Everything else is named in `without`, as far as Imager knows its name. Errors: `Unusable`. Pure.
 */
export function readImagerTables(root: Table, countries: Countries): Wishes {
  const without: string[] = []
  const { config_version: version, wlan, ssh, system, locale, ...others } = root
  if (version !== undefined && !/^1(\.\d+)?$/.test(numberOf(version)))
    throw new Unusable(`its config_version is ${numberOf(version)}, and only 1 is known`)
  for (const [name, value] of Object.entries(others)) without.push(...namesOf(name, value))
  const { hostname, ...moreSystem } = tableOf('system', system)
  const { timezone, ...moreLocale } = tableOf('locale', locale)
  const { enabled = true, authorized_keys: keys, ...moreSsh } = tableOf('ssh', ssh)
  if (typeof enabled !== 'boolean') throw new Unusable('ssh.enabled must be true or false')
  for (const [name, more] of Object.entries({ system: moreSystem, locale: moreLocale, ssh: moreSsh }))
    for (const [key, value] of Object.entries(more)) if (value !== false) without.push(nameOf(name, key))
  const found = keys === undefined ? [] : sshKeys(keys)
  if (!enabled && found.length > 0) without.push('ssh.authorized_keys (ssh.enabled is false)')
  if (ssh !== undefined && enabled && found.length === 0) without.push('ssh.enabled (without a key nobody can log in)')
  const { network, country } = wlanOf(tableOf('wlan', wlan), countries)
  return {
    ...(network && { networks: [network] }),
    ...(country !== undefined && { country }),
    ...(hostname !== undefined && { hostname: hostName(hostname) }),
    ...(timezone !== undefined && { timezone: timeZone(timezone) }),
    ...(enabled && found.length > 0 && { keys: found }),
    ...(without.length > 0 && { without: [...new Set(without)] }),
  }
}

function wlanOf(wlan: Table, countries: Countries): { readonly network?: Network; readonly country?: string } {
  if (Object.keys(wlan).some(name => !WLAN.includes(name)))
    throw new Unusable(`[wlan] has an unknown setting: it may have ${WLAN.join(', ')}`)
  const text = (name: string): string | undefined => {
    const value = wlan[name]
    if (value !== undefined && typeof value !== 'string') throw new Unusable(`wlan.${name} must be a text in quotes`)
    return value
  }
  const flag = (name: string): boolean => {
    const value = wlan[name] ?? false
    if (typeof value !== 'boolean') throw new Unusable(`wlan.${name} must be true or false`)
    return value
  }
  const [ssid, hex, password, code] = [text('ssid'), text('ssid_hex'), text('password'), text('country')]
  const [encrypted, hidden] = [flag('password_encrypted'), flag('hidden')]
  const country = code === undefined || code === '' ? {} : { country: countryOf(code, countries) }
  const name = hex !== undefined ? ssidOfHex(hex) : ssid !== undefined ? Buffer.from(ssid) : undefined
  if (hex !== undefined && ssid !== undefined && !Buffer.from(ssid).equals(name!))
    throw new Unusable('wlan.ssid and wlan.ssid_hex are different networks')
  if (!name || name.length === 0) {
    if (password !== undefined && password !== '') throw new Unusable('wlan.password has no wlan.ssid')
    return country
  }
  const lines = hidden ? '[Settings]\nHidden=true\n' : ''
  const kind = text('key_mgmt') ?? (password === undefined || password === '' ? 'none' : 'wpa-psk')
  if (!['none', 'owe', 'wpa-psk', 'sae'].includes(kind))
    throw new Unusable('wlan.key_mgmt must be none, owe, wpa-psk or sae')
  if (kind === 'none' || kind === 'owe') {
    if (password) throw new Unusable(`wlan.password is not for a network with wlan.key_mgmt "${kind}"`)
    return { network: networkOf(name, 'open', lines), ...country }
  }
  if (!password) throw new Unusable('wlan.password is missing')
  const asKey = encrypted || isKey(password)
  if (asKey && kind === 'sae') throw new Unusable('WPA3 (sae) needs the password itself, not an encrypted one')
  const line = asKey ? keyLine(password) : passphraseLine(password)
  return { network: networkOf(name, 'psk', `[Security]\n${line}\n${lines}`), ...country }
}

const isTable = (value: unknown): value is Table =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)

function tableOf(name: string, value: unknown = {}): Table {
  if (!isTable(value)) throw new Unusable(`${name} must be a table: [${name}]`)
  return value
}

/** Names of settings, never their values. */
const namesOf = (group: string, value: unknown): readonly string[] => {
  if (!GROUPS.includes(group)) return ['an unknown setting']
  return isTable(value) && Object.keys(value).length > 0 ? Object.keys(value).map(key => nameOf(group, key)) : [group]
}

const nameOf = (group: string, key: string): string =>
  WITHOUT.includes(`${group}.${key}`) ? `${group}.${key}` : `an unknown setting of [${group}]`

/** A table of the parser has no prototype, and so no text. */
const numberOf = (value: unknown): string => {
  const text = typeof value === 'string' || typeof value === 'number' ? String(value) : ''
  return /^\d{1,3}(\.\d{1,3})?$/.test(text) ? text : 'not a number'
}

/** RFC 1123, 2.1; one of digits alone reads as an address. Errors: `Unusable`. Pure. */
export function hostName(value: unknown): string {
  const name = typeof value === 'string' ? value.toLowerCase() : ''
  if (!/^(?!\d+$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name))
    throw new Unusable('the host name must have letters, digits and hyphens, at most 63')
  return name
}

/** Errors: `Unusable`. Pure. */
export function timeZone(value: unknown): string {
  const name = typeof value === 'string' ? value : ''
  try {
    // A path or an offset such as +01:00 is not a name of the time zone database.
    if (/^[A-Za-z][\w+-]*(\/[\w+-]+)*$/.test(name) && new Intl.DateTimeFormat('en', { timeZone: name })) return name
  } catch {}
  throw new Unusable('the time zone is unknown: it must be like Europe/Berlin')
}

/** A kind of key, its bytes, and a comment; options before it are not taken (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"). */
const SSH_KEY = /^((?:ssh|sk-ssh|ecdsa|sk-ecdsa)-[\w@.-]+) ([A-Za-z0-9+/]{40,}={0,2})(?: [^\r\n]*)?$/

/** Errors: `Unusable`. Pure. */
export function sshKeys(value: unknown): readonly string[] {
  const keys = typeof value === 'string' ? [value] : value
  if (!Array.isArray(keys)) throw new Unusable('ssh.authorized_keys must be a list of keys')
  const lines = keys.map(key => (typeof key === 'string' ? key.trim() : ''))
  for (const [i, line] of lines.entries()) {
    const [, kind = '', bytes = ''] = SSH_KEY.exec(line) ?? []
    const body = Buffer.from(bytes, 'base64')
    if (kind === '' || body.toString('latin1', 4, 4 + kind.length) !== kind)
      throw new Unusable(`key ${i + 1} of ssh.authorized_keys is not an SSH key`)
  }
  return lines
}
