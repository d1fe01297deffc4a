import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { measured, packBundle, type Signer } from '../../src/operator/bundle/pack.ts'
import { IMAGE, REVISION } from './data.ts'

export interface BundleDescription {
  readonly version: string
  /** Compressed image of the root file system. */
  readonly image: string
  readonly signer: Signer
  /** `board revision` that the bundle is for. */
  readonly revision?: string
}

/** Writes the signed bundle that image/sw-description.in describes. */
export async function makeBundle(output: string, description: BundleDescription): Promise<void> {
  const { version, image, signer, revision = REVISION } = description
  const template = await readFile(join(IMAGE, 'sw-description.in'), 'utf8')
  const payload = await measured(image, 'rootfs.ext4.zst')
  const values: Record<string, string> = { VERSION: version, REVISION: revision, SHA256: payload.sha256 }
  const list = template.replaceAll(/@(\w+)@/g, (_, name) => values[name] ?? '')
  await packBundle(output, list, [payload], signer)
}
