import { copyFile, mkdir, readdir } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { messageOf } from '../../src/domain/errors.ts'
import { run } from './run.ts'

/**
 * Modules of Debian 13's kernel that a later one does not have, and what it has instead: ext4 has CRC32C as a function there, and the
 * driver of the PHY was rewritten.
 */
const LATER: ReadonlyMap<string, string | undefined> = new Map([
  ['crc32c_generic', undefined],
  ['ax88796b', 'ax88796b_rust'],
])

/** The version of the kernel in `parts`, such as `6.12.117+deb13-arm64`. */
export async function kernelVersion(parts: string): Promise<string> {
  const [version] = await readdir(join(parts, 'kernel/usr/lib/modules'))
  if (!version) throw new Error('the kernel package has no modules')
  return version
}

/**
 * Files of the named kernel modules and their dependencies, in the order in which `modprobe` would load them. Errors: a name that is
 * not a module.
 */
export async function moduleFiles(parts: string, names: readonly string[]): Promise<readonly string[]> {
  const version = await kernelVersion(parts)
  const from = join(parts, 'kernel/usr')
  const files = new Set<string>()
  for (const name of names) {
    const shown = (module: string) => run(['modprobe', '-d', from, '-S', version, '--show-depends', module])
    const text = await shown(name).catch(error => {
      const isUnknown = messageOf(error).includes(`Module ${name} not found`)
      if (!LATER.has(name))
        throw isUnknown ? new Error(`modules.txt: the kernel ${version} has no module ${name}`) : error
      const later = LATER.get(name)
      return later === undefined ? '' : shown(later)
    })
    for (const [, file] of text.matchAll(/^insmod (\S+)/gm)) files.add(file!)
  }
  return [...files]
}

/** Copies the named kernel modules and their dependencies into the tree `to`. Errors: a name that is not a module. */
export async function copyModules(parts: string, to: string, names: readonly string[], unpack = false): Promise<void> {
  const version = await kernelVersion(parts)
  const from = join(parts, 'kernel/usr')
  const files = await moduleFiles(parts, names)
  const base = join(from, 'lib/modules', version)
  const target = join(to, 'lib/modules', version)
  for (const file of [...files].sort()) {
    const copy = join(target, relative(base, file))
    await mkdir(dirname(copy), { recursive: true })
    await copyFile(file, copy)
    if (unpack && copy.endsWith('.xz')) await run(['xz', '-d', copy])
  }
  for (const name of ['modules.builtin', 'modules.builtin.modinfo', 'modules.order']) {
    await copyFile(join(base, name), join(target, name))
  }
  await run(['depmod', '-b', to, version])
}
