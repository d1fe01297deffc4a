import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeBundle } from '../../../image/builder/bundle.ts'
import { cached, sha256 } from '../../../image/builder/cache.ts'
import { repositoryRoot } from '../../../image/builder/repository.ts'
import { run } from '../../../image/builder/run.ts'
import { openSigner } from '../../../image/builder/signer.ts'
import type { Signer } from '../../../src/operator/bundle/pack.ts'

/** The image as scripts/build-image makes it, for every test of one run. */
export interface System {
  readonly dir: string
  readonly image: string
  /** Signed, for updates to the very same system. */
  readonly bundle: string
  /** Uncompressed root file system. */
  readonly root: string
  readonly signer: Signer
}

export interface BuildOptions {
  readonly version?: string
  /** With a root shell on the serial line. Default: true. */
  readonly dev?: boolean
  /** With kernel and SWUpdate of the next Debian. */
  readonly next?: boolean
  /** Folders that scripts/build-image adds. */
  readonly layers?: readonly string[]
  readonly signal?: AbortSignal
  /** Called with what is being built. */
  readonly onStep?: (what: string) => void
}

/** Builds the system below `dir`; parts that exist are reused. */
export async function buildSystem(
  dir: string,
  { version = '1.0.0', dev = true, next = false, layers = [], signal, onStep = () => {} }: BuildOptions = {},
): Promise<System> {
  // Always the same one: a new certificate would be another image.
  const home = join(
    await cached('bench-signer', [], async made => void (await openSigner(join(made, 'bundle')))),
    'bundle',
  )
  const output = join(dir, 'system')
  const flags = [
    ...(dev ? ['--dev'] : []),
    ...(next ? ['--next'] : []),
    ...layers.flatMap(folder => ['--layer', folder]),
  ]
  const argv = [...flags, '--no-compress', '--version', version, '--signer', home, '--output', output]
  await run([join(repositoryRoot(), 'scripts/build-image'), ...argv], {
    ...(signal && { cancelSignal: signal }),
    // Not below a private folder: mmdebstrap's users could not enter it.
    env: { TMPDIR: '/var/tmp' },
    stdout: {
      binary: true,
      *transform(chunk) {
        const text = Buffer.from(chunk as Uint8Array).toString()
        for (const [, what] of text.matchAll(/^(.+) …/gm)) onStep(what!)
        yield chunk
      },
    },
  })
  const name = join(output, `pi-adu-${version}${next ? '-next' : ''}${dev ? '-dev' : ''}`)
  return {
    dir: output,
    image: `${name}.img`,
    bundle: `${name}.swu`,
    root: join(output, 'rootfs.ext4'),
    signer: await openSigner(home),
  }
}

/** Changes to the root file system: path → content, or undefined to remove it. An executable starts with `#!`. */
export type Changes = Readonly<Record<string, string | undefined>>

/** A later version of the system, with its faults, as a signed bundle in `dir`. */
export async function bundleOf(system: System, dir: string, version: string, changes: Changes = {}): Promise<string> {
  const name = `pi-adu-${version}.swu`
  const inputs = [version, changes, await sha256(system.root)]
  const image = await cached('test-root', inputs, async work => {
    const root = join(work, 'rootfs.ext4')
    await copyFile(system.root, root)
    await change(root, work, { 'etc/adu-version': `${version}\n`, ...changes })
    // Speed counts here, not size.
    await run(['zstd', '-q', '-T2', '-1', root, '-o', `${root}.zst`])
    await rm(root)
  })
  await mkdir(dir, { recursive: true })
  await makeBundle(join(dir, name), { version, image: join(image, 'rootfs.ext4.zst'), signer: system.signer })
  return join(dir, name)
}

/** debugfs writes into the image without mounting it. */
async function change(root: string, work: string, changes: Changes): Promise<void> {
  for (const [path, content] of Object.entries(changes)) {
    const commands = [`rm /${path}`]
    if (content !== undefined) {
      await writeFile(join(work, 'content'), content)
      commands.push(`write ${join(work, 'content')} /${path}`)
      commands.push(`sif /${path} mode 0100${content.startsWith('#!') ? '755' : '644'}`)
    }
    await run(['debugfs', '-w', '-f', '-', root], { stdin: 'pipe', input: `${commands.join('\n')}\n` })
    const shown = await run(['debugfs', '-R', `stat /${path}`, root])
    if (/Inode: \d+/.test(shown) !== (content !== undefined)) throw new Error(`debugfs did not change ${path}`)
  }
  await rm(join(work, 'content'), { force: true })
}
