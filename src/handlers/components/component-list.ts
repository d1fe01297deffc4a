import * as v from 'valibot'
import type { Component } from '../../domain/deployment.ts'
import { AgentError } from '../../domain/errors.ts'
import { JsonError, readJson } from '../../trust/json.ts'

/** In characters. */
export const MAX_LIST = 256 * 1024
export const MAX_COMPONENTS = 64

const word = v.pipe(
  v.string(),
  v.minLength(1, 'is empty'),
  v.maxLength(256, 'has more than 256 characters'),
  v.regex(/^\P{Cc}*$/u, 'has a control character'),
)

const component = v.looseObject({
  id: word,
  name: v.optional(word),
  group: v.optional(word),
  manufacturer: v.optional(word),
  model: v.optional(word),
  version: v.optional(word),
  properties: v.optional(
    v.pipe(
      v.unknown(),
      v.check(value => !Array.isArray(value), 'is a list'),
      v.record(word, v.unknown()),
    ),
    {},
  ),
})

const list = v.looseObject({
  components: v.pipe(v.array(component), v.maxLength(MAX_COMPONENTS, `has more than ${MAX_COMPONENTS} entries`)),
})

/**
 * The list of components as the device's owner writes it (PROTOCOL.md, "Components"). An empty list is a device whose components are
 * all unplugged. Errors: AgentError `COMPONENTS_BAD`.
 */
export function readComponents(text: string): readonly Component[] {
  if (text.length > MAX_LIST) bad(`is longer than ${MAX_LIST} characters`)
  const found = v.safeParse(list, parsed(text))
  if (!found.success) {
    const [issue] = found.issues
    bad(`cannot be used: ${v.getDotPath(issue) ?? 'it'}: ${issue.message}`)
  }
  const components = found.output.components.map(asText)
  const ids = components.map(({ id }) => id)
  const twice = ids.find((id, index) => ids.indexOf(id) !== index)
  if (twice !== undefined) bad(`has two components with the id "${twice}"`)
  return components
}

function parsed(text: string): unknown {
  try {
    return readJson(text)
  } catch (error) {
    if (!(error instanceof JsonError)) throw error
    return bad(error.plain)
  }
}

/** Handlers get properties as text: a number as it is written, anything else as JSON. */
function asText({
  id,
  name,
  group,
  manufacturer,
  model,
  version,
  properties,
}: v.InferOutput<typeof component>): Component {
  const texts = Object.entries(properties).map(([key, value]) => [key, textOf(key, value)] as const)
  return {
    ...{ id, name: name ?? id },
    ...(group === undefined ? {} : { group }),
    ...(manufacturer === undefined ? {} : { manufacturer }),
    ...(model === undefined ? {} : { model }),
    ...(version === undefined ? {} : { version }),
    properties: Object.fromEntries(texts),
  }
}

function textOf(key: string, value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  if (text.length <= 1024 && !/\p{Cc}/u.test(text)) return text
  return bad(`has a property "${key}" that is longer than 1024 characters or has a control character`)
}

function bad(why: string): never {
  throw new AgentError('COMPONENTS_BAD', `the list of components ${why}`)
}
