import { appendFile, chown, copyFile, lstat, mkdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { linesOf } from './data.ts'
import { makeRootImage } from './ext4.ts'
import { copyModules } from './modules.ts'
import { run } from './run.ts'

export interface RootTreeDescription {
  readonly work: string
  readonly base: string
  readonly parts: string
  readonly initramfs: string
  readonly native: string
  readonly overlay: string
  readonly dev: boolean
  readonly epoch: number
}

/** Puts the tree together and makes `rootfs.ext4` of it in `work`. Has to own files as root would. */
export async function buildRootImage(description: RootTreeDescription): Promise<{ bytes: number }> {
  const { work, base, parts, initramfs, native, overlay, dev, epoch } = description
  const tree = join(work, 'root')
  await rm(tree, { recursive: true, force: true })
  await mkdir(tree, { recursive: true })
  await run(['tar', '-xf', join(base, 'base.tar'), '--numeric-owner', '--exclude=./dev/*', '-C', tree])
  for (const path of linesOf('prune.txt')) await rm(join(tree, path), { recursive: true, force: true })
  // Made when the package was installed: every device would have the same.
  await run(['sh', '-c', 'rm -f etc/ssh/ssh_host_* etc/machine-id etc/resolv.conf etc/.pwd.lock'], { cwd: tree })

  for (const path of linesOf('folders.txt')) await mkdir(join(tree, path), { recursive: true })
  await run(['chmod', '1777', join(tree, 'tmp'), join(tree, 'var/tmp')])
  await run(['tar', '-xf', overlay, '--numeric-owner', '--keep-directory-symlink', '-C', tree])
  await writeFile(join(tree, 'etc/machine-id'), 'uninitialized\n')
  const beside = join(tree, 'usr/lib/pi-adu/node_modules/epoll/build/Release')
  await mkdir(beside, { recursive: true })
  await copyFile(join(native, 'epoll.node'), join(beside, 'epoll.node'))
  // systemd starts a clock that knows nothing at this file's time.
  await writeFile(join(tree, 'usr/lib/clock-epoch'), '')
  await utimes(join(tree, 'usr/lib/clock-epoch'), epoch, epoch)
  await units(tree, dev)

  const kernel = join(parts, 'kernel')
  await run(['sh', '-c', `gzip -9nc ${kernel}/boot/vmlinuz-* > ${tree}/boot/vmlinuz.gz`])
  await copyFile(join(initramfs, 'initrd.img'), join(tree, 'boot/initrd.img'))
  await copyModules(parts, join(tree, 'usr'), linesOf('modules.txt'))
  await run(['sh', '-c', 'find . -type d -newermt @0 -exec true {} + ; chown -R 0:0 boot usr/lib/modules'], {
    cwd: tree,
  })
  await chown(join(tree, 'usr/lib/clock-epoch'), 0, 0)
  const bytes = await makeRootImage(tree, join(work, 'rootfs.ext4'), epoch)
  await rm(tree, { recursive: true, force: true })
  return { bytes }
}

/** What `systemctl enable` and `mask` would do, without a systemctl. */
async function units(tree: string, dev: boolean): Promise<void> {
  const home = join(tree, 'etc/systemd/system')
  for (const line of linesOf('units.txt')) {
    const [verb, unit] = line.split(/\s+/) as [string, string]
    if (dev && unit === 'serial-getty@.service') continue
    if (verb === 'mask') {
      await rm(join(home, unit), { force: true })
      await symlink('/dev/null', join(home, unit))
      continue
    }
    const file = (await firstOf([join(home, unit), join(tree, 'usr/lib/systemd/system', unit)])) ?? ''
    if (file === '') throw new Error(`units.txt: there is no ${unit}`)
    const targets = [...(await readFile(file, 'utf8')).matchAll(/^WantedBy=(.*)$/gm)].flatMap(m => m[1]!.split(' '))
    if (targets.length === 0) throw new Error(`units.txt: ${unit} is wanted by nothing`)
    for (const target of targets) {
      const wants = join(home, `${target}.wants`)
      await mkdir(wants, { recursive: true })
      await rm(join(wants, unit), { force: true })
      await symlink(file.slice(tree.length), join(wants, unit))
    }
  }
  await rm(join(home, 'default.target'), { force: true })
  await symlink('/usr/lib/systemd/system/multi-user.target', join(home, 'default.target'))
  if (dev) await appendFile(join(tree, 'etc/issue'), 'dev variant: a root shell without a password\n')
}

async function firstOf(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await lstat(path).catch(() => undefined)) return path
  return undefined
}

// Run as a program, so that it can run under fakeroot.
if (process.argv[2] !== undefined && process.argv[1]?.endsWith('root-tree.js')) {
  console.log(JSON.stringify(await buildRootImage(JSON.parse(process.argv[2]))))
}
