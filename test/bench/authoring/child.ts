import { createHash } from 'node:crypto'
import type { UpdateManifest, Verified } from '../../../src/domain/deployment.ts'
import { Checks } from '../../../src/trust/checks.ts'
import { withChildren } from '../../../src/trust/detached.ts'
import { isMini, parseManifest } from '../../../src/trust/manifest.ts'
import { MANIFEST } from './recipe.ts'

/** A child manifest as the service delivers it. */
export interface Child {
  readonly content: Buffer
  /** Its entry in the parent's `files`. */
  readonly entity: {
    readonly fileName: string
    readonly sizeInBytes: number
    readonly hashes: { readonly sha256: string }
  }
}

export const CHILD_ID = 'c5d3a1b2c4d5e6f70'

/** For the motors behind a toaster. */
export const CHILD_MANIFEST = {
  ...MANIFEST,
  updateId: { provider: 'Contoso', name: 'Motor', version: '2.0' },
  compatibility: [{ group: 'motors' }],
}

/** `content`: of the file, in place of `{updateManifest: …}`. */
export function childOf(manifest: object = CHILD_MANIFEST, content?: string | Buffer, fileName = 'motor.json'): Child {
  const bytes = Buffer.from(content ?? JSON.stringify({ updateManifest: JSON.stringify(manifest) }))
  const sha256 = createHash('sha256').update(bytes).digest('base64')
  return { content: bytes, entity: { fileName, sizeInBytes: bytes.length, hashes: { sha256 } } }
}

export const REFERENCE = { type: 'reference', detachedManifestFileId: CHILD_ID } as const

export const CHILD_URLS = { [CHILD_ID]: 'http://contoso.example/motor.json' } as const

/** The parent with `steps`, and `child` among its files. */
export const parentOf = ({ entity }: Child, steps: readonly object[] = [REFERENCE]) => ({
  ...MANIFEST,
  instructions: { steps },
  files: { ...MANIFEST.files, [CHILD_ID]: entity },
})

/** The verified manifest that the agent makes of `manifest` and the children in its files. */
export function treeOf(manifest: object, children: readonly Child[] = []): Verified<UpdateManifest> {
  const written = parseManifest(JSON.stringify(manifest), new Checks())
  if (isMini(written)) throw new TypeError('a mini manifest')
  return withChildren(
    written,
    children.map(({ content }) => content),
  )
}
