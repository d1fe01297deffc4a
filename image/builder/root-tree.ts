import {
  appendFile,
  chown,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { linesOf, links } from './data.ts'
import { makeRootImage } from './ext4.ts'
import { failInOneLine } from './failure.ts'
import type { User } from './layer-rows.ts'
import { copyModules } from './modules.ts'
import { namesIn } from './overlay.ts'
import { run } from './run.ts'

export interface RootTreeDescription {
  readonly work: string
  readonly base: string
  readonly parts: string
  readonly initramfs: string
  readonly native: string
  readonly overlay: string
  /** Of layers. */
  readonly users: readonly User[]
  readonly units: readonly string[]
  readonly modules: readonly string[]
  readonly dev: boolean
  readonly epoch: number
}

/** Assembles the tree and writes it as `rootfs.ext4` in `work`. Must run as root or under fakeroot. */
async function buildRootImage(description: RootTreeDescription): Promise<void> {
  const { work, base, parts, initramfs, native, overlay, dev, epoch } = description
  const tree = join(work, 'root')
  await rm(tree, { recursive: true, force: true })
  await mkdir(tree, { recursive: true })
  await run(['tar', '-xf', join(base, 'base.tar'), '--numeric-owner', '--exclude=./dev/*', '-C', tree])
  for (const path of linesOf('prune.txt')) await rm(join(tree, path), { recursive: true, force: true })
  // Created when the package was installed; every device would share it.
  await run(['sh', '-c', 'rm -f etc/ssh/ssh_host_* etc/machine-id etc/resolv.conf etc/.pwd.lock'], { cwd: tree })

  for (const path of linesOf('folders.txt')) await mkdir(join(tree, path), { recursive: true })
  await run(['chmod', '1777', join(tree, 'tmp'), join(tree, 'var/tmp')])
  await refuseOutside(tree, await namesIn(overlay))
  // Folders from Debian's packages keep their owners and modes.
  const as = ['--numeric-owner', '--keep-directory-symlink', '--no-overwrite-dir']
  await run(['tar', '-xf', overlay, ...as, '-C', tree])
  for (const [path, target] of links()) {
    await mkdir(dirname(join(tree, path)), { recursive: true })
    await rm(join(tree, path), { force: true })
    await symlink(target, join(tree, path))
  }
  await writeFile(join(tree, 'etc/machine-id'), 'uninitialized\n')
  const beside = join(tree, 'usr/lib/pi-adu/node_modules/epoll/build/Release')
  await mkdir(beside, { recursive: true })
  await copyFile(join(native, 'epoll.node'), join(beside, 'epoll.node'))
  // systemd sets an unset clock to this file's time (systemd-timesyncd(8)).
  await writeFile(join(tree, 'usr/lib/clock-epoch'), '')
  await utimes(join(tree, 'usr/lib/clock-epoch'), epoch, epoch)
  await addUsers(tree, description.users)
  await units(tree, dev, description.units)

  const kernel = join(parts, 'kernel')
  const vmlinuz = (await readdir(join(kernel, 'boot'))).find(name => name.startsWith('vmlinuz-'))
  if (!vmlinuz) throw new Error('the kernel package has no vmlinuz')
  await run(['gzip', '-9nc', join(kernel, 'boot', vmlinuz)], { stdout: { file: join(tree, 'boot/vmlinuz.gz') } })
  await copyFile(join(initramfs, 'initrd.img'), join(tree, 'boot/initrd.img'))
  const modules = [...linesOf('modules.txt'), ...(dev ? linesOf('dev-modules.txt') : []), ...description.modules]
  await copyModules(parts, join(tree, 'usr'), modules)
  await run(['chown', '-R', '0:0', 'boot', 'usr/lib/modules'], { cwd: tree })
  await chown(join(tree, 'usr/lib/clock-epoch'), 0, 0)
  await makeRootImage(tree, join(work, 'rootfs.ext4'), epoch)
  await rm(tree, { recursive: true, force: true })
}

/** Users of layers, without password, shell and home. Errors: a name or number that Debian's packages have taken. */
async function addUsers(tree: string, users: readonly User[]): Promise<void> {
  const etc = join(tree, 'etc')
  for (const { name, id } of users) {
    for (const file of ['passwd', 'group']) {
      const lines = (await readFile(join(etc, file), 'utf8')).split('\n').map(line => line.split(':'))
      const taken = lines.find(fields => fields[0] === name || fields[2] === String(id))
      if (taken)
        throw new Error(`users.txt of a layer: ${name} ${id} collides with ${taken[0]} ${taken[2]} in /etc/${file}`)
    }
    await appendFile(join(etc, 'passwd'), `${name}:x:${id}:${id}::/nonexistent:/usr/sbin/nologin\n`)
    await appendFile(join(etc, 'group'), `${name}:x:${id}:\n`)
    await appendFile(join(etc, 'shadow'), `${name}:!*:20000::::::\n`)
    await appendFile(join(etc, 'gshadow'), `${name}:!*::\n`)
  }
}

/** Does what `systemctl enable` and `systemctl mask` do, without systemctl. */
async function units(tree: string, dev: boolean, more: readonly string[]): Promise<void> {
  const home = join(tree, 'etc/systemd/system')
  for (const line of [...linesOf('units.txt'), ...more.map(unit => `enable ${unit}`)]) {
    const [verb, unit] = line.split(/\s+/) as [string, string]
    if (dev && unit === 'serial-getty@.service') continue
    if (verb === 'mask') {
      await rm(join(home, unit), { force: true })
      await symlink('/dev/null', join(home, unit))
      continue
    }
    await enableUnit(tree, unit)
  }
  await rm(join(home, 'default.target'), { force: true })
  await symlink('/usr/lib/systemd/system/multi-user.target', join(home, 'default.target'))
  if (dev && (await linkOutside(tree, 'etc/issue'))) throw new Error('etc/issue is a link that leads out of the image')
  if (dev) await appendFile(join(tree, 'etc/issue'), 'dev variant: a root shell without a password\n')
}

/** What systemd.unit(5), "[Install]", makes of these. `Alias=` is passed over. */
const WANTED = { WantedBy: 'wants', RequiredBy: 'requires', UpheldBy: 'upholds' } as const

/** `unit` may be an instance of a template. Errors: no such unit, nothing that wants it, a target or a link that leads out of the tree. */
export async function enableUnit(tree: string, unit: string): Promise<void> {
  const home = 'etc/systemd/system'
  const names = [unit, unit.replace(/@.+(?=\.)/, '@')]
  const path = await firstOf(
    tree,
    names.flatMap(name => [home, 'usr/lib/systemd/system'].map(folder => join(folder, name))),
  )
  if (path === undefined)
    throw new Error(`units.txt: there is no ${unit}, neither in a package nor in rootfs/ of a layer`)
  if (await linkOutside(tree, path)) throw new Error(`units.txt: ${unit} is a link that leads out of the image`)
  const text = await readFile(join(tree, path), 'utf8')
  const targets = Object.entries(WANTED).flatMap(([key, end]) =>
    [...text.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))]
      .flatMap(([, names = '']) => names.split(/\s+/).filter(name => name !== ''))
      .map(target => ({ key, target, end })),
  )
  if (targets.length === 0)
    throw new Error(`units.txt: ${unit} has no WantedBy= in [Install], so nothing would start it`)
  for (const { key, target, end } of targets) {
    if (!/^[\w:.@-]+$/.test(target))
      throw new Error(`units.txt: ${unit}: ${key}=${JSON.stringify(target)} is not the name of a unit`)
    const wants = join(home, `${target}.${end}`)
    const found = await lstat(join(tree, wants)).catch(() => undefined)
    if (found && !found.isDirectory()) throw new Error(`units.txt: ${unit}: ${wants} is not a folder`)
    await mkdir(join(tree, wants), { recursive: true })
    await rm(join(tree, wants, unit), { force: true })
    await symlink(`/${path}`, join(tree, wants, unit))
  }
}

