import fc from 'fast-check'

/** Values that have broken readers before. */
const WEIRD: readonly unknown[] = [
  ...[null, true, false, 0, -1, 3, 255, 0.5, 1e308, Number.MAX_SAFE_INTEGER, '', ' ', '\0', '3', '..', '../../x', '-'],
  ...['__proto__', 'constructor', 'toString', 'a'.repeat(5000), '\ud800', 'ﬀ', '%s%n', 'file:///etc/passwd', 'http://'],
  ...[[], {}, [[]], { length: 1 }, [null], { toString: 1 }, { sha256: 'x' }, { $ref: '#' }],
]

/** Pieces of text that change what a reader sees. */
const PIECES: readonly string[] = [
  ...[
    '"',
    '\\',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '.',
    '..',
    '=',
    '-',
    '_',
    '+',
    '/',
    '\0',
    '\n',
    '\ufeff',
    '\u2028',
    'e',
    '9',
  ],
  ...[
    'null',
    '1e999',
    '"a":1,',
    '{"a":',
    '[[[[[[[[[[',
    '"__proto__":{},',
    '\\u0000',
    '\\ud800',
    'AAAA',
    'A'.repeat(3000),
  ],
]

interface Edit {
  readonly at: number
  readonly how: 'replace' | 'insert' | 'cut' | 'repeat' | 'flip'
  readonly piece: string
  readonly length: number
}

const edit: fc.Arbitrary<Edit> = fc.record({
  at: fc.double({ min: 0, max: 0.999999, noNaN: true }),
  how: fc.constantFrom('replace', 'insert', 'cut', 'repeat', 'flip'),
  piece: fc.constantFrom(...PIECES),
  length: fc.integer({ min: 1, max: 40 }),
})

/** `text` with one to three places changed. */
export const mutatedText = (text: string): fc.Arbitrary<string> =>
  fc.array(edit, { minLength: 1, maxLength: 3 }).map(edits => edits.reduce(apply, text))

function apply(text: string, { at, how, piece, length }: Edit): string {
  const place = Math.floor(at * text.length)
  const [before, after] = [text.slice(0, place), text.slice(place)]
  switch (how) {
    case 'insert':
      return before + piece + after
    case 'replace':
      return before + piece + after.slice(length)
    case 'cut':
      return before + after.slice(length)
    case 'repeat':
      return before + after.slice(0, length) + after
    case 'flip':
      return before + String.fromCharCode((after.charCodeAt(0) || 0) ^ (1 << (length % 8))) + after.slice(1)
  }
}

type Json = unknown
interface Change {
  readonly at: number
  readonly how: 'replace' | 'remove' | 'add' | 'wrap' | 'swap'
  readonly value: Json
  readonly name: string
}

const change: fc.Arbitrary<Change> = fc.record({
  at: fc.double({ min: 0, max: 0.999999, noNaN: true }),
  how: fc.constantFrom('replace', 'remove', 'add', 'wrap', 'swap'),
  value: fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...WEIRD) },
    {
      weight: 2,
      arbitrary: fc.constantFrom('..', '../x', '/etc/passwd', '-x', 'a\0b', 'a\\b', 'a\nb', 'x'.repeat(300)),
    },
    { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
    { weight: 1, arbitrary: fc.string() },
  ),
  name: fc.constantFrom('__proto__', 'constructor', 'x', 'action', 'id', 'alg', 'files', 'type', 'filename', '0'),
})

/** `json` with one to three of its values changed; the rest is shared with it and must not be written to. */
export const mutatedJson = (json: Json): fc.Arbitrary<Json> =>
  fc.array(change, { minLength: 1, maxLength: 3 }).map(changes => changes.reduce(changed, json))

function changed(json: Json, { at, how, value, name }: Change): Json {
  const paths = pathsOf(json)
  return rewrite(json, paths[Math.floor(at * paths.length)] ?? [], how, value, name)
}

function pathsOf(json: Json): string[][] {
  if (typeof json !== 'object' || json === null) return [[]]
  return [[], ...Object.entries(json).flatMap(([key, value]) => pathsOf(value).map(path => [key, ...path]))]
}

function rewrite(json: Json, path: readonly string[], how: Change['how'], value: Json, name: string): Json {
  const [key, ...rest] = path
  if (key === undefined) {
    if (how === 'wrap') return [json]
    if (how !== 'add' || typeof json !== 'object' || json === null || Array.isArray(json)) return value
    return Object.fromEntries([...Object.entries(json), [name, value]])
  }
  const entries = Object.entries(json as object)
  const mine = entries.findIndex(([each]) => each === key)
  const old = entries[mine]?.[1]
  if (rest.length > 0 || how === 'wrap' || how === 'add' || how === 'replace') {
    entries[mine] = [key, rewrite(old, rest, how, value, name)]
  } else if (how === 'swap') {
    entries[mine] = [name, old]
  } else {
    entries.splice(mine, 1)
  }
  return Array.isArray(json) ? entries.map(([, each]) => each) : Object.fromEntries(entries)
}
