import type { Assembled } from './assemble.ts'
import type { ImportManifest, UpdateId } from './schema.ts'

export interface ManifestSource extends Pick<Assembled, 'steps' | 'files'> {
  readonly updateId: UpdateId
  readonly compatibility: readonly Readonly<Record<string, string>>[]
  readonly description?: string | undefined
  readonly isDeployable: boolean
  readonly now: Date
}

/** The import manifest of an update. Not checked yet, see `check.ts`. */
export function manifestOf(source: ManifestSource): ImportManifest {
  const { updateId, description, isDeployable, compatibility, steps, files } = source
  return {
    $schema: 'https://json.schemastore.org/azure-deviceupdate-import-manifest-5.0.json',
    updateId,
    // Written only when it is not the default, as the Azure CLI does.
    ...(isDeployable ? {} : { isDeployable }),
    ...(description === undefined ? {} : { description }),
    compatibility: compatibility.map(each => ({ ...each })),
    instructions: { steps: [...steps] },
    ...(files.length === 0 ? {} : { files: [...files] }),
    manifestVersion: '5.0',
    createdDateTime: source.now.toISOString().replace(/\.\d+Z$/, 'Z'),
  }
}
