import type { InlineStep } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'

/**
 * A string in `handlerProperties`, found by its exact name or else by a unique match that ignores case (PROTOCOL.md, "Manifest
 * with steps"). Errors: AgentError `MANIFEST_BAD` for other values.
 */
export function property({ handlerProperties }: InlineStep, name: string): string | undefined {
  const names = Object.keys(handlerProperties)
  const alike = names.filter(key => key.toLowerCase() === name.toLowerCase())
  const key = names.includes(name) ? name : alike.length === 1 ? alike[0] : undefined
  if (key === undefined) return undefined
  const value = handlerProperties[key]
  if (typeof value !== 'string') throw new AgentError('MANIFEST_BAD', `handlerProperties.${key} is not a string`)
  return value
}
