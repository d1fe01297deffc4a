import { readIwdFile } from './iwd-file.ts'
import { type Countries, countryOf, Unusable, type Wishes } from './wishes.ts'

/** A file on the boot partition; `flaw` says why it could not be read. */
export interface CardFile {
  readonly name: string
  readonly content: Buffer
  readonly flaw?: string
}

/** A file of the data partition to write. */
export interface Put {
  /** Relative to the data partition. */
  readonly path: string
  readonly text: string
  readonly mode: '0600' | '0644'
}

export interface Preseed {
  /** Files that are taken, in their order. */
  readonly taken: readonly {
    readonly name: string
    readonly puts: readonly Put[]
    readonly without: readonly string[]
  }[]
  readonly refused: readonly { readonly name: string; readonly why: string }[]
}

/** Bytes; none of these files needs more. */
export const MAX_BYTES = 64 * 1024

const USE = 'use rpi-preseed.toml, or a file such as NAME.psk'
/** Files of Raspberry Pi OS and others that would silently do nothing. */
const OTHERS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    'firstrun.sh': `scripts are not run: ${USE}`,
    'user-data': `cloud-init is not supported: ${USE}`,
    'network-config': `cloud-init is not supported: ${USE}`,
    'wpa_supplicant.conf': `this system has iwd, not wpa_supplicant: ${USE}`,
    'userconf.txt': 'no user has a password: use authorized_keys',
  }),
)
const IWD = /\.(psk|open|8021x)$/i
/** An editor of Windows adds .txt, and its Explorer does not show it. */
const HALF_NAMED = /(\.(psk|open|8021x)|^(rpi-preseed|custom)\.toml)\.txt$/i

/** Whether a file of this name is for `readPreseed`. Pure. */
export const isPreseed = (name: string): boolean =>
  // A Mac writes a file ._NAME beside each NAME on FAT.
  !name.startsWith('._') &&
  (IWD.test(name) ||
    HALF_NAMED.test(name) ||
    OTHERS.has(name.toLowerCase()) ||
    /^(country\.txt|(rpi-preseed|custom)\.toml)$/i.test(name))

/** One file never costs the others. An unforeseen error's own message may quote the file, and so a password. */
const FAULT = 'it cannot be read, by a fault of this program: please report it'

/** Reads TOML into tables. Throws an `Unusable`. */
export type ReadToml = (text: string, countries: Countries) => Wishes

/**
 * What the files ask for. A file that cannot be used is refused with one clause, whatever is wrong with it, and two files that contradict each other are both
 * refused. `keys`: the text of authorized_keys on the same card. Pure.
 */
export function readPreseed(
  files: readonly CardFile[],
  countries: Countries,
  readToml: ReadToml,
  keys?: string,
): Preseed {
  const refused: { name: string; why: string }[] = []
  const wishes = new Map<string, Wishes>()
  for (const file of files) {
    try {
      wishes.set(file.name, wishesOf(file, countries, readToml))
    } catch (error) {
      refused.push({ name: file.name, why: error instanceof Unusable ? error.message : FAULT })
    }
  }
  const said = new Map([...wishes].map(([name, wish]) => [name, wordsOf(wish)]))
  if (keys !== undefined) said.set('authorized_keys', new Map([['SSH keys', keysText(keys.split('\n'))]]))
  const taken: Preseed['taken'][number][] = []
  for (const [name, words] of said) {
    const conflict = conflictOf(name, words, said)
    const wish = wishes.get(name)
    if (conflict) refused.push({ name, why: conflict })
    else if (wish) taken.push({ name, puts: putsOf(wish), without: wish.without ?? [] })
  }
  return { taken, refused }
}

function wishesOf({ name, content, flaw }: CardFile, countries: Countries, readToml: ReadToml): Wishes {
  const lower = name.toLowerCase()
  const other = OTHERS.get(lower)
  if (other !== undefined) throw new Unusable(other)
  if (HALF_NAMED.test(name)) throw new Unusable(`its name ends in .txt: rename it to ${name.slice(0, -'.txt'.length)}`)
  if (flaw !== undefined) throw new Unusable(flaw)
  const text = textOf(content, lower.endsWith('.open'))
  if (IWD.test(name)) return { networks: [readIwdFile(name, text)] }
  if (lower === 'country.txt') return { country: countryOf(text, countries) }
  return readToml(text, countries)
}

function textOf(content: Buffer, mayBeEmpty: boolean): string {
  if (content.length === 0 && !mayBeEmpty) throw new Unusable('it is empty')
  if (content.length > MAX_BYTES) throw new Unusable('it is larger than 64 KiB')
  if (content.length > 0 && content.subarray(0, 512).every(byte => byte === 0))
    throw new Unusable('it begins with zeros: copy it to the card again')
  const isUtf16 =
    /^(\xff\xfe|\xfe\xff)/.test(content.toString('latin1', 0, 2)) ||
    /^(.\0|\0.)/s.test(content.toString('latin1', 0, 2))
  if (isUtf16) throw new Unusable('it is not UTF-8 but looks like UTF-16: save it as UTF-8')
  if (content.includes(0)) throw new Unusable('it contains zeros: copy it to the card again')
  try {
    // The decoder removes a byte order mark.
    return new TextDecoder('utf-8', { fatal: true }).decode(content).replaceAll('\r\n', '\n')
  } catch {
    throw new Unusable('it is not UTF-8: save it as UTF-8')
  }
}

/** Each thing that is asked for, with a text to compare. */
function wordsOf({ networks = [], country, hostname, timezone, keys }: Wishes): ReadonlyMap<string, string> {
  const words = new Map(
    networks.map(({ file, ssid, text }) => [`the network ${JSON.stringify(ssid)} (.${file.split('.').at(-1)})`, text]),
  )
  if (country !== undefined) words.set('the country', country)
  if (hostname !== undefined) words.set('the host name', hostname)
  if (timezone !== undefined) words.set('the time zone', timezone)
  if (keys) words.set('SSH keys', keysText(keys))
  return words
}

const keysText = (lines: readonly string[]): string =>
  lines
    .map(line => line.trim())
    .filter(line => line !== '' && !line.startsWith('#'))
    .toSorted()
    .join('\n')

function conflictOf(
  name: string,
  words: ReadonlyMap<string, string>,
  all: ReadonlyMap<string, ReadonlyMap<string, string>>,
): string | undefined {
  for (const [what, text] of words)
    for (const [other, others] of all)
      if (other !== name && others.has(what) && others.get(what) !== text)
        return `${other} says something else about ${what}: remove one of the two`
  return undefined
}

function putsOf({ networks = [], country, hostname, timezone, keys }: Wishes): readonly Put[] {
  const puts: Put[] = networks.map(({ file, text }) => ({ path: `iwd/${file}`, text, mode: '0600' }))
  const put = (path: string, text: string): void => void puts.push({ path, text: `${text}\n`, mode: '0644' })
  if (country !== undefined) put('adu/wlan-country', country)
  if (hostname !== undefined) put('adu/hostname', hostname)
  if (timezone !== undefined) put('adu/timezone', timezone)
  if (keys) put('ssh/authorized_keys', keys.join('\n'))
  return puts
}
