import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { measured, packBundle, type Signer } from '../../src/operator/bundle/pack.ts'
import { IMAGE, REVISION } from './data.ts'

export interface BundleDescription {
  readonly version: string
  /** Compressed image of the root file system. */
  readonly image: string
  readonly signer: Signer
}

/** Writes the signed bundle that image/sw-description.in describes. */
export async function makeBundle(output: string, { version, image, signer }: BundleDescription): Promise<void> {
  const template = await readFile(join(IMAGE, 'sw-description.in'), 'utf8')
  const payload = await measured(image, 'rootfs.ext4.zst')
  const values: Record<string, string> = { VERSION: version, REVISION, SHA256: payload.sha256 }
  const description = template.replaceAll(/@(\w+)@/g, (_, name) => values[name] ?? '')
  await packBundle(output, description, [payload], signer)
}
