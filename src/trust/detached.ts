import { createHash } from 'node:crypto'
import type { ChildManifest, FileEntity, UpdateId, UpdateManifest, Verified } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/result-codes.ts'
import { Checks } from './checks.ts'
import { JsonError, readJson, utf8 } from './json.ts'
import {
  isMini,
  MAX_MANIFEST_LENGTH,
  type MiniManifest,
  parseManifest,
  type Reference,
  type WrittenManifest,
} from './manifest.ts'

/** A detached manifest is the manifest's text inside a JSON string, where every character may be escaped. */
export const MAX_DETACHED_BYTES = 4 * MAX_MANIFEST_LENGTH

/** All child manifests of an update together: they stay in memory, and go to the step service. */
export const MAX_CHILDREN_BYTES = 2 * MAX_DETACHED_BYTES

/** The content of `file` among the fetched files, found by the signed size and hash; undefined if it is not there. */
export function contentOf(file: Verified<FileEntity>, fetched: readonly Buffer[]): Verified<Buffer> | undefined {
  const found = fetched.find(bytes => bytes.length === file.sizeInBytes && sha256(bytes).equals(file.sha256))
  return found as Verified<Buffer> | undefined
}

const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest()

/**
 * The full manifest in the file that a signed mini manifest names (PROTOCOL.md, "Detached manifest"). The hash of `bytes` is
 * the signed one, so no second signature is needed. Errors: AgentError `DETACHED_…`, and those of `parseManifest`.
 */
export function readDetached(bytes: Verified<Buffer>, mini: Verified<MiniManifest>): Verified<WrittenManifest> {
  const manifest = manifestIn(bytes, 'the detached manifest')
  if (!isSame(manifest.updateId, mini.updateId)) {
    throw new AgentError('DETACHED_BAD', 'the detached manifest is another update than the signed manifest names')
  }
  return manifest
}

/** Files with child manifests, each once. Errors: AgentError `CHILD_BAD` for more than `MAX_CHILDREN_BYTES`. */
export function childFilesOf({ steps }: Verified<WrittenManifest>): readonly Verified<FileEntity>[] {
  const byHash = new Map(steps.flatMap(step => (step.type === 'reference' ? [[hex(step.file), step.file]] : [])))
  const files = [...byHash.values()]
  for (const { fileName, sizeInBytes } of files) {
    if (sizeInBytes <= MAX_DETACHED_BYTES) continue
    throw new AgentError('CHILD_BAD', `the child manifest ${fileName} is larger than ${MAX_DETACHED_BYTES} bytes`)
  }
  if (files.reduce((sum, { sizeInBytes }) => sum + sizeInBytes, 0) > MAX_CHILDREN_BYTES) {
    throw new AgentError('CHILD_BAD', `the child manifests are together larger than ${MAX_CHILDREN_BYTES} bytes`)
  }
  return files
}

const hex = ({ sha256 }: FileEntity): string => sha256.toString('hex')

/**
 * The tree of a manifest whose child files were all fetched (PROTOCOL.md, "Child manifest"). Errors: AgentError `CHILD_BAD`,
 * `NESTED_REFERENCE`, and those of `parseManifest`, with the step and the file.
 */
export function withChildren(
  manifest: Verified<WrittenManifest>,
  fetched: readonly Buffer[],
): Verified<UpdateManifest> {
  const steps = manifest.steps.map((step, index) => {
    if (step.type === 'inline') return step
    const { type, file } = step
    const what = `step ${index}: the child manifest ${file.fileName}`
    const bytes = contentOf(file, fetched)
    if (!bytes) throw new Error(`${what} was not fetched`)
    return { type, file, child: readChild(bytes, step, manifest.updateId, what) }
  })
  return { ...manifest, steps } as UpdateManifest as Verified<UpdateManifest>
}

/** A child that cannot be used at all, whatever is wrong with it. */
const UNUSABLE: ReadonlySet<ErrorCode> = new Set([
  ...(['DETACHED_JSON', 'DETACHED_EMPTY', 'DETACHED_BAD', 'DETACHED_ENTITY'] as const),
  ...(['MANIFEST_BAD', 'MANIFEST_VERSION'] as const),
])

function readChild(
  bytes: Verified<Buffer>,
  { updateId }: Reference,
  parent: UpdateId,
  what: string,
): Verified<ChildManifest> {
  const child = orChildBad(what, () => manifestIn(bytes, what))
  const no = (why: string): never => {
    throw new AgentError('CHILD_BAD', `${what} ${why}`)
  }
  if (updateId && !isSame(child.updateId, updateId)) no('is another update than the signed manifest names')
  if (isSame(child.updateId, parent)) no('is the update itself, not a part of it')
  // Flat manifests name no compatibility, so they cannot choose components.
  if (!/^[45]/.test(child.manifestVersion)) no(`has the manifestVersion "${child.manifestVersion}", not "4" or "5"`)
  if (child.steps.some(({ type }) => type === 'reference')) nested(what)
  return child as unknown as Verified<ChildManifest>
}

function orChildBad<T>(what: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (!(cause instanceof AgentError)) throw cause
    if (cause.code === 'CHILD_ENTITY') nested(what)
    const message = cause.message.startsWith(what) ? cause.message : `${what}: ${cause.message}`
    throw new AgentError(UNUSABLE.has(cause.code) ? 'CHILD_BAD' : cause.code, message, { cause })
  }
}

function nested(what: string): never {
  throw new AgentError('NESTED_REFERENCE', `${what} has a reference step; only the update itself may have them`)
}

const isSame = (one: UpdateId, other: UpdateId): boolean =>
  one.provider === other.provider && one.name === other.name && one.version === other.version

function manifestIn(bytes: Verified<Buffer>, what: string): Verified<WrittenManifest> {
  const text = textOf(bytes, what)
  try {
    readJson(text)
  } catch (error) {
    if (error instanceof JsonError) throw new AgentError('DETACHED_BAD', `${what} ${error.message}`)
    throw error
  }
  const manifest = parseManifest(text, new Checks())
  if (isMini(manifest)) throw new AgentError('DETACHED_BAD', `${what} names a detached manifest again`)
  return manifest
}

function textOf(bytes: Buffer, what: string): string {
  const text = utf8(bytes)
  let json: unknown
  try {
    json = text === undefined ? undefined : readJson(text)
  } catch (error) {
    if (!(error instanceof JsonError)) throw error
  }
  if (text === undefined || typeof json !== 'object' || json === null) {
    throw new AgentError('DETACHED_JSON', `${what} is not a JSON file`)
  }
  const { updateManifest, manifestVersion } = json as Record<string, unknown>
  if (typeof updateManifest === 'string') return updateManifest
  // The property's name is from the reference's source alone (PROTOCOL.md, "Detached manifest"): the bare manifest is taken too.
  if (updateManifest === undefined && manifestVersion !== undefined) return text
  throw new AgentError('DETACHED_EMPTY', `${what} has no updateManifest text`)
}
