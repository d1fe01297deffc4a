import { mkdtemp, rm, stat, truncate } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createBundle } from '../../../src/operator/bundle/create.ts'
import type { BundleSigner } from './bundle-key.ts'
import { buildImage } from './image.ts'
import { HARDWARE, type RootTree } from './root-tree.ts'

/** A bundle for the workbench: one image, for either slot. */
export interface BundleDescription {
  /** Content of the image. */
  readonly tree: RootTree
  /** Version in `sw-description`. Default: the image's. */
  readonly version?: string
  readonly imageBytes?: number
  readonly hardware?: string
  /** Level of zstd(1) to compress the image with. */
  readonly zstd?: number
  /** The slots it can be installed to. Default: both. */
  readonly slots?: readonly ('a' | 'b')[]
  /** Bootloader variables the bundle sets itself. The agent, not the bundle, activates a slot: such a bundle must do no harm. */
  readonly bootEnv?: Readonly<Record<string, string>>
  /** AES key that the image is encrypted with. */
  readonly key?: Buffer
}

const IMAGE = 'rootfs.ext4'

/** Writes a signed bundle to `path`. Its image is the same for the same description; the signature carries the time. */
export async function buildBundle(path: string, description: BundleDescription, signer: BundleSigner): Promise<void> {
  const dir = await mkdtemp(join(dirname(path), 'bundle-'))
  try {
    const { tree, version = tree.version, hardware = HARDWARE, slots = ['a', 'b'], bootEnv = {} } = description
    const packed = {
      ...(description.zstd === undefined ? {} : { zstd: description.zstd }),
      ...(description.key === undefined ? {} : { key: { key: description.key } }),
    }
    const image = join(dir, IMAGE)
    await buildImage(image, tree, description.imageBytes)
    const sources = slots.map(slot => [slot, { image, device: `pi-adu/${slot}` }])
    const revision = hardware.split(':')[1] ?? hardware
    await createBundle(
      path,
      { version, hardware: [revision], slots: Object.fromEntries(sources), bootEnv, ...packed },
      signer,
    )
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** Takes the last `bytes` off a bundle: an upload that ended early. */
export async function cutShort(path: string, bytes: number): Promise<void> {
  await truncate(path, Math.max(0, (await stat(path)).size - bytes))
}
