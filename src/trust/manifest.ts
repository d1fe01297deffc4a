import * as v from 'valibot'
import type { FileEntity, ManifestStep, UpdateManifest, Verified } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import { isSafeName } from './names.ts'

const MAX_MANIFEST_LENGTH = 256 * 1024

const name = v.pipe(v.string(), v.regex(/^[A-Za-z0-9.-]{1,64}$/, 'must be 1 to 64 of A-Z a-z 0-9 . -'))
const version = v.pipe(
  v.string(),
  v.regex(/^\d+(\.\d+){1,3}$/, 'must be 2 to 4 numbers with dots'),
  v.check(text => text.split('.').every(part => Number(part) <= 2147483647), 'has a number above 2147483647'),
)
const updateId = v.object({ provider: name, name, version })

const file = v.looseObject({
  fileName: v.optional(v.string()),
  // The published schema's spelling; the service sends the other one (chapter 3.3).
  filename: v.optional(v.string()),
  sizeInBytes: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(2147483648)),
  hashes: v.record(v.string(), v.string()),
})
const files = v.record(v.string(), file)

const step = v.looseObject({
  type: v.optional(v.string()),
  handler: v.optional(v.string()),
  files: v.optional(v.array(v.string())),
  handlerProperties: v.optional(v.record(v.string(), v.unknown())),
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

/**
 * The text whose hash was verified, as a manifest; `Verified` because only verified text gets here.
 * Versions 1 and 2 are flat (chapter 3.2) and become one step; 4 and 5 have steps (chapter 3.3); no others.
 * Errors: AgentError `MANIFEST_BAD`, `MANIFEST_VERSION`, `STEP_…`, `HASH_…`, `NAME_UNSAFE`, `STEPS_UNSUPPORTED`.
 */
export function parseManifest(text: string): Verified<UpdateManifest> {
  if (text.length > MAX_MANIFEST_LENGTH) bad(`is longer than ${MAX_MANIFEST_LENGTH} characters`)
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new AgentError('MANIFEST_BAD', 'updateManifest is not JSON', { cause })
  }
  // To the schema library an array is an object like any other.
  if (typeof json !== 'object' || json === null || Array.isArray(json)) bad('is not a JSON object')
  const { manifestVersion } = check(v.looseObject({ manifestVersion: v.optional(v.unknown()) }), json)
  const major = typeof manifestVersion === 'string' ? /^(\d+)(\.\d+)*$/.exec(manifestVersion)?.[1] : undefined
  switch (major) {
    case '1':
    case '2':
      return fromFlat(manifestVersion as string, check(flat, json)) as Verified<UpdateManifest>
    case '4':
    case '5':
      return fromStepped(manifestVersion as string, json) as Verified<UpdateManifest>
    default: {
      const got = JSON.stringify(manifestVersion)?.slice(0, 40)
      throw new AgentError('MANIFEST_VERSION', `manifestVersion is ${got}, this agent reads "1", "2", "4" and "5"`)
    }
  }
}

function fromFlat(manifestVersion: string, manifest: v.InferOutput<typeof flat>): UpdateManifest {
  const entities = readFiles(manifest.files)
  return {
    manifestVersion,
    updateId: manifest.updateId,
    compatibility: [],
    steps: [
      {
        handler: manifest.updateType,
        files: [...entities.values()],
        handlerProperties: { installedCriteria: manifest.installedCriteria },
      },
    ],
  }
}

function fromStepped(manifestVersion: string, json: unknown): UpdateManifest {
  if (typeof (json as Record<string, unknown>).detachedManifestFileId === 'string') {
    throw new AgentError('DETACHED_MANIFEST', 'detached update manifests are not supported by this agent yet')
  }
  const manifest = check(stepped, json)
  const entities = readFiles(manifest.files)
  return {
    manifestVersion,
    updateId: manifest.updateId,
    compatibility: manifest.compatibility,
    steps: manifest.instructions.steps.map((step, index) => readStep(step, index, entities)),
  }
}

function readStep(
  { type, handler, files: ids = [], handlerProperties }: v.InferOutput<typeof step>,
  index: number,
  entities: ReadonlyMap<string, FileEntity>,
): ManifestStep {
  if (type === 'reference') {
    throw new AgentError('STEPS_UNSUPPORTED', `step ${index} is a reference step, which this agent does not support`)
  }
  if (!handler) throw new AgentError('STEP_WITHOUT_HANDLER', `step ${index} names no handler`)
  if (!handlerProperties) throw new AgentError('STEP_WITHOUT_PROPERTIES', `step ${index} has no handlerProperties`)
  const files = ids.map(
    id => entities.get(id) ?? bad(`step ${index} names file "${id.slice(0, 64)}", which is not in files`),
  )
  return { handler, files, handlerProperties }
}

function readFiles(given: v.InferOutput<typeof files>): ReadonlyMap<string, FileEntity> {
  return new Map(
    Object.entries(given).map(([fileId, { fileName, filename, sizeInBytes, hashes }]) => {
      const name = fileName ?? filename ?? bad(`file ${fileId.slice(0, 64)} has no fileName`)
      if (!isSafeName(name)) {
        throw new AgentError('NAME_UNSAFE', `file name ${JSON.stringify(name.slice(0, 80))} is not a plain file name`)
      }
      return [fileId, { fileId, fileName: name, sizeInBytes, sha256: sha256Of(name, hashes) }]
    }),
  )
}

function sha256Of(fileName: string, hashes: Readonly<Record<string, string>>): Buffer {
  const names = Object.keys(hashes)
  if (names.length === 0) throw new AgentError('HASH_MISSING', `${fileName} has no hash`)
  const text = names.filter(key => key.toLowerCase() === 'sha256').map(key => hashes[key])[0]
  if (text === undefined)
    throw new AgentError('HASH_TYPE', `${fileName} has ${names.join(', ').slice(0, 80)} but no sha256`)
  const bytes = Buffer.from(text, 'base64')
  if (!/^[A-Za-z0-9+/]{43}=$/.test(text) || bytes.length !== 32)
    bad(`the sha256 of ${fileName} is not 32 bytes of base64`)
  return bytes
}

function check<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, value)
  if (result.success) return result.output
  const [issue] = result.issues
  return bad(`${v.getDotPath(issue) ?? ''}: ${issue.message}`)
}

function bad(message: string): never {
  throw new AgentError('MANIFEST_BAD', `updateManifest ${message}`)
}
