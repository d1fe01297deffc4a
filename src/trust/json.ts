/** Text from outside that is not JSON as we accept it; the message ends a sentence that begins with its name. */
export class JsonError extends Error {
  override readonly name = 'JsonError'
}

/** One value of a document, with what `JSON.parse` would lose: the order of members, and the text. */
export interface JsonNode {
  readonly value: string | number | boolean | null | readonly JsonNode[] | ReadonlyMap<string, JsonNode>
  /** As it stands in the document, without insignificant white space. */
  compact(): string
}

const MAX_DEPTH = 32
const TOKEN = /[{}[\],:]|"[^"\\]*(?:\\.[^"\\]*)*"|[^\s{}[\],:"]+/g

/**
 * Reads JSON that decides about trust (protocol, chapter 4.10): no member twice, at most 32 levels, no number beyond a
 * double, no `__proto__`. Two readers that would take different things from one text is how a signature over it is
 * worth nothing. The caller limits the size. Errors: JsonError.
 */
export function parseJson(text: string): JsonNode {
  try {
    JSON.parse(text)
  } catch {
    throw new JsonError('is not JSON')
  }
  // The grammar is known to be right from here on, so tokens can be taken as they come.
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
      if (members.has(key)) throw new JsonError(`has the member ${quoted(key)} twice`)
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

/** As plain objects and arrays; like `JSON.parse`, for those who ask neither for order nor for text. */
export function readJson(text: string): unknown {
  return plain(parseJson(text))
}

export function plain({ value }: JsonNode): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, node]) => [key, plain(node)]))
  return Array.isArray(value) ? value.map(plain) : value
}

/** UTF-8 and nothing else; undefined for bytes that are not. */
export function utf8(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

const quoted = (key: string): string => JSON.stringify(key.slice(0, 64))
