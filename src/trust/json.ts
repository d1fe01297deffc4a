/** Text from outside that is not JSON as we accept it. The message continues a sentence that begins with the text's name. */
export class JsonError extends Error {
  override readonly name = 'JsonError'
  /** The message without quotes from the document, for unverified documents. */
  readonly plain: string

  constructor(message: string, plain = message) {
    super(message)
    this.plain = plain
  }
}

/** One value of a document, with what `JSON.parse` loses: the order of members, and the original text. */
export interface JsonNode {
  readonly value: string | number | boolean | null | readonly JsonNode[] | ReadonlyMap<string, JsonNode>
  /** The original text without insignificant white space. */
  compact(): string
}

const MAX_DEPTH = 32
const TOKEN = /[{}[\],:]|"[^"\\]*(?:\\.[^"\\]*)*"|[^\s{}[\],:"]+/g

/**
 * Reads JSON that decides about trust: no member twice, at most 32 levels, no number beyond a double, no `__proto__`. A
 * signature is worthless when two readers understand the signed text differently (PROTOCOL.md, "Limits on signed input").
 * The caller limits the size. Errors: JsonError.
 */
export function parseJson(text: string): JsonNode {
  try {
    JSON.parse(text)
  } catch {
    throw new JsonError('is not JSON')
  }
  // JSON.parse accepted the grammar, so tokens need no further checks.
  const tokens = text.match(TOKEN) ?? []
  let at = 0
  return read(0)

  function read(depth: number): JsonNode {
    const first = at
    const value = readValue(depth)
    const end = at
    return { value, compact: () => tokens.slice(first, end).join('') }
  }

  function readValue(depth: number): JsonNode['value'] {
    const token = next()
    if (token !== '{' && token !== '[') return scalar(token)
    if (depth >= MAX_DEPTH) throw new JsonError(`has more than ${MAX_DEPTH} levels`)
    return token === '{' ? readMembers(depth) : readElements(depth)
  }

  function readMembers(depth: number): ReadonlyMap<string, JsonNode> {
    const members = new Map<string, JsonNode>()
    while (tokens[at] !== '}') {
      if (tokens[at] === ',') at += 1
      const key = JSON.parse(next()) as string
      if (members.has(key)) throw new JsonError(`has the member ${quoted(key)} twice`, 'has a member twice')
      if (key === '__proto__') throw new JsonError('has a member "__proto__"')
      at += 1
      members.set(key, read(depth + 1))
    }
    at += 1
    return members
  }

  function readElements(depth: number): readonly JsonNode[] {
    const elements: JsonNode[] = []
    while (tokens[at] !== ']') {
      if (tokens[at] === ',') at += 1
      elements.push(read(depth + 1))
    }
    at += 1
    return elements
  }

  function next(): string {
    const token = tokens[at]
    if (token === undefined) throw new JsonError('is not JSON')
    at += 1
    return token
  }
}

function scalar(token: string): string | number | boolean | null {
  const value = JSON.parse(token) as string | number | boolean | null
  if (typeof value === 'number' && !Number.isFinite(value)) throw new JsonError('has a number that is too large')
  return value
}

/** Like `JSON.parse`, but as strict as `parseJson`: plain objects and arrays, without order and text. */
export function readJson(text: string): unknown {
  return plain(parseJson(text))
}

export function plain({ value }: JsonNode): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, node]) => [key, plain(node)]))
  return Array.isArray(value) ? value.map(plain) : value
}

/** Decodes strict UTF-8; undefined for other bytes. */
export function utf8(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

const quoted = (key: string): string => JSON.stringify(key.slice(0, 64))
