import type { UpdateManifest, Verified } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import { Checks } from './checks.ts'
import { JsonError, readJson, utf8 } from './json.ts'
import { isMini, MAX_MANIFEST_LENGTH, type MiniManifest, parseManifest } from './manifest.ts'

/** A detached manifest is its text in one more layer of JSON, which may escape every second character. */
export const MAX_DETACHED_BYTES = 4 * MAX_MANIFEST_LENGTH

/**
 * The full manifest in the file that a signed mini manifest names (chapter 3.5). `bytes` have passed the gate: their hash
 * is the signed one, so no second signature is needed. Errors: AgentError `DETACHED_…`, and those of `parseManifest`.
 */
export function readDetached(bytes: Verified<Buffer>, mini: Verified<MiniManifest>): Verified<UpdateManifest> {
  const manifest = parsed(textOf(bytes))
  const { provider, name, version } = manifest.updateId
  const same = provider === mini.updateId.provider && name === mini.updateId.name && version === mini.updateId.version
  if (!same) bad('is another update than the signed manifest names')
  return manifest
}

function parsed(text: string): Verified<UpdateManifest> {
  try {
    readJson(text)
  } catch (error) {
    if (error instanceof JsonError) bad(error.message)
    throw error
  }
  const manifest = parseManifest(text, new Checks())
  if (isMini(manifest)) bad('names a detached manifest again')
  return manifest
}

function textOf(bytes: Buffer): string {
  const text = utf8(bytes)
  let json: unknown
  try {
    json = text === undefined ? undefined : readJson(text)
  } catch (error) {
    if (!(error instanceof JsonError)) throw error
  }
  if (text === undefined || typeof json !== 'object' || json === null) {
    throw new AgentError('DETACHED_JSON', 'the detached manifest is not a JSON file')
  }
  const { updateManifest, manifestVersion } = json as Record<string, unknown>
  if (typeof updateManifest === 'string') return updateManifest
  // The property's name is from the reference's source alone (chapter 14, point 2): the bare manifest is taken too.
  if (updateManifest === undefined && manifestVersion !== undefined) return text
  throw new AgentError('DETACHED_EMPTY', 'the detached manifest has no updateManifest text')
}

function bad(message: string): never {
  throw new AgentError('DETACHED_BAD', `the detached manifest ${message}`)
}
