import { lstat, mkdir, readdir, readFile, readlink, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { messageOf } from '../../src/domain/errors.ts'
import { cached } from './cache.ts'
import { IMAGE, linesOf } from './data.ts'
import { debianFirst } from './layer-sources.ts'
import { kernelVersion } from './modules.ts'
import { packageFault } from './package-faults.ts'
import { withOrigins } from './package-origins.ts'
import { type Release, TRIXIE } from './release.ts'
import { run } from './run.ts'

/** Kept in base.tar for the archive of licence texts (licences.ts); prune.txt removes them from the image. */
const COPYRIGHT = '/usr/share/doc/*/copyright'
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** `usr/…` and `boot/…` of each package in boot-packages.txt, in a folder named after it; the kernel's folder is `kernel`, its modules indexed. */
export function bootParts(refresh: string, { kinds, suites, preferences, inputs }: Release = TRIXIE): Promise<string> {
  const names = linesOf('boot-packages.txt')
  return cached(`boot-parts${kinds}`, [names, suites, refresh, ...inputs, 'indexed'], async dir => {
    const apt = await privateApt(join(dir, '.apt'), debianSources(suites), preferences)
    const kernel = await kernelPackages(apt)
    await apt('apt-get', 'download', ...names.filter(name => name !== 'linux-image-arm64'), ...kernel)
    const versions: string[] = []
    for (const file of await readdir(join(dir, '.apt/debs'))) {
      const deb = join(dir, '.apt/debs', file)
      const [name, version] = file.split('_')
      await run(['dpkg-deb', '-x', deb, join(dir, kernel.includes(name!) ? 'kernel' : name!)])
      versions.push(`${name}\t${decodeURIComponent(version!)}`)
    }
    await unsplit(join(dir, 'kernel'))
    // modules.dep and modules.alias, which the packages leave to their installation.
    await run(['depmod', '-b', join(dir, 'kernel/usr'), await kernelVersion(dir)])
    await writeFile(join(dir, 'versions.txt'), `${versions.sort().join('\n')}\n`)
    await run(['rm', '-rf', join(dir, '.apt')])
  })
}

/**
 * The packages with the kernel that linux-image-arm64 stands for. Later kernels are in several, and linux-image-VERSION, which is empty,
 * names them.
 */
async function kernelPackages(apt: Awaited<ReturnType<typeof privateApt>>): Promise<readonly string[]> {
  const whole = /Depends: (linux-image-\d\S*)/.exec(await apt('apt-cache', 'depends', 'linux-image-arm64'))?.[1]
  if (!whole) throw new Error('linux-image-arm64 depends on no kernel')
  const version = whole.slice('linux-image-'.length)
  const found = (await apt('apt-cache', 'depends', whole)).matchAll(/Depends: (linux-(?:base|binary|modules)-\d\S*)/g)
  const pieces = [...found].map(([, name]) => name!).filter(name => name.endsWith(`-${version}`))
  return [whole, ...pieces]
}

/** Gives split packages the form of the whole one: `boot/vmlinuz-VERSION`. For device trees they have a link. */
async function unsplit(kernel: string): Promise<void> {
  for (const version of await readdir(join(kernel, 'usr/lib/modules'))) {
    const file = join(kernel, 'usr/lib/modules', version, 'vmlinuz')
    if (!(await lstat(file).catch(() => undefined))) continue
    await mkdir(join(kernel, 'boot'), { recursive: true })
    await rename(file, join(kernel, 'boot', `vmlinuz-${version}`))
  }
}

/**
 * `usr/lib/firmware/…`, and `usr/share/doc/…/copyright`: files taken out of Debian packages that are not installed as a whole; a row is `PACKAGE FILE`. `versions.txt`
 * has the size of these files. Errors: a package without such a file, a link to a file without a row.
 */
export function firmwareParts(rows: readonly string[], refresh: string): Promise<string> {
  return cached('firmware', [rows, linesOf('suites.txt'), refresh, COPYRIGHT], async dir => {
    if (rows.length === 0) return void (await writeFile(join(dir, 'versions.txt'), ''))
    const apt = await privateApt(join(dir, '.apt'))
    const packages = [...new Set(rows.map(row => row.split(' ')[0]!))]
    await apt('apt-get', 'download', ...packages)
    const versions: string[] = []
    for (const deb of await readdir(join(dir, '.apt/debs'))) {
      const [name, version] = deb.split('_')
      const unpacked = join(dir, '.apt', name!)
      await run(['dpkg-deb', '-x', join(dir, '.apt/debs', deb), unpacked])
      const doc = join('usr/share/doc', name!)
      await mkdir(join(dir, doc), { recursive: true })
      await run(['cp', join(unpacked, doc, 'copyright'), join(dir, doc)])
      let bytes = 0
      for (const row of rows.filter(each => each.startsWith(`${name} `))) {
        const path = join('usr/lib/firmware', row.split(' ')[1]!)
        const found = await lstat(join(unpacked, path)).catch(() => undefined)
        if (!found || found.isDirectory()) throw new Error(`firmware.txt of a layer: ${name} has no file ${path}`)
        bytes += found.size
        await mkdir(dirname(join(dir, path)), { recursive: true })
        await run(['cp', '-a', join(unpacked, path), join(dir, path)])
      }
      versions.push(`${name}\t${decodeURIComponent(version!)}\t${Math.ceil(bytes / 1024)}`)
    }
    const [first] = await firmwareThatLeadsNowhere(dir, rows)
    if (first !== undefined) throw new Error(`firmware.txt of a layer: ${first}`)
    await writeFile(
      join(dir, 'versions.txt'),
      versions
        .sort()
        .map(line => `${line}\n`)
        .join(''),
    )
    await run(['rm', '-rf', join(dir, '.apt')])
  })
}

/** Rows (`PACKAGE FILE`) whose file below `dir` is a link to a file that no row brings; a sentence each. */
export async function firmwareThatLeadsNowhere(dir: string, rows: readonly string[]): Promise<readonly string[]> {
  const said: string[] = []
  for (const row of rows) {
    const [name, path = ''] = row.split(' ')
    const file = join(dir, 'usr/lib/firmware', path)
    const link = await readlink(file).catch(() => undefined)
    if (link === undefined) continue
    const target = join(dirname(path), link)
    if (await lstat(join(dir, 'usr/lib/firmware', target)).catch(() => undefined)) continue
    said.push(`${path} is a link to ${target}, which needs a line too: ${name} ${target}`)
  }
  return said
}

/** In deb822 style; `suites` as in suites.txt. */
const debianSources = (suites: readonly string[] = linesOf('suites.txt')): readonly string[] =>
  suites.map(line => {
    const [uri, suite, ...components] = line.split(/\s+/)
    return `Types: deb\nURIs: ${uri}\nSuites: ${suite}\nComponents: ${components.join(' ')}\nArchitectures: arm64\nSigned-By: ${KEYRING}\n`
  })

/** apt with its own sources, lists and architecture; this machine's stay as they are. Verifies signatures. */
export async function privateApt(
  home: string,
  sources = debianSources(),
  preferences = '',
): Promise<(...argv: [string, ...string[]]) => Promise<string>> {
  for (const folder of ['lists/partial', 'archives/partial', 'debs'])
    await mkdir(join(home, folder), { recursive: true })
  await mkdir(join(home, 'sources.d'), { recursive: true })
  for (const [i, text] of sources.entries()) await writeFile(join(home, `sources.d/${i}.sources`), text)
  await writeFile(join(home, 'preferences'), preferences)
  await writeFile(join(home, 'status'), '')
  const settings = {
    'Dir::State': home,
    'Dir::State::status': join(home, 'status'),
    'Dir::State::lists': join(home, 'lists'),
    'Dir::Cache': home,
    'Dir::Etc::sourcelist': '/dev/null',
    'Dir::Etc::sourceparts': join(home, 'sources.d'),
    'Dir::Etc::preferences': join(home, 'preferences'),
    'Dir::Etc::preferencesparts': '/dev/null',
    'APT::Architecture': 'arm64',
    'APT::Architectures': 'arm64',
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
  }
  await writeFile(
    join(home, 'apt.conf'),
    Object.entries(settings)
      .map(([name, value]) => `${name} "${value}";\n`)
      .join(''),
  )
  const env = { APT_CONFIG: join(home, 'apt.conf') }
  await run(['apt-get', 'update'], { env })
  return (...argv) => run(argv, { env, cwd: join(home, 'debs') })
}

/**
 * `base.tar`: the root file system as Debian's packages create it, with their users and ours. `versions.txt`: the packages, those
 * of a layer's source with its URL.
 * Package scripts run under user-mode emulation, the slowest part of a build.
 */
export function baseSystem(
  refresh: string,
  epoch: number,
  packages: readonly string[] = linesOf('packages.txt'),
  sources: readonly string[] = [],
  { kinds, suites, preferences: own, inputs }: Release = TRIXIE,
): Promise<string> {
  const users = 'rootfs/usr/lib/sysusers.d/pi-adu.conf'
  const ofLayers = sources.length > 0
  const pins = [...(own ? [own] : []), ...(ofLayers ? [debianFirst(linesOf('suites.txt'), sources)] : [])]
  const layers = ofLayers ? [...sources, pins.at(-1)] : []
  const key = [packages, suites, linesOf(users), refresh, COPYRIGHT, ...layers, ...inputs]
  return cached(`base${kinds}`, key, async dir => {
    const hooks = customizeHooks(join(IMAGE, users), join(dir, 'versions.txt'))
    const ofLayer = join(dir, 'layers.sources')
    const preferences = join(dir, 'pi-adu.pref')
    if (ofLayers) await writeFile(ofLayer, sources.join('\n'))
    if (pins.length > 0) await writeFile(preferences, pins.join('\n'))
    await run(
      [
        ...(['mmdebstrap', '--variant=custom', '--architectures=arm64', '--format=tar'] as const),
        `--include=${packages.join(',')}`,
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=Acquire::Retries "3"',
        '--dpkgopt=path-exclude=/usr/share/man/*',
        '--dpkgopt=path-exclude=/usr/share/locale/*',
        '--dpkgopt=path-exclude=/usr/share/doc/*',
        `--dpkgopt=path-include=${COPYRIGHT}`,
        '--dpkgopt=force-unsafe-io',
        ...(pins.length > 0 ? setupHooks(preferences).map(hook => `--setup-hook=${hook}`) : []),
        ...hooks.map(hook => `--customize-hook=${hook}`),
        `--keyring=${KEYRING}`,
        'trixie',
        join(dir, 'base.tar'),
        ...suites.map(line => `deb ${line}`),
        ...(ofLayers ? [ofLayer] : []),
      ],
      { env: { SOURCE_DATE_EPOCH: String(epoch) } },
    ).catch(cause => {
      const fault = packageFault(messageOf(cause))
      throw fault === undefined ? cause : new Error(fault, { cause })
    })
    if (ofLayers) {
      const apt = await privateApt(join(dir, '.apt'), [...debianSources(suites), ...sources], pins.join('\n'))
      const versions = await readFile(join(dir, 'versions.txt'), 'utf8')
      const debian = suites.map(line => line.split(/\s+/)[0]!)
      await writeFile(join(dir, 'versions.txt'), await withOrigins(apt, versions, debian))
      await run(['rm', '-rf', join(dir, '.apt')])
    }
  })
}

/** Before packages are chosen, for mmdebstrap(1). Pure. */
export const setupHooks = (preferences: string): readonly string[] => [
  'mkdir -p "$1/etc/apt/preferences.d"',
  `copy-in ${quoted(preferences)} /etc/apt/preferences.d`,
]

/** For mmdebstrap(1), which passes them to a shell; `copy-in` and `download` split their line like a shell. Pure. */
export function customizeHooks(users: string, versions: string): readonly string[] {
  return [
    'mkdir -p "$1/usr/lib/sysusers.d"',
    `copy-in ${quoted(users)} /usr/lib/sysusers.d`,
    'chroot "$1" systemd-sysusers /usr/lib/sysusers.d/pi-adu.conf',
    // Without root this runs in a user namespace that may not write here, so mmdebstrap itself copies the file out.
    `chroot "$1" dpkg-query -W -f '\${Package}\\t\${Version}\\t\${Installed-Size}\\n' > "$1/versions.txt"`,
    `download /versions.txt ${quoted(versions)}`,
    'rm "$1/versions.txt"',
  ]
}

/** Quotes a text as one word for a shell. Pure. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
