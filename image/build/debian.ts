import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cached } from './cache.ts'
import { IMAGE, linesOf } from './data.ts'
import { run } from './run.ts'

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** `usr/…` and `boot/…` of each package of boot-packages.txt, each in a folder with the package's name; `kernel` is the kernel's. */
export function bootParts(refresh: string): Promise<string> {
  const names = linesOf('boot-packages.txt')
  return cached('boot-parts', [names, linesOf('suites.txt'), refresh], async dir => {
    const apt = await privateApt(join(dir, '.apt'))
    const kernel = /Depends: (linux-image-\S+)/.exec(await apt('apt-cache', 'depends', 'linux-image-arm64'))?.[1]
    if (!kernel) throw new Error('linux-image-arm64 depends on no kernel')
    const packages = names.map(name => (name === 'linux-image-arm64' ? kernel : name))
    await apt('apt-get', 'download', ...packages)
    const versions: string[] = []
    for (const file of await readdir(join(dir, '.apt/debs'))) {
      const deb = join(dir, '.apt/debs', file)
      const [name, version] = file.split('_')
      await run(['dpkg-deb', '-x', deb, join(dir, name === kernel ? 'kernel' : name!)])
      versions.push(`${name}\t${decodeURIComponent(version!)}`)
    }
    await writeFile(join(dir, 'versions.txt'), `${versions.sort().join('\n')}\n`)
    await run(['rm', '-rf', join(dir, '.apt')])
  })
}

/** apt with sources, lists and architecture of its own: nothing of this machine's is changed. Verifies Debian's signatures. */
async function privateApt(home: string): Promise<(...argv: [string, ...string[]]) => Promise<string>> {
  for (const folder of ['lists/partial', 'archives/partial', 'debs'])
    await mkdir(join(home, folder), { recursive: true })
  const sources = linesOf('suites.txt').map(line => `deb [arch=arm64 signed-by=${KEYRING}] ${line}\n`)
  await writeFile(join(home, 'sources.list'), sources.join(''))
  await writeFile(join(home, 'status'), '')
  const settings = {
    'Dir::State': home,
    'Dir::State::status': join(home, 'status'),
    'Dir::State::lists': join(home, 'lists'),
    'Dir::Cache': home,
    'Dir::Etc::sourcelist': join(home, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferences': '/dev/null',
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
 * `base.tar`: the root file system as Debian's packages make it, with their users and ours; `versions.txt`: what is in it.
 * Their scripts run under user-mode emulation, which is the slowest part of a build.
 */
export function baseSystem(refresh: string, epoch: number): Promise<string> {
  const packages = linesOf('packages.txt')
  const suites = linesOf('suites.txt')
  const users = 'rootfs/usr/lib/sysusers.d/pi-adu.conf'
  return cached('base', [packages, suites, linesOf(users), refresh], async dir => {
    const hooks = [
      `copy-in ${join(IMAGE, users)} /usr/lib/sysusers.d`,
      'chroot "$1" systemd-sysusers /usr/lib/sysusers.d/pi-adu.conf',
      `chroot "$1" dpkg-query -W -f '\${Package}\\t\${Version}\\t\${Installed-Size}\\n' > ${dir}/versions.txt`,
    ]
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
        '--dpkgopt=force-unsafe-io',
        ...hooks.map(hook => `--customize-hook=${hook}`),
        `--keyring=${KEYRING}`,
        'trixie',
        join(dir, 'base.tar'),
        ...suites.map(line => `deb ${line}`),
      ],
      { env: { SOURCE_DATE_EPOCH: String(epoch) } },
    )
  })
}
