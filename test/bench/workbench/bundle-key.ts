import { join } from 'node:path'
import { openSigner } from '../../../image/builder/signer.ts'
import type { Signer } from '../../../src/operator/bundle/pack.ts'

export type BundleSigner = Signer

/** Opens the signer kept under `stateDir`, made at the first call; another `name` is another signer. */
export const openBundleSigner = (stateDir: string, name = 'bundle', from?: string): Promise<Signer> =>
  openSigner(join(stateDir, `${name}-signer`), `workbench ${name}`, from)
