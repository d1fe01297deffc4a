import * as v from 'valibot'
import type { FileEntity, Verified } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import { isSafeName } from './names.ts'

const file = v.looseObject({
  fileName: v.optional(v.string()),
  // The published schema's spelling; the service sends the other one (PROTOCOL.md, "Files of a manifest").
  filename: v.optional(v.string()),
  sizeInBytes: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(2147483648)),
  hashes: v.record(v.string(), v.string()),
  relatedFiles: v.optional(
    v.record(v.string(), v.looseObject({ fileName: v.optional(v.string()), filename: v.optional(v.string()) })),
  ),
})
/** `files` of an update manifest (PROTOCOL.md, "Files of a manifest"). */
export const files = v.record(v.string(), file)

/** By file id. */
export type Entities = ReadonlyMap<string, Verified<FileEntity>>

/** `given` comes from verified text, so its entries are `Verified`. Errors: AgentError `NAME_UNSAFE`, `HASH_TYPE`, `HASH_MISSING`, `MANIFEST_BAD`. */
export function readFiles(given: v.InferOutput<typeof files>): Entities {
  return new Map(
    Object.entries(given).map(([fileId, { fileName, filename, sizeInBytes, hashes, relatedFiles }]) => {
      const name = fileName ?? filename ?? bad(`file ${fileId.slice(0, 64)} has no fileName`)
      if (filename !== undefined && filename !== name) bad(`file ${fileId.slice(0, 64)} has two names`)
      const related = Object.values(relatedFiles ?? {}).map(each => each.fileName ?? each.filename ?? name)
      for (const each of [name, ...related]) {
        if (isSafeName(each)) continue
        throw new AgentError('NAME_UNSAFE', `file name ${JSON.stringify(each.slice(0, 80))} is not a plain file name`)
      }
      const entity: FileEntity = { fileId, fileName: name, sizeInBytes, sha256: sha256Of(name, hashes) }
      return [fileId, entity as Verified<FileEntity>]
    }),
  )
}

function sha256Of(fileName: string, hashes: Readonly<Record<string, string>>): Buffer {
  const names = Object.keys(hashes)
  if (names.length === 0) throw new AgentError('HASH_MISSING', `${fileName} has no hash`)
  const [text, ...more] = names.filter(key => key.toLowerCase() === 'sha256').map(key => hashes[key])
  if (text === undefined) {
    throw new AgentError('HASH_TYPE', `${fileName} has ${names.join(', ').slice(0, 80)} but no sha256`)
  }
  if (more.length > 0) bad(`${fileName} has more than one sha256`)
  const bytes = Buffer.from(text, 'base64')
  if (!/^[A-Za-z0-9+/]{43}=$/.test(text) || bytes.length !== 32)
    bad(`the sha256 of ${fileName} is not 32 bytes of base64`)
  return bytes
}

export function bad(message: string): never {
  throw new AgentError('MANIFEST_BAD', `updateManifest ${message}`)
}
