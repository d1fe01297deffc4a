import { contentPath, measureFile, type PayloadFile } from './files.ts'

/** What an author says about an update; the service makes the update manifest from it (device-update-protocol.md, chapter 10). */
export interface UpdateDescription {
  readonly provider: string
  readonly name: string
  readonly version: string
  readonly compatibility: readonly Readonly<Record<string, string>>[]
  readonly steps: readonly StepDescription[]
  /** '5' unless told; '1' and '2' are the flat manifests of 2021, which know one step only. */
  readonly manifestVersion?: '1' | '2' | '4' | '5'
  readonly createdDateTime?: string
}

export interface StepDescription {
  /** Such as `microsoft/swupdate:2`. */
  readonly handler: string
  /** Paths of the payload files on the author's machine. */
  readonly files: readonly string[]
  readonly handlerProperties: Readonly<Record<string, unknown>>
}

/** An update the service has imported. */
export interface ImportedUpdate {
  readonly updateId: { readonly provider: string; readonly name: string; readonly version: string }
  /** The exact text that is signed and sent. */
  readonly manifest: string
  readonly files: readonly PayloadFile[]
}

const CREATED = '2024-04-04T19:18:19.0123317Z'

/** Measures the files and writes the update manifest. */
export async function importUpdate(description: UpdateDescription): Promise<ImportedUpdate> {
  const { provider, name, version, manifestVersion = '5' } = description
  const updateId = { provider, name, version }
  const seed = `${provider}/${name}/${version}`
  const paths = [...new Set(description.steps.flatMap(step => step.files))]
  const measured = new Map<string, PayloadFile>()
  for (const path of paths) measured.set(path, await measureFile(path, seed))
  if (manifestVersion === '4' || manifestVersion === '5') {
    const manifest = JSON.stringify(steppedManifest(description, manifestVersion, updateId, measured))
    return { updateId, manifest, files: [...measured.values()] }
  }
  const numbered = [...measured.values()].map((file, index) => ({ ...file, fileId: String(index).padStart(5, '0') }))
  return { updateId, manifest: JSON.stringify(flatManifest(description, updateId, numbered)), files: numbered }
}

/** `fileUrls` of a deployment; `url` gives the address of a path below the content server's folder. */
export function fileUrls(files: readonly PayloadFile[], url: (path: string) => string): Record<string, string> {
  return Object.fromEntries(files.map(file => [file.fileId, url(contentPath(file))]))
}

function steppedManifest(
  description: UpdateDescription,
  manifestVersion: string,
  updateId: object,
  files: ReadonlyMap<string, PayloadFile>,
): object {
  const steps = description.steps.map(step => ({
    handler: step.handler,
    files: step.files.map(path => files.get(path)!.fileId),
    handlerProperties: step.handlerProperties,
  }))
  return {
    manifestVersion,
    updateId,
    compatibility: description.compatibility,
    instructions: { steps },
    files: fileEntities([...files.values()]),
    createdDateTime: description.createdDateTime ?? CREATED,
  }
}

/** Chapter 3.2: no steps; the type of the update stands at the top. */
function flatManifest(description: UpdateDescription, updateId: object, files: readonly PayloadFile[]): object {
  const [step, ...more] = description.steps
  if (!step || more.length > 0) throw new RangeError('a flat update manifest has exactly one step')
  return {
    manifestVersion: description.manifestVersion,
    updateId,
    updateType: step.handler,
    installedCriteria: step.handlerProperties.installedCriteria,
    files: fileEntities(files),
    // These manifests carry a time without a zone.
    createdDateTime: (description.createdDateTime ?? CREATED).replace(/Z$/, ''),
  }
}

function fileEntities(files: readonly PayloadFile[]): Record<string, object> {
  return Object.fromEntries(
    files.map(({ fileId, fileName, sizeInBytes, sha256 }) => [fileId, { fileName, sizeInBytes, hashes: { sha256 } }]),
  )
}
