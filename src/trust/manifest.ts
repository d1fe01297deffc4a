import * as v from 'valibot'
import type { FileEntity, InlineStep, UpdateId, UpdateManifest, Verified } from '../domain/deployment.ts'
import { AgentError, messageOf } from '../domain/errors.ts'
import type { Checks } from './checks.ts'
import { bad, type Entities, files, readFiles } from './files.ts'
import { JsonError, readJson } from './json.ts'

/** In characters (PROTOCOL.md, "Limits on signed input"). A manifest in the twin is far smaller; a detached one is a file. */
export const MAX_MANIFEST_LENGTH = 256 * 1024

const name = v.pipe(v.string(), v.regex(/^[A-Za-z0-9.-]{1,64}$/, 'must be 1 to 64 of A-Z a-z 0-9 . -'))
const version = v.pipe(
  v.string(),
  v.regex(/^\d+(\.\d+){1,3}$/, 'must be 2 to 4 numbers with dots'),
  v.check(text => text.split('.').every(part => Number(part) <= 2147483647), 'has a number above 2147483647'),
)
const updateId = v.object({ provider: name, name, version })

const step = v.looseObject({
  type: v.optional(v.string()),
  handler: v.optional(v.string()),
  files: v.optional(v.array(v.string())),
  handlerProperties: v.optional(v.record(v.string(), v.unknown())),
  detachedManifestFileId: v.optional(v.string()),
  updateId: v.optional(v.unknown()),
})

const flat = v.looseObject({
  updateId,
  updateType: v.string(),
  installedCriteria: v.string(),
  files,
})

const stepped = v.looseObject({
  updateId,
  compatibility: v.optional(v.array(v.record(v.string(), v.string())), []),
  instructions: v.looseObject({ steps: v.pipe(v.array(step), v.minLength(1), v.maxLength(10)) }),
  files,
})

const mini = v.looseObject({ updateId, detachedManifestFileId: v.pipe(v.string(), v.nonEmpty()), files })

/** A reference step as written: its child manifest is still in a file. */
export interface Reference {
  readonly type: 'reference'
  readonly file: Verified<FileEntity>
  /** What the child manifest must be; the service does not write it today. */
  readonly updateId?: UpdateId
}

/** A manifest without the children that it refers to. */
export interface WrittenManifest extends Omit<UpdateManifest, 'steps'> {
  readonly steps: readonly (InlineStep | Reference)[]
}

/** Replaces a manifest that is too big for the twin, and names the file that holds it (PROTOCOL.md, "Detached manifest"). */
export interface MiniManifest {
  readonly manifestVersion: string
  readonly updateId: UpdateId
  readonly detached: Verified<FileEntity>
}

/**
 * Parses the text whose hash was verified. The result is `Verified`, because only verified text gets here.
 * Versions 1 and 2 are flat and become one step; 4 and 5 have steps or are mini manifests; no others (PROTOCOL.md,
 * "Manifest versions"). Unknown members are left alone. Errors: AgentError `MANIFEST_BAD`, `MANIFEST_VERSION`, `STEP_…`,
 * `HASH_…`, `NAME_UNSAFE`, `DETACHED_ENTITY`, `CHILD_ENTITY`.
 */
export function parseManifest(text: string, checks: Checks): Verified<WrittenManifest> | Verified<MiniManifest> {
  const json = readText(text, checks)
  const manifestVersion = checks.run(
    'version',
    () => readVersion(json),
    version => `"${version}"`,
  )
  return read(manifestVersion, json, checks) as Verified<WrittenManifest> | Verified<MiniManifest>
}

function read(manifestVersion: string, json: Record<string, unknown>, checks: Checks): WrittenManifest | MiniManifest {
  const shape = <S extends v.GenericSchema>(schema: S) => checks.run('schema', () => check(schema, json))
  const names = (given: v.InferOutput<typeof files>) => checks.run('names', () => readFiles(given))
  if (/^[12]/.test(manifestVersion)) {
    const manifest = shape(flat)
    return fromFlat(manifestVersion, manifest, names(manifest.files))
  }
  if (json.detachedManifestFileId !== undefined && json.detachedManifestFileId !== null) {
    const manifest = shape(mini)
    const entities = names(manifest.files)
    return checks.run('steps', () => fromMini(manifestVersion, manifest, entities), 'in a detached manifest')
  }
  const manifest = shape(stepped)
  const entities = names(manifest.files)
  return checks.run('steps', () => fromStepped(manifestVersion, manifest, entities))
}

