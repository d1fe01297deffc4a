import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rename, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { BundleSigner } from './bundle-key.ts'
import { buildImage } from './image.ts'
import { runProgram } from './program.ts'
import { HARDWARE, type RootTree } from './root-tree.ts'

/** A bundle for the workbench: one image, for either slot. */
export interface BundleDescription {
  /** What is in the image. */
  readonly tree: RootTree
  /** The version that `sw-description` claims; what the image says unless told. */
  readonly version?: string
  readonly imageBytes?: number
  readonly hardware?: string
  /** The slots it can be installed to; both unless told. */
  readonly slots?: readonly ('a' | 'b')[]
  /** Bootloader variables the bundle sets itself. The agent, not the bundle, activates a slot: such a bundle must do no harm. */
  readonly bootEnv?: Readonly<Record<string, string>>
}

const IMAGE = 'rootfs.ext4'

/** Writes a signed bundle to `path`. Its image is the same for the same description; the signature carries the time. */
export async function buildBundle(path: string, description: BundleDescription, signer: BundleSigner): Promise<void> {
  const dir = await mkdtemp(join(dirname(path), 'bundle-'))
  try {
    await buildImage(join(dir, IMAGE), description.tree, description.imageBytes)
    const sha256 = createHash('sha256')
      .update(await readFile(join(dir, IMAGE)))
      .digest('hex')
    await writeFile(join(dir, 'sw-description'), swDescription(description, sha256))
    await runProgram(
      [
        ...(['openssl', 'cms', '-sign', '-in', 'sw-description', '-out', 'sw-description.sig'] as const),
        ...[
          '-signer',
          signer.certificate,
          '-inkey',
          signer.key,
          '-outform',
          'DER',
          '-nosmimecap',
          '-binary',
          '-md',
          'sha256',
        ],
      ],
      { cwd: dir },
    )
    const names = ['sw-description', 'sw-description.sig', IMAGE]
    for (const name of names) await utimes(join(dir, name), 1.6e9, 1.6e9)
    await runProgram(['cpio', '--quiet', '--reproducible', '-o', '-H', 'crc', '-F', 'bundle.swu'], {
      cwd: dir,
      input: `${names.join('\n')}\n`,
    })
    await rename(join(dir, 'bundle.swu'), path)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** Takes the last `bytes` off a bundle: an upload that ended early. */
export async function cutShort(path: string, bytes: number): Promise<void> {
  await truncate(path, Math.max(0, (await stat(path)).size - bytes))
}

/** SWUpdate's list of the images; `-e stable,a` or `-e stable,b` chooses the slot, relative to the folder SWUpdate runs in. */
export function swDescription(description: BundleDescription, sha256: string): string {
  const { tree, version = tree.version, hardware = HARDWARE, slots = ['a', 'b'], bootEnv = {} } = description
  const variables = Object.entries(bootEnv).map(([name, value]) => `{ name = "${name}"; value = "${value}"; }`)
  const forSlot = (slot: string) => `    ${slot} = {
      images: ( {
        filename = "${IMAGE}"; type = "raw"; device = "slots/${slot}.img";
        sha256 = "${sha256}"; installed-directly = true;
      } );${variables.length > 0 ? `\n      bootenv: ( ${variables.join(', ')} );` : ''}
    };`
  return `software = {
  version = "${version}";
  hardware-compatibility: [ "${hardware.split(':')[1]}" ];
  stable = {
${slots.map(forSlot).join('\n')}
  };
}
`
}
