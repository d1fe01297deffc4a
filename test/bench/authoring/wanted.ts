import { dirname, join } from 'node:path'
import { type Assembled, assemble, versionOfImage } from '../../../src/operator/import-manifest/assemble.ts'
import { findBeside } from '../../../src/operator/import-manifest/beside.ts'
import { checkManifest } from '../../../src/operator/import-manifest/check.ts'
import { Contents } from '../../../src/operator/import-manifest/contents.ts'
import type { ImportManifest, UpdateId } from '../../../src/operator/import-manifest/schema.ts'
import { type StepEntry, type WantedStep, wantedStep } from '../../../src/operator/import-manifest/wanted-step.ts'
import { readInput } from '../../../src/operator/input.ts'
import type { Bench } from '../bench.ts'
import type { ImportedUpdate, StepDescription, UpdateDescription } from './manifest.ts'

/**
 * Imports a list of steps that is written as for `pi-adu-operator import-manifest create`. The file of an image may be a
 * version: its bundle is built. `version`: of the update; default: that of its only image. Errors: of what is wrong with the steps.
 */
export async function importWanted(
  bench: Bench,
  wanted: readonly WantedStep[],
  given?: string,
  more: Partial<UpdateDescription> = {},
): Promise<{ readonly version: string; readonly update: ImportedUpdate }> {
  const steps = await Promise.all(wanted.map(step => withBundle(bench, step)))
  const contents = new Contents({})
  const version = given ?? (await versionOfImage(steps, contents))
  const assembled = await assemble(steps, version, contents)
  const update = await bench.importSteps(version, await describe(bench, assembled, contents), more)
  return { version, update }
}

/** Steps as they are written in a steps file, for tests. */
export const written = (...steps: readonly StepEntry[]): readonly WantedStep[] =>
  steps.map(step => wantedStep(step, step.step))

const VERSION = /^\d{1,9}(\.\d{1,9}){1,3}$/

/** What stands where a file could: then the bundle is built. */
export const isVersion = (file: string): boolean => VERSION.test(file)

async function withBundle(bench: Bench, step: WantedStep): Promise<WantedStep> {
  const [file = '', ...more] = step.files
  if (step.kind !== 'image' || !isVersion(file)) return step
  return { ...step, files: [await bench.buildBundle({ tree: { version: file } }), ...more] }
}

async function describe(bench: Bench, assembled: Assembled, contents: Contents): Promise<StepDescription[]> {
  const { steps, files, paths, children } = assembled
  const [related] = files.filter(({ relatedFiles = [] }) => relatedFiles.length > 0)
  if (related) throw new Error(`${related.filename} has related files, which the bench does not import`)
  const left = [...children]
  const described: StepDescription[] = []
  for (const step of steps) {
    if (step.type === 'reference') {
      described.push(await bench.referenceTo(await importChild(bench, left.shift() ?? '', contents)))
      continue
    }
    const { handler, files: names, handlerProperties = {} } = step
    described.push({ handler, handlerProperties, files: names.map(name => paths.get(name) ?? name) })
  }
  return described
}

/** An import manifest, with its files beside it. */
async function importChild(bench: Bench, path: string, contents: Contents): Promise<ImportedUpdate> {
  const manifest = JSON.parse(String(await readInput(path))) as ImportManifest
  const folder = dirname(path)
  const fileOf = (name: string): string => join(folder, name)
  const childOf = ({ provider, name, version }: UpdateId): string =>
    fileOf(`${provider}.${name}.${version}.importmanifest.json`)
  const faults = checkManifest(manifest).filter(({ level }) => level === 'error')
  const found = faults.length > 0 ? [] : (await findBeside(manifest, { fileOf, childOf }, contents)).findings
  const [fault] = [...faults, ...found.filter(({ level }) => level === 'error')]
  if (fault) throw new Error(`${path}: ${fault.path} ${fault.message}`)
  const { provider, name, version } = manifest.updateId
  const paths = new Map((manifest.files ?? []).map(({ filename }) => [filename, fileOf(filename)]))
  const children = manifest.instructions.steps.flatMap(step =>
    step.type === 'reference' ? [childOf(step.updateId)] : [],
  )
  const assembled = { steps: manifest.instructions.steps, files: manifest.files ?? [], paths, children }
  const { compatibility } = manifest
  return bench.importSteps(version, await describe(bench, assembled, contents), { provider, name, compatibility })
}
