import { basename } from 'node:path'
import { EXIT, Failure } from '../failure.ts'
import { jsonOf, readInput } from '../input.ts'
import type { Contents, Role } from './contents.ts'
import type { File, InlineStep, ReferenceStep, UpdateId } from './schema.ts'
import type { WantedStep } from './wanted-step.ts'

/** Steps and files of an import manifest, measured. */
export interface Assembled {
  readonly steps: readonly (InlineStep | ReferenceStep)[]
  readonly files: readonly File[]
  /** Where each file of the manifest is, related ones included, by its name. */
  readonly paths: ReadonlyMap<string, string>
  /** The import manifests that reference steps name, in their order. */
  readonly children: readonly string[]
}

/** The version of an update with one image, if its author names none. Errors: Failure. */
export async function versionOfImage(steps: readonly WantedStep[], contents: Contents): Promise<string> {
  const images = steps.filter(({ kind }) => kind === 'image')
  const [image] = images
  if (!image || images.length > 1) {
    const why = image ? 'of several images' : 'without an image'
    throw new Failure(EXIT.usage, `the version of an update ${why} must be given: --update-version`)
  }
  const [file = ''] = image.files
  const { names, faults } = await contents.of(file, 'bundle')
  if (names === undefined) throw new Failure(EXIT.failed, faults[0]?.message ?? `${file} has no version`)
  if (faults[0]) throw new Failure(EXIT.failed, `${file}: ${faults[0].message}`)
  return names
}

/** Reads the files of all steps. `version`: of the update. Errors: Failure. */
export async function assemble(wanted: readonly WantedStep[], version: string, contents: Contents): Promise<Assembled> {
  const files = new Map<string, File>()
  const paths = new Map<string, string>()
  const children: string[] = []
  const steps: (InlineStep | ReferenceStep)[] = []
  for (const step of wanted) {
    for (const path of step.kind === 'ref' ? [] : step.files) {
      files.set(basename(path), { ...files.get(basename(path)), ...(await measured(path, roleOf(step, path))) })
    }
    await addRelated(step)
    if (step.kind === 'ref') children.push(...step.files)
    steps.push(step.kind === 'ref' ? await referenceStep(step) : inlineStep(step, await criteriaOf(step)))
  }
  return { steps, files: [...files.values()], paths, children }

  /** A default is never that of an earlier step. */
  async function criteriaOf(step: WantedStep): Promise<string | undefined> {
    const usual = step.installedCriteria ?? (await usualCriteria(step, version, contents))
    const isTaken = (text: string) => steps.some(each => textOf(each) === text)
    if (step.installedCriteria !== undefined || step.kind !== 'script' || usual === undefined || !isTaken(usual))
      return usual
    return `${usual}-step-${steps.length}`
  }

  async function measured(path: string, role: Role) {
    const filename = basename(path)
    const other = paths.get(filename) ?? path
    if (other !== path)
      throw new Failure(EXIT.usage, `${other} and ${path} have the same name: each file needs its own`)
    paths.set(filename, path)
    const { sizeInBytes, sha256 } = await contents.of(path, role)
    return { filename, sizeInBytes, hashes: { sha256 } }
  }

  async function addRelated({ relatedFiles = [], downloadHandler, files: [main = ''] }: WantedStep): Promise<void> {
    for (const { file, of = '', source, properties } of relatedFiles) {
      const whole = files.get(of)
      if (!whole) continue
      const old = source === undefined ? {} : sourceProperties((await contents.of(source, 'plain')).sha256)
      const related = { ...(await measured(file, 'plain')), properties: { ...old, ...properties } }
      const id = downloadHandler ?? whole.downloadHandler?.id ?? 'microsoft/delta:1'
      files.set(of, { ...whole, relatedFiles: [...(whole.relatedFiles ?? []), related], downloadHandler: { id } })
    }
    const first = files.get(basename(main))
    if (first && relatedFiles.length === 0 && downloadHandler !== undefined) {
      files.set(first.filename, { ...first, downloadHandler: { id: downloadHandler } })
    }
  }
}

/** How a device finds the old file that a delta update starts from. */
const sourceProperties = (sha256: string) => ({
  'microsoft.sourceFileHash': sha256,
  'microsoft.sourceFileHashAlgorithm': 'sha256',
})

function roleOf({ kind, script, files: [main] }: WantedStep, path: string): Role {
  if (path === script) return 'script'
  if (path !== main || kind === 'own' || kind === 'ref') return 'plain'
  return kind === 'image' ? 'bundle' : kind
}

const textOf = (step: InlineStep | ReferenceStep): unknown =>
  step.type === 'reference' ? undefined : step.handlerProperties?.installedCriteria

function inlineStep(step: WantedStep, installedCriteria: string | undefined): InlineStep {
  const { kind, handler, description, files, script, arguments: words, apiVersion, properties } = step
  const [main = ''] = files
  const scriptFile = kind === 'script' ? main : script
  return {
    ...(description === undefined ? {} : { description }),
    handler,
    files: files.map(path => basename(path)),
    handlerProperties: {
      ...(installedCriteria === undefined ? {} : { installedCriteria }),
      ...(scriptFile === undefined ? {} : { scriptFileName: basename(scriptFile) }),
      ...(handler === 'microsoft/swupdate:2' ? { swuFileName: basename(main) } : {}),
      ...(words === undefined ? {} : { arguments: words }),
      ...(apiVersion === undefined ? {} : { apiVersion }),
      ...properties,
    },
  }
}

/** Each step needs a text of its own: devices skip a step whose text they know. */
async function usualCriteria({ kind, files: [main = ''] }: WantedStep, version: string, contents: Contents) {
  if (kind === 'image') return (await contents.of(main, 'bundle')).names || version
  if (kind === 'apt') return (await contents.of(main, 'apt')).names ?? version
  return kind === 'script' ? `${basename(main).replace(/\.\w+$/, '')}-${version}` : undefined
}

async function referenceStep({ description, files: [file = ''] }: WantedStep): Promise<ReferenceStep> {
  const child = jsonOf(await readInput(file), file)
  const { updateId } = (typeof child === 'object' && child !== null ? child : {}) as { updateId?: UpdateId }
  if (typeof updateId !== 'object')
    throw new Failure(EXIT.failed, `${file} is not an import manifest: it has no updateId`)
  return { type: 'reference', ...(description === undefined ? {} : { description }), updateId }
}
