import { createHash } from 'node:crypto'
import { chmod, lstat, mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { gzipSync } from 'node:zlib'
import { type BuiltAgent, buildAgent } from './agent-bundle.ts'
import { COMPLETION } from './completion.ts'
import { IMAGE } from './data.ts'
import { MAN_PAGE } from './man-page.ts'
import { repositoryRoot } from './repository.ts'
import { run } from './run.ts'

export interface DebOptions {
  readonly version: string
  /** Name and address, as in `Contoso <pi@contoso.example>`. */
  readonly maintainer: string
  /** Seconds: the time of every file. */
  readonly epoch: number
  /** The folder for the package. */
  readonly output: string
}

const NAME = 'pi-adu-agent'
const DOC = `usr/share/doc/${NAME}`

/** Of the image, with their places in a package: its own files are not under /etc (Debian Policy, 10.7). */
const SHARED = [
  ['usr/bin/pi-adu', 'usr/bin/pi-adu'],
  ['usr/lib/tmpfiles.d/pi-adu.conf', 'usr/lib/tmpfiles.d/pi-adu.conf'],
  [COMPLETION, COMPLETION],
  ['etc/polkit-1/rules.d/50-pi-adu.rules', 'usr/share/polkit-1/rules.d/50-pi-adu.rules'],
] as const

/** Units of the image that are the agent's and the step service's; all others belong to the image. */
const UNITS = /^pi-adu-(agent|steps)[\w@.-]*\.(service|socket)$/

/**
 * Builds `pi-adu-agent_VERSION_all.deb` and returns its path. The same checkout gives the same bytes. Needs dpkg-deb, not root.
 * The lights' library is left out: it has a native part for one architecture and one version of Node.
 */
export async function buildDeb(options: DebOptions): Promise<string> {
  const { version, output, epoch } = options
  const file = join(output, `${NAME}_${version}_all.deb`)
  const tree = join(output, `.${NAME}`)
  await rm(tree, { recursive: true, force: true })
  await mkdir(join(tree, 'DEBIAN'), { recursive: true })
  try {
    const built = await buildAgent(join(tree, 'usr/lib/pi-adu'))
    await rm(join(tree, 'usr/lib/pi-adu/node_modules'), { recursive: true })
    await addShared(tree)
    const units = await addUnits(tree)
    await addOwn(tree, options, built)
    await addScripts(tree, units)
    await addControl(tree, options)
    await settle(tree, epoch)
    const flags = ['--root-owner-group', '-Zxz', '--build', tree, `${file}.new`]
    await run(['dpkg-deb', ...flags], { env: { SOURCE_DATE_EPOCH: String(epoch) } })
    await rename(`${file}.new`, file)
    return file
  } finally {
    await rm(tree, { recursive: true, force: true })
  }
}

async function addShared(tree: string): Promise<void> {
  for (const [from, to] of SHARED) await put(join(tree, to), await readFile(join(IMAGE, 'rootfs', from)))
  const users = await readFile(join(IMAGE, 'rootfs/usr/lib/sysusers.d/pi-adu.conf'), 'utf8')
  await put(join(tree, 'usr/lib/sysusers.d/pi-adu.conf'), withoutOwner(users))
}

/** The image's users without its owner, whom an ordinary Debian has under another name. Pure. */
const withoutOwner = (sysusers: string): string =>
  sysusers
    .split('\n')
    .filter(line => !/^\w!?\s+owner\b/.test(line) && !/^# The owner\b/.test(line))
    .join('\n')

interface Units {
  readonly enabled: readonly string[]
  readonly others: readonly string[]
}

async function addUnits(tree: string): Promise<Units> {
  const from = join(IMAGE, 'rootfs/etc/systemd/system')
  const names = (await readdir(from)).filter(name => UNITS.test(name)).sort()
  const enabled: string[] = []
  for (const name of names) {
    const unit = await readFile(join(from, name), 'utf8')
    await put(join(tree, 'usr/lib/systemd/system', name), unit)
    if (/^\[Install\]$/m.test(unit)) enabled.push(name)
  }
  return { enabled, others: names.filter(name => !enabled.includes(name)) }
}

async function addOwn(tree: string, { version, maintainer, epoch }: DebOptions, built: BuiltAgent): Promise<void> {
  const own = (name: string): Promise<Buffer> => readFile(join(IMAGE, 'debian', name))
  const date = new Date(epoch * 1000).toUTCString().replace('GMT', '+0000')
  const entry = `${NAME} (${version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n -- ${maintainer}  ${date}\n`
  await put(join(tree, 'etc/adu/du-config.example.json'), await own('du-config.example.json'))
  await put(join(tree, 'etc/pi-adu/steps.json'), await own('steps.json'))
  for (const folder of ['etc/pi-adu/health.d', 'usr/lib/pi-adu/handlers.d'])
    await mkdir(join(tree, folder), { recursive: true })
  await put(join(tree, 'usr/lib/tmpfiles.d/pi-adu-package.conf'), await own('tmpfiles.conf'))
  await put(join(tree, 'usr/share/man/man1/pi-adu.1.gz'), zipped(await readFile(MAN_PAGE)))
  await put(join(tree, DOC, 'changelog.gz'), zipped(entry))
  await put(join(tree, DOC, 'CHANGELOG.md.gz'), zipped(await readFile(join(repositoryRoot(), 'CHANGELOG.md'))))
  await put(join(tree, DOC, 'copyright'), await copyright(built))
}

/** zlib writes no time, and always the same bytes. */
const zipped = (content: string | Buffer): Buffer => gzipSync(content, { level: 9 })

/** The product's licence, and what it contains of others, whose texts lie beside the program. */
async function copyright({ npm }: BuiltAgent): Promise<string> {
  const licence = await readFile(join(repositoryRoot(), 'LICENSE'), 'utf8')
  const parts = npm.map(({ name, version, licence: own = 'see its notice' }) => `  ${name} ${version}: ${own}\n`)
  return `${licence}\nOn Debian the text of the Apache License is /usr/share/common-licenses/Apache-2.0.\n\nThe program contains these npm packages; their notices are in /usr/lib/pi-adu/*.LEGAL.txt:\n\n${parts.join('')}`
}

async function addScripts(tree: string, { enabled, others }: Units): Promise<void> {
  const words: Readonly<Record<string, string>> = {
    UNITS: enabled.join(' '),
    SOCKETS: enabled.filter(name => name.endsWith('.socket')).join(' '),
    SERVICES: others.join(' '),
  }
  for (const name of ['postinst', 'prerm', 'postrm']) {
    const text = await readFile(join(IMAGE, 'debian', name), 'utf8')
    const script = text.replace(/@(\w+)@/g, (_, word: string) => words[word]!)
    await put(join(tree, 'DEBIAN', name), script)
  }
}

async function addControl(tree: string, { version, maintainer }: DebOptions): Promise<void> {
  const files = await filesIn(tree)
  const sums = await Promise.all(files.map(async path => `${md5(await readFile(join(tree, path)))}  ${path}\n`))
  const conffiles = files.filter(path => path.startsWith('etc/')).map(path => `/${path}\n`)
  const sizes = await Promise.all(files.map(async path => Math.ceil((await lstat(join(tree, path))).size / 1024)))
  const size = sizes.reduce((sum, each) => sum + each, 0)
  const template = await readFile(join(IMAGE, 'debian/control'), 'utf8')
  const head = `Package: ${NAME}\nVersion: ${version}\nArchitecture: all\nMaintainer: ${maintainer}\nInstalled-Size: ${size}\n`
  await put(join(tree, 'DEBIAN/control'), `${head}${template}`)
  await put(join(tree, 'DEBIAN/conffiles'), conffiles.join(''))
  await put(join(tree, 'DEBIAN/md5sums'), sums.join(''))
}

const md5 = (content: Buffer): string => createHash('md5').update(content).digest('hex')

/** Everything that is installed, sorted. */
async function filesIn(tree: string): Promise<readonly string[]> {
  const found = await readdir(tree, { recursive: true, withFileTypes: true })
  const files = found.filter(each => each.isFile()).map(each => relative(tree, join(each.parentPath, each.name)))
  return files.filter(path => !path.startsWith('DEBIAN/')).sort()
}

async function put(file: string, content: string | Buffer): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, content)
}

/** Programs beside those in /usr/bin. */
const RUN = ['postinst', 'prerm', 'postrm', 'pi-adu.mjs', 'pi-adu-steps.mjs']

/** Modes and times, whatever umask and clock of the builder. */
async function settle(tree: string, epoch: number): Promise<void> {
  const found = await readdir(tree, { recursive: true, withFileTypes: true })
  const paths = found.map(each => join(each.parentPath, each.name))
  for (const path of [...paths.sort().reverse(), tree]) {
    const isFolder = (await lstat(path)).isDirectory()
    const runs = dirname(path).endsWith('/usr/bin') || RUN.includes(basename(path))
    await chmod(path, isFolder || runs ? 0o755 : 0o644)
    await utimes(path, epoch, epoch)
  }
}
