import { BlockList, isIP, isIPv4 } from 'node:net'

/** Where a request would go: a name in lower case, or an address without brackets. */
export interface Place {
  readonly hostname: string
  readonly port: number
}

/** Why a connection is not allowed: no entry allows the host, or its address is private and not allowed explicitly. */
export type HostRefusal = 'notAllowed' | 'private'

/** Forms of an entry, for the author of a configuration. */
export const HOST_FORMS =
  'must be "*" (every public host), a host like "files.example.com", "*.example.com" or "10.1.2.3", with a port or not, or a range like "10.0.0.0/8"'

type Entry =
  | { readonly kind: 'any' }
  | { readonly kind: 'range'; readonly address: string; readonly bits: number }
  /** `below`: subdomains are included. */
  | { readonly kind: 'host'; readonly name: string; readonly below: boolean; readonly port: number | undefined }

/**
 * The hosts that a setting allows. `*` means every public host. A host in a private network, or this device itself, must be
 * allowed by name, address or range: the author of a URL must not reach hosts that only this device can reach.
 */
export class Hosts {
  /** The setting's name, for messages. */
  readonly setting: string
  readonly #any: boolean
  readonly #ranges = new BlockList()
  readonly #hasRanges: boolean
  readonly #named: readonly Extract<Entry, { kind: 'host' }>[]

  /** Entries that `isHostEntry` does not accept allow nothing. */
  constructor(setting: string, entries: readonly string[]) {
    this.setting = setting
    const read = entries.map(entryOf).filter(entry => entry !== undefined)
    this.#any = read.some(({ kind }) => kind === 'any')
    this.#named = read.filter(entry => entry.kind === 'host')
    const ranges = read.filter(entry => entry.kind === 'range')
    this.#hasRanges = ranges.length > 0
    for (const { address, bits } of ranges) this.#ranges.addSubnet(address, bits, family(address))
  }

  /**
   * Checks what is known before the name is resolved. `resolved`: whether the agent will resolve it and call
   * `allowsAddress`; a proxy resolves names itself.
   */
  refusal(place: Place, resolved: boolean): HostRefusal | undefined {
    const { hostname } = place
    if (this.#names(place)) return undefined
    if (isIP(hostname)) {
      if (this.allowsAddress(hostname, place)) return undefined
      return this.#any ? 'private' : 'notAllowed'
    }
    if (resolved && this.#hasRanges) return undefined
    if (this.#any) return isOwnName(hostname) ? 'private' : undefined
    return 'notAllowed'
  }

  /** Whether `place` may be reached at this address. */
  allowsAddress(address: string, place: Place): boolean {
    const bare = address.replace(/%.*$/, '')
    return this.#names(place) || this.#ranges.check(bare, family(bare)) || (this.#any && isPublic(bare))
  }

  #names({ hostname, port }: Place): boolean {
    return this.#named.some(
      entry =>
        (entry.port === undefined || entry.port === port) &&
        (entry.below ? hostname.endsWith(`.${entry.name}`) : hostname === entry.name),
    )
  }
}

/** One line for the device's owner: what is refused, and what to add to which setting. `host`: as in the URL. */
export function hostComplaint(hosts: Hosts, host: string, hostname: string, refused: HostRefusal): string {
  const what = refused === 'private' ? 'is at an address in a private network' : `is not in ${hosts.setting}`
  const name = hostname.includes(':') ? `[${hostname}]` : hostname
  return `${host} ${what}; to allow it, add "${name}" to ${hosts.setting} in this device's configuration`
}

export const isHostEntry = (text: string): boolean => entryOf(text) !== undefined

function entryOf(text: string): Entry | undefined {
  if (text === '*') return { kind: 'any' }
  const [, address = '', bits] = /^(.+)\/(\d{1,3})$/.exec(text) ?? []
  if (isIP(address)) {
    return Number(bits) <= (isIPv4(address) ? 32 : 128) ? { kind: 'range', address, bits: Number(bits) } : undefined
  }
  const [, star, inner, name, digits] = /^(\*\.)?(?:\[([\da-f:.]+)\]|([a-z\d._-]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const port = digits === undefined ? undefined : Number(digits)
  if (port === 0 || (port ?? 1) > 65_535 || (star && (inner !== undefined || isIP(name ?? '')))) return undefined
  if (inner !== undefined || isIP(text) === 6) {
    const v6 = inner ?? text
    // The canonical form, as in a parsed URL.
    return isIP(v6) === 6 ? { kind: 'host', name: canonical(v6), below: false, port } : undefined
  }
  if (name === undefined || !/^[a-z\d_-]+(\.[a-z\d_-]+)*$/.test(name)) return undefined
  return { kind: 'host', name, below: star !== undefined, port }
}

const family = (address: string): 'ipv4' | 'ipv6' => (isIPv4(address) ? 'ipv4' : 'ipv6')

/** Special-purpose addresses (RFC 6890 and IANA's registries) that may lead to this device, its neighbours or a group. */
const NOT_PUBLIC = new BlockList()
for (const [address, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
  ['::', 96],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const) {
  NOT_PUBLIC.addSubnet(address, bits, family(address))
}

export function isPublic(address: string): boolean {
  const inner = embedded(address)
  if (inner !== undefined) return isPublic(inner)
  return isIP(address) !== 0 && !NOT_PUBLIC.check(address, family(address))
}

/** The IPv4 address that an IPv6 address leads to: mapped (RFC 4291), behind NAT64 (RFC 6052) or 6to4 (RFC 3056). */
function embedded(address: string): string | undefined {
  if (isIP(address) !== 6) return undefined
  const text = canonical(address)
  const [left = '', right] = text.split('::')
  const head = left.split(':').filter(Boolean)
  const tail = (right ?? '').split(':').filter(Boolean)
  const groups = [...head, ...Array<string>(8 - head.length - tail.length).fill('0'), ...tail]
  const numbers = groups.map(group => Number.parseInt(group, 16))
  const prefix = numbers.slice(0, 6).join()
  const at = prefix === '0,0,0,0,0,65535' || prefix === '100,65435,0,0,0,0' ? 6 : numbers[0] === 0x2002 ? 1 : undefined
  if (at === undefined) return undefined
  const [high = 0, low = 0] = numbers.slice(at)
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

const canonical = (v6: string): string => new URL(`http://[${v6}]/`).hostname.slice(1, -1)

/** RFC 6761: the device itself, or, through a proxy, the proxy. */
const isOwnName = (name: string): boolean => /(^|\.)localhost\.?$/.test(name)
