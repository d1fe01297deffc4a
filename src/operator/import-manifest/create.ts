import type { BundleContent } from '../bundle/show.ts'
import type { ImportManifest } from './schema.ts'

export interface ManifestSource {
  readonly bundle: BundleContent
  readonly fileName: string
  readonly provider: string
  readonly name: string
  /** What `sw-description` says unless told. */
  readonly version?: string
  readonly compatibility: readonly Readonly<Record<string, string>>[]
  readonly handler: string
  /** First line of the version file of the new system; the version unless told. */
  readonly installedCriteria?: string
  readonly description?: string
  readonly isDeployable: boolean
  readonly now: Date
}

/** The import manifest of a system update: one step, one bundle. Not checked yet, see `check.ts`. */
export function manifestOf(source: ManifestSource): ImportManifest {
  const { bundle, fileName, provider, name, description, isDeployable, handler } = source
  const version = source.version ?? bundle.version
  const installedCriteria = source.installedCriteria ?? version
  const isSecond = handler === 'microsoft/swupdate:2'
  return {
    $schema: 'https://json.schemastore.org/azure-deviceupdate-import-manifest-5.0.json',
    updateId: { provider, name, version },
    // As the Azure CLI does: written only when it is not what it would be anyway.
    ...(isDeployable ? {} : { isDeployable }),
    ...(description === undefined ? {} : { description }),
    compatibility: source.compatibility.map(each => ({ ...each })),
    instructions: {
      steps: [
        {
          handler,
          files: [fileName],
          handlerProperties: { installedCriteria, ...(isSecond ? { swuFileName: fileName } : {}) },
        },
      ],
    },
    files: [{ filename: fileName, sizeInBytes: bundle.sizeInBytes, hashes: { sha256: bundle.sha256 } }],
    manifestVersion: '5.0',
    createdDateTime: source.now.toISOString().replace(/\.\d+Z$/, 'Z'),
  }
}
