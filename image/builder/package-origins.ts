import type { privateApt } from './debian.ts'

/**
 * `versions`, rows of versions.txt, with the URL of the source as fourth column for each package that Debian does not have. `debian`:
 * URLs of Debian's archives; `apt` has these and the sources of the layers. Errors: those of apt-cache(8).
 */
export async function withOrigins(
  apt: Awaited<ReturnType<typeof privateApt>>,
  versions: string,
  debian: readonly string[],
): Promise<string> {
  const rows = versions.split('\n').filter(line => line !== '')
  const names = rows.map(row => row.split('\t')[0]!)
  const found = offersOf(await apt('apt-cache', 'madison', ...names))
  const own = new Set(debian.map(plain))
  return rows
    .map(row => {
      const [name, version, kib = ''] = row.split('\t')
      const offers = found.filter(offer => offer.name === name)
      const exact = offers.filter(offer => offer.version === version)
      // A source may have moved on since the package was installed.
      const uris = (exact.length > 0 ? exact : offers).map(({ uri }) => plain(uri))
      const foreign = uris.length > 0 && !uris.some(uri => own.has(uri))
      return `${[name, version, kib, ...(foreign ? [uris[0]] : [])].join('\t')}\n`
    })
    .join('')
}

interface Offer {
  readonly name: string
  readonly version: string
  readonly uri: string
}

/** Lines `NAME | VERSION | URI SUITE/COMPONENT ARCHITECTURE Packages`. Pure. */
const offersOf = (text: string): readonly Offer[] =>
  text.split('\n').flatMap(line => {
    const [name, version, where] = line.split(' | ').map(word => word.trim())
    return name && version && where ? [{ name, version, uri: where.split(' ')[0]! }] : []
  })

const plain = (uri: string): string => uri.replace(/\/+$/, '')
