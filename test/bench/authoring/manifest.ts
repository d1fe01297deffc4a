import { contentPath, measureFile, type PayloadFile } from './files.ts'

/** What an author says about an update; the service makes the update manifest from it (PROTOCOL.md, "Import manifest"). */
export interface UpdateDescription {
  readonly provider: string
  readonly name: string
  readonly version: string
  readonly compatibility: readonly Readonly<Record<string, string>>[]
  readonly steps: readonly StepDescription[]
  /** Default: '5'. '1', '2' and '2.0' are the flat manifests of 2021, which have one step only. */
  readonly manifestVersion?: '1' | '2' | '2.0' | '4' | '5'
  readonly createdDateTime?: string
}

export type StepDescription = InlineDescription | ReferenceDescription

export interface InlineDescription {
  /** Such as `microsoft/swupdate:2`. */
  readonly handler: string
  /** Paths of the payload files on the author's machine. */
  readonly files: readonly string[]
  readonly handlerProperties: Readonly<Record<string, unknown>>
}

/** A step that is another update, for components; `referenceTo` of `detached.ts` makes it. */
export interface ReferenceDescription {
  readonly child: ImportedUpdate
  /** The file with the child's manifest. */
  readonly manifestFile: string
}

/** An update the service has imported. */
export interface ImportedUpdate {
  readonly updateId: { readonly provider: string; readonly name: string; readonly version: string }
  /** The exact text that is signed and sent. */
  readonly manifest: string
  /** Its own, and those of the updates that it refers to. */
  readonly files: readonly PayloadFile[]
}

const CREATED = '2024-04-04T19:18:19.0123317Z'

/** Measures the files and writes the update manifest. */
export async function importUpdate(description: UpdateDescription): Promise<ImportedUpdate> {
  const { provider, name, version, manifestVersion = '5' } = description
  const updateId = { provider, name, version }
  const seed = `${provider}/${name}/${version}`
  const paths = [...new Set(description.steps.flatMap(filesOf))]
  const measured = new Map<string, PayloadFile>()
  for (const path of paths) measured.set(path, await measureFile(path, seed))
  if (manifestVersion === '4' || manifestVersion === '5') {
    const manifest = JSON.stringify(steppedManifest(description, manifestVersion, updateId, measured))
    const below = description.steps.flatMap(step => (isReference(step) ? step.child.files : []))
    return { updateId, manifest, files: [...measured.values(), ...below] }
  }
  const numbered = [...measured.values()].map((file, index) => ({ ...file, fileId: String(index).padStart(5, '0') }))
  return { updateId, manifest: JSON.stringify(flatManifest(description, updateId, numbered)), files: numbered }
}

const isReference = (step: StepDescription): step is ReferenceDescription => 'child' in step

const filesOf = (step: StepDescription): readonly string[] => (isReference(step) ? [step.manifestFile] : step.files)

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
  const idOf = (path: string): string => files.get(path)!.fileId
  const steps = description.steps.map(step =>
    isReference(step)
      ? { type: 'reference', detachedManifestFileId: idOf(step.manifestFile) }
      : { handler: step.handler, files: step.files.map(idOf), handlerProperties: step.handlerProperties },
  )
  return {
    manifestVersion,
    updateId,
    compatibility: description.compatibility,
    instructions: { steps },
    files: fileEntities([...files.values()]),
    createdDateTime: description.createdDateTime ?? CREATED,
  }
}

/** PROTOCOL.md, "Flat manifest". */
function flatManifest(description: UpdateDescription, updateId: object, files: readonly PayloadFile[]): object {
  const [step, ...more] = description.steps
  if (!step || isReference(step) || more.length > 0) {
    throw new RangeError('a flat update manifest has exactly one inline step')
  }
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
