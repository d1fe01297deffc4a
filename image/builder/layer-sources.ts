import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from './run.ts'

/** A paragraph of a file in sources.list(5), deb822 style: field → value. */
export type Paragraph = ReadonlyMap<string, string>

const FIELDS = ['types', 'uris', 'suites', 'components', 'architectures', 'signed-by']
const NEEDED = ['types', 'uris', 'suites', 'signed-by']
const KEY_NAME = /^[A-Za-z0-9][\w.+-]*\.(asc|gpg)$/
const WORD = /^[A-Za-z0-9][A-Za-z0-9.+~:/_-]*$/

/** Apt sources of a layer, each with the name of its key's file; or what is wrong with them, in `problems`. Pure. */
export function readSources(name: string, text: string, problems: string[]): readonly Paragraph[] {
  const found: Paragraph[] = []
  const lines = text.split(/\r?\n/).filter(line => !line.startsWith('#'))
  for (const [i, part] of lines
    .join('\n')
    .split(/\n[ \t]*\n/)
    .entries()) {
    if (part.trim() === '') continue
    const fields = new Map<string, string>()
    const flaw = (why: string): void => void problems.push(`sources/${name}: paragraph ${i + 1}: ${why}`)
    // A line that begins with a blank goes on with the one before.
    for (const line of part
      .trim()
      .replaceAll(/\n[ \t]+/g, ' ')
      .split('\n')) {
      const [, field = '', value = ''] = /^([A-Za-z-]+):[ \t]*(.*)$/.exec(line.trim()) ?? []
      const key = field.toLowerCase()
      if (key === '') flaw('a line is FIELD: VALUE')
      else if (fields.has(key)) flaw(`${field} is there twice`)
      else if (!FIELDS.includes(key)) flaw(`${field} is refused: only ${FIELDS.join(', ')} may be set`)
      else fields.set(key, value.trim())
    }
    for (const why of flawsOf(fields)) flaw(why)
    found.push(fields)
  }
  if (found.length === 0) problems.push(`sources/${name}: it has no paragraph`)
  return found
}

function* flawsOf(fields: Paragraph): Generator<string> {
  for (const name of NEEDED) {
    if (!fields.get(name))
      yield name === 'signed-by' ? 'Signed-By is missing: each source has its key' : `${name} is missing`
  }
  const words = (name: string): readonly string[] => (fields.get(name) ?? '').split(/\s+/).filter(word => word !== '')
  const types = words('types')
  if (types.length > 0 && types.join() !== 'deb') yield 'Types must be deb'
  for (const uri of words('uris')) {
    const url = URL.canParse(uri) ? new URL(uri) : undefined
    if (!url || !['http:', 'https:'].includes(url.protocol))
      yield `URIs: ${JSON.stringify(uri)} is not an http or https URL`
    else if (url.username || url.password) yield 'URIs: a name or password in a URL is refused'
  }
  for (const word of [...words('suites'), ...words('components')])
    if (!WORD.test(word)) yield `${JSON.stringify(word)} is not the name of a suite or component`
  const isFlat = words('suites').every(suite => suite.endsWith('/'))
  if (words('suites').length > 0 && isFlat === words('components').length > 0)
    yield isFlat ? 'a suite that ends with / has no Components' : 'Components is missing'
  const wrong = words('architectures').find(name => name !== 'arm64')
  if (wrong !== undefined) yield `Architectures: ${JSON.stringify(wrong)} is refused: the image is for arm64`
  const key = fields.get('signed-by')
  if (key && !KEY_NAME.test(key)) yield 'Signed-By must name a key file beside it, like my.asc'
}

/**
 * The public key in a file, as text in ASCII armor. Errors: what is wrong with the key, such as that it has expired. Needs gpg(1).
 */
export async function readKey(
  file: string,
  now = Date.now(),
): Promise<{ readonly armor: string } | { readonly why: string }> {
  // Short: gpg-agent has its socket there.
  const home = await mkdtemp(join(tmpdir(), 'key-'))
  const gpg = (...args: string[]) =>
    run(['gpg', '--homedir', home, '--batch', '--quiet', '--no-tty', '--no-autostart', ...args])
  try {
    const shown = await run([
      'gpg',
      '--homedir',
      home,
      '--batch',
      '--with-colons',
      '--no-tty',
      '--show-keys',
      file,
    ]).catch(() => '')
    const rows = shown.split('\n').map(line => line.split(':'))
    if (rows.some(([type]) => type === 'sec')) return { why: 'it contains a private key' }
    const keys = rows.filter(([type]) => type === 'pub')
    if (keys.length === 0) return { why: 'it has no OpenPGP key' }
    for (const [, validity, , , , , expires] of keys) {
      if (validity === 'r') return { why: 'its key was revoked' }
      if (validity === 'e' || (expires && Number(expires) * 1000 < now)) return { why: 'its key has expired' }
    }
    await gpg('--import', file)
    return { armor: (await gpg('--armor', '--export')).trim() }
  } finally {
    await rm(home, { recursive: true, force: true })
  }
}

/** The source with its key inside, as apt reads it: no path of this machine. Pure. */
export function sourceText(fields: Paragraph, armor: string): string {
  const key = armor
    .split('\n')
    .map(line => ` ${line.trim() === '' ? '.' : line.trim()}`)
    .join('\n')
  const lines = FIELDS.flatMap(name => {
    const value = name === 'architectures' ? 'arm64' : fields.get(name)
    return name === 'signed-by' || !value ? [] : [`${name}: ${value}`]
  })
  return `${[...lines, 'signed-by:', key].join('\n')}\n`
}

/**
 * Packages that Debian has come from Debian, whatever the version of a layer's source. What a source says of itself is not believed:
 * the sources of layers are known by their hosts, and the first record that matches a source counts (apt_preferences(5)). `suites` as
 * in suites.txt, `sources` as of `sourceText`. Pure.
 */
export function debianFirst(suites: readonly string[], sources: readonly string[]): string {
  const columns = suites.map(line => line.split(/\s+/))
  const debian = new Set(columns.map(([uri]) => hostOf(uri!)))
  const uris = sources.flatMap(text => /^uris: (.+)$/m.exec(text)?.[1]?.split(/\s+/) ?? [])
  // A layer may name another suite on Debian's own host, such as backports.
  const hosts = [...new Set(uris.map(hostOf))].filter(host => !debian.has(host))
  const names = [...new Set(columns.map(([, suite]) => suite!))]
  const record = (pin: string, priority: number): string => `Package: *\nPin: ${pin}\nPin-Priority: ${priority}\n`
  return [
    ...hosts.map(host => record(`origin "${host}"`, 400)),
    ...names.map(name => record(`release o=Debian, n=${name}`, 900)),
  ].join('\n')
}

const hostOf = (uri: string): string => new URL(uri).hostname