export const isMini = (manifest: WrittenManifest | MiniManifest): manifest is MiniManifest => 'detached' in manifest

/**
 * The phases of a list of steps cannot be ordered one by one (PROTOCOL.md, "Contract of 2021"). Errors: AgentError
 * `MANIFEST_VERSION`.
 */
export function checkFlat({ manifestVersion }: Pick<UpdateManifest, 'manifestVersion'>): void {
  if (/^[12]/.test(manifestVersion)) return
  const message = `manifestVersion is "${manifestVersion}", but the contract of 2021 has only "1" and "2"`
  throw new AgentError('MANIFEST_VERSION', message)
}

function readText(text: string, checks: Checks): Record<string, unknown> {
  try {
    return objectIn(text)
  } catch (error) {
    checks.note('schema', 'fail', messageOf(error))
    throw error
  }
}

function objectIn(text: string): Record<string, unknown> {
  if (text.length > MAX_MANIFEST_LENGTH) bad(`is longer than ${MAX_MANIFEST_LENGTH} characters`)
  let json: unknown
  try {
    json = readJson(text)
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause
    throw new AgentError('MANIFEST_BAD', `updateManifest ${cause.message}`, { cause })
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) bad('is not a JSON object')
  return json as Record<string, unknown>
}

function readVersion({ manifestVersion }: Record<string, unknown>): string {
  if (typeof manifestVersion === 'string' && /^[1245](\.\d+)*$/.test(manifestVersion)) return manifestVersion
  const got = typeof manifestVersion === 'string' ? `"${manifestVersion.slice(0, 40)}"` : `${typeof manifestVersion}`
  const known = 'this agent reads "1", "2", "4" and "5"'
  throw new AgentError('MANIFEST_VERSION', `manifestVersion is ${got}, ${known}`)
}

function fromMini(manifestVersion: string, manifest: v.InferOutput<typeof mini>, entities: Entities): MiniManifest {
  const { updateId, detachedManifestFileId } = manifest
  const detached = entities.get(detachedManifestFileId)
  if (!detached) throw new AgentError('DETACHED_ENTITY', 'detachedManifestFileId is not one of the files')
  return { manifestVersion, updateId, detached }
}

function fromFlat(manifestVersion: string, manifest: v.InferOutput<typeof flat>, entities: Entities): WrittenManifest {
  return {
    manifestVersion,
    updateId: manifest.updateId,
    compatibility: [],
    steps: [
      {
        type: 'inline',
        handler: manifest.updateType,
        files: [...entities.values()],
        handlerProperties: { installedCriteria: manifest.installedCriteria },
      },
    ],
  }
}

function fromStepped(
  manifestVersion: string,
  manifest: v.InferOutput<typeof stepped>,
  entities: Entities,
): WrittenManifest {
  return {
    manifestVersion,
    updateId: manifest.updateId,
    compatibility: manifest.compatibility,
    ...(typeof manifest.createdDateTime === 'string' ? { createdDateTime: manifest.createdDateTime } : {}),
    steps: manifest.instructions.steps.map((step, index) => readStep(step, index, entities)),
  }
}

function readStep(
  {
    type,
    handler,
    files: ids = [],
    handlerProperties,
    detachedManifestFileId = '',
    ...more
  }: v.InferOutput<typeof step>,
  index: number,
  entities: Entities,
): InlineStep | Reference {
  if (type === 'reference') {
    const file = entities.get(detachedManifestFileId)
    if (!file) {
      throw new AgentError('CHILD_ENTITY', `reference step ${index}: detachedManifestFileId is not one of the files`)
    }
    return { type, file, ...(more.updateId === undefined ? {} : { updateId: check(updateId, more.updateId) }) }
  }
  if (!handler) throw new AgentError('STEP_WITHOUT_HANDLER', `step ${index} names no handler`)
  if (!handlerProperties) throw new AgentError('STEP_WITHOUT_PROPERTIES', `step ${index} has no handlerProperties`)
  const files = ids.map(
    id => entities.get(id) ?? bad(`step ${index} names file "${id.slice(0, 64)}", which is not in files`),
  )
  return { type: 'inline', handler, files, handlerProperties }
}

function check<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, value)
  if (result.success) return result.output
  const [issue] = result.issues
  return bad(`${v.getDotPath(issue) ?? ''}: ${issue.message}`)
}
