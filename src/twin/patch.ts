import { isObject } from '../domain/members.ts'

/** The merge patch that makes `wanted` of `shown`; undefined where they are equal. Lists are replaced as a whole. */
export function patchTo(shown: unknown, wanted: Readonly<Record<string, unknown>>): Patch | undefined {
  if (!isObject(shown)) return wanted
  const patch: Record<string, unknown> = {}
  for (const key of Object.keys(shown)) if (wanted[key] === undefined) patch[key] = null
  for (const [key, value] of Object.entries(wanted)) {
    const change = isObject(value) ? patchTo(shown[key], value) : isEqual(shown[key], value) ? undefined : value
    if (change !== undefined) patch[key] = change
  }
  return Object.keys(patch).length === 0 ? undefined : patch
}

type Patch = Readonly<Record<string, unknown>>

const isEqual = (one: unknown, two: unknown): boolean => JSON.stringify(one) === JSON.stringify(two)
