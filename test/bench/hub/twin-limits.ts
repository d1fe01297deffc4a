import { invalidArgument } from './errors.ts'
import { isObject, type Json, type JsonObject } from './json.ts'

/** Azure's documented limits on twins (PROTOCOL.md, "Twin documents"). Checked before a change, so a refused one has no effect. */

export type SectionName = 'tags' | 'desired' | 'reported'

const MAX_SECTION_BYTES = { tags: 8 * 1024, desired: 32 * 1024, reported: 32 * 1024 } as const
const MAX_KEY_BYTES = 1024
const MAX_STRING_BYTES = 4 * 1024
const MAX_DEPTH = 10
const MAX_INTEGER = 2 ** 52

/** Keys, depth and single values. Null (removal) is allowed anywhere but in an array. */
export function checkPatch(patch: JsonObject, section: SectionName): void {
  checkValue(patch, section, 0, false)
}

/** The size of the whole, after the change. */
export function checkSection(value: JsonObject, section: SectionName): void {
  const size = sizeOf(value)
  if (size > MAX_SECTION_BYTES[section]) {
    throw invalidArgument(`${section} would be ${size} bytes, above ${MAX_SECTION_BYTES[section]}`)
  }
}

function checkValue(value: Json, path: string, depth: number, inArray: boolean): void {
  if (typeof value === 'string' && Buffer.byteLength(value) > MAX_STRING_BYTES) {
    throw invalidArgument(`the string at ${path} is above ${MAX_STRING_BYTES} bytes`)
  }
  if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) > MAX_INTEGER) {
    throw invalidArgument(`the integer at ${path} is outside of ±2^52`)
  }
  if (value === null && inArray) throw invalidArgument(`null in the array at ${path}`)
  if (typeof value !== 'object' || value === null) return

  if (depth > MAX_DEPTH) throw invalidArgument(`${path.slice(0, 200)} is nested deeper than ${MAX_DEPTH}`)
  if (!isObject(value)) {
    for (const item of value as readonly Json[]) checkValue(item, path, depth + 1, true)
    return
  }
  for (const [key, item] of Object.entries(value)) {
    checkKey(key, path)
    checkValue(item, `${path}.${key}`, depth + 1, inArray)
  }
}

function checkKey(key: string, path: string): void {
  if (key === '') throw invalidArgument(`empty key in ${path}`)
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) throw invalidArgument(`a key in ${path} is above ${MAX_KEY_BYTES} bytes`)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: C0 and C1 are just what is forbidden
  if (/[\u0000-\u001f\u007f-\u009f.$ ]/.test(key)) {
    throw invalidArgument(`key ${JSON.stringify(key)} in ${path} has a control character, '.', '$' or space`)
  }
}

/** Azure counts contents, not JSON: keys and strings in UTF-8, 8 bytes a number, 4 a boolean. */
function sizeOf(value: Json): number {
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (typeof value === 'number') return 8
  if (typeof value === 'boolean') return 4
  if (value === null) return 0
  if (!isObject(value)) return (value as readonly Json[]).reduce<number>((sum, item) => sum + sizeOf(item), 0)
  return Object.entries(value).reduce((sum, [key, item]) => sum + Buffer.byteLength(key) + sizeOf(item), 0)
}
