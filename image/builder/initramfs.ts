import { copyFile, mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cached, contentOf } from './cache.ts'
import { IMAGE, linesOf } from './data.ts'
import { copyModules } from './modules.ts'
import { run } from './run.ts'

const APPLETS = [
  ...[
    'sh',
    'blockdev',
    'cat',
    'chmod',
    'chown',
    'cut',
    'dd',
    'echo',
    'grep',
    'insmod',
    'mkdir',
    'modprobe',
    'mount',
    'mv',
    'od',
  ],
  ...[
    'printf',
    'readlink',
    'rm',
    'sed',
    'sleep',
    'switch_root',
    'sync',
    'tail',
    'tee',
    'timeout',
    'tr',
    'umount',
    'wc',
  ],
]

/** `initrd.img`: busybox, the few modules that mounting the root needs, image/initramfs/init, and the folders of data. */
export async function buildInitramfs(parts: string, data: readonly string[] = linesOf('data.txt')): Promise<string> {
  const inputs = [await contentOf(join(IMAGE, 'initramfs')), data]
  return cached('initramfs', [inputs, APPLETS, parts], async dir => {
    const tree = join(dir, 'tree')
    for (const folder of ['bin', 'data', 'dev', 'lib', 'newroot', 'proc', 'run', 'sys']) {
      await mkdir(join(tree, folder), { recursive: true })
    }
    await copyFile(join(parts, 'busybox-static/usr/bin/busybox'), join(tree, 'bin/busybox'))
    for (const applet of APPLETS) await symlink('busybox', join(tree, 'bin', applet))
    for (const name of [
      'init',
      'disk',
      'machine-id',
      'data-folders',
      'reset-data',
      'reset-keeps.txt',
      'flight',
      'modules.txt',
    ]) {
      await copyFile(join(IMAGE, 'initramfs', name), join(tree, name))
    }
    await writeFile(join(tree, 'data.txt'), `${data.join('\n')}\n`)
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
