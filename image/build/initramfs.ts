import { copyFile, mkdir, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { cached, contentOf } from './cache.ts'
import { IMAGE, linesOf } from './data.ts'
import { copyModules } from './modules.ts'
import { run } from './run.ts'

const APPLETS = [
  ...['sh', 'blockdev', 'cat', 'chmod', 'chown', 'cut', 'dd', 'echo', 'insmod', 'mkdir', 'modprobe', 'mount', 'od'],
  ...['printf', 'readlink', 'sleep', 'switch_root', 'sync', 'tr', 'umount'],
]

/** `initrd.img`: busybox, the few modules that lead to the root, and image/initramfs/init. */
export async function buildInitramfs(parts: string): Promise<string> {
  const inputs = [await contentOf(join(IMAGE, 'initramfs')), linesOf('data.txt')]
  return cached('initramfs', [inputs, APPLETS, parts], async dir => {
    const tree = join(dir, 'tree')
    for (const folder of ['bin', 'data', 'dev', 'lib', 'newroot', 'proc', 'run', 'sys']) {
      await mkdir(join(tree, folder), { recursive: true })
    }
    await copyFile(join(parts, 'busybox-static/usr/bin/busybox'), join(tree, 'bin/busybox'))
    for (const applet of APPLETS) await symlink('busybox', join(tree, 'bin', applet))
    await copyFile(join(IMAGE, 'initramfs/init'), join(tree, 'init'))
    await copyFile(join(IMAGE, 'initramfs/modules.txt'), join(tree, 'modules.txt'))
    await copyFile(join(IMAGE, 'data.txt'), join(tree, 'data.txt'))
    const names = linesOf('initramfs/modules.txt').map(line => line.split(' ')[0]!)
    await copyModules(parts, tree, [...names, 'nls_ascii'], true)
    await run(['chmod', '755', join(tree, 'init'), join(tree, 'bin/busybox')])
    await run(['sh', '-c', 'find . -exec touch -h -d @0 {} +'], { cwd: tree })
    await run(
      [
        'sh',
        '-c',
        'find . | LC_ALL=C sort | cpio --quiet --reproducible -o -H newc -R 0:0 | zstd -q -19 -T1 > ../initrd.img',
      ],
      { cwd: tree },
    )
    await rm(tree, { recursive: true })
  })
}