/**
 * Files of layers are unpacked on the build machine, and tar follows a folder of the base that is a link: an absolute one leads
 * to the build machine's own files. Errors: the first such file, or one in the place of a folder that is not empty.
 */
export async function refuseOutside(tree: string, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const link = await linkOutside(tree, dirname(path))
    if (link !== undefined)
      throw new Error(
        `a layer is refused: ${path}: ${link} is a link in the image: name the folder that it leads to instead`,
      )
    if (path === '' || path.endsWith('/')) continue
    const names = await readdir(join(tree, path)).catch(() => [])
    if (names.length > 0 && !(await lstat(join(tree, path))).isSymbolicLink())
      throw new Error(
        `a layer is refused: ${path}: it is a folder in the image, with ${names[0]} and ${names.length - 1} more`,
      )
  }
}

/** The first link on a path that leads out of the tree, as the build machine reads it; undefined when there is none. */
async function linkOutside(tree: string, path: string, links = 0): Promise<string | undefined> {
  const parts = path.split('/').filter(part => part !== '' && part !== '.')
  for (const [i] of parts.entries()) {
    const at = join(...parts.slice(0, i + 1))
    if (!(await lstat(join(tree, at)).catch(() => undefined))?.isSymbolicLink()) continue
    const target = await readlink(join(tree, at))
    const inside = join(dirname(at), target)
    if (target.startsWith('/') || inside.startsWith('..') || links > 40) return at
    return linkOutside(tree, join(inside, ...parts.slice(i + 1)), links + 1)
  }
  return undefined
}

async function firstOf(tree: string, paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await lstat(join(tree, path)).catch(() => undefined)) return path
  return undefined
}

// Run as a program, so that it can run under fakeroot.
if (process.argv[2] !== undefined && process.argv[1]?.endsWith('root-tree.js')) {
  failInOneLine('root file system')
  await buildRootImage(JSON.parse(process.argv[2]))
}
