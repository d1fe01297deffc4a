import { PIECES, SEEDS, SETTINGS } from './seeds.ts'

/** The mutation with this number: the same number is the same text. The first ones are the seeds themselves. */
export function description(number: number): string {
  const seed = SEEDS[number]
  if (seed !== undefined) return seed
  const random = generator(number)
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!
  let text = pick(SEEDS)
  for (let count = 1 + Math.floor(random() * random() * 5); count > 0; count -= 1)
    text = pick(random() < 0.7 ? GENTLE : ROUGH)(text, random, pick)
  return text
}

/** Mulberry32. */
function generator(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

type Mutation = (text: string, random: () => number, pick: <T>(items: readonly T[]) => T) => string

const TOKENS = /"(?:[^"\\]|\\[\s\S])*"|[\w*.+#-]+|\s+|[\s\S]/g
const tokens = (text: string): string[] => text.match(TOKENS) ?? []
const place = (length: number, random: () => number): number => Math.floor(random() * length)

/** Changes the tokens by `change`, which gets the place of one that is not blank. */
const onTokens =
  (change: (list: string[], at: number, random: () => number, pick: <T>(items: readonly T[]) => T) => void): Mutation =>
  (text, random, pick) => {
    const list = tokens(text)
    const solid = list.flatMap((token, index) => (token.trim() ? [index] : []))
    if (solid.length > 0) change(list, pick(solid), random, pick)
    return list.join('')
  }

/** A place before a setting, or the whole of one with a scalar as its value. */
const BEFORE = /(?<=[{;]\s*)(?=[a-z])/g
const SIMPLE = /(?<=[{;]\s*)[\w-]+\s*[=:]\s*("[^"]*"|[\w.-]+)\s*;?/g
const ENTRY = /\{[^{}]*\}/g

const onMatch =
  (
    pattern: RegExp,
    change: (found: string, random: () => number, pick: <T>(items: readonly T[]) => T) => string,
  ): Mutation =>
  (text, random, pick) => {
    const found = [...text.matchAll(pattern)]
    const match = found[place(found.length, random)]
    if (!match) return text
    return text.slice(0, match.index) + change(match[0], random, pick) + text.slice(match.index + match[0].length)
  }

/** Mostly leave a text that parses. */
const GENTLE: readonly Mutation[] = [
  onMatch(BEFORE, (_, __, pick) => `${pick(SETTINGS)} `),
  onMatch(BEFORE, (_, __, pick) => `${pick(SETTINGS)} `),
  onMatch(SIMPLE, () => ''),
  onMatch(SIMPLE, (_, __, pick) => pick(SETTINGS)),
  onMatch(SIMPLE, found => `${found} ${found.replace(/^[\w-]+/, name => `${name}-2`)}`),
  onMatch(SIMPLE, (found, _, pick) => found.replace(/[=:]\s*("[^"]*"|[\w.-]+)/, () => `= ${pick(VALUES)}`)),
  onMatch(ENTRY, (_, __, pick) => pick([...pick(SEEDS).matchAll(ENTRY)].map(([whole]) => whole))),
  onMatch(ENTRY, found => `${found}, ${found}`),
  onMatch(ENTRY, (_, __, pick) => `{ ${pick(SETTINGS)} ${pick(SETTINGS)} }`),
  onMatch(/ref = "[^"]*"/g, (_, __, pick) => `ref = "${pick(TARGETS)}"`),
  onMatch(/(?<=[{;]\s*)[a-z][\w-]*(?=\s*[=:])/g, (_, __, pick) => pick(NAMES)),
  onMatch(/\s+/g, (_, __, pick) => pick([' /* x */ ', '\n# x\n', '\r\n', ' // "\n', '\t', '\f', ' /* \n\n */'])),
  onMatch(/;/g, (_, random) => (random() < 0.5 ? ',' : ' ')),
  onMatch(/[=:](?=\s)/g, found => (found === '=' ? ':' : '=')),
  onMatch(/"[^"]*"/g, found => `"" ${found} /* and */ ""`),
]

const VALUES = [
  'true',
  'False',
  '1',
  '0x1',
  '1L',
  '"x"',
  '"y"',
  '"1.0"',
  '"raw"',
  '"archive"',
  '""',
  '1.5',
  '[ "1.0" ]',
  '( )',
  '{ }',
]
const TARGETS = [
  '#./a',
  '#../b',
  '#../common',
  '#../shared',
  '#software/slot',
  '#software/stable/a',
  '#software/stable/list',
  '#',
  '#.',
  '#..',
  '#./',
  '#//software//common',
  '#../../software/common',
  '#./[0]',
  '#a.b',
  'x',
]
const NAMES = [
  ...[
    'images',
    'files',
    'scripts',
    'bootenv',
    'uboot',
    'partitions',
    'a',
    'b',
    'stable',
    'pi',
    'other',
    'main',
    'x',
    'common',
  ],
  ...[
    'filename',
    'type',
    'device',
    'version',
    'sha256',
    'path',
    'name',
    'ref',
    'hardware-compatibility',
    'software',
    'A',
    '*',
    't_-*',
  ],
]

const ROUGH: readonly Mutation[] = [
  (text, random) => {
    const at = place(text.length, random)
    return text.slice(0, at) + String.fromCharCode(place(256, random)) + text.slice(at + 1)
  },
  (text, random) => {
    const at = place(text.length, random)
    return text.slice(0, at) + text.slice(at + 1 + place(12, random))
  },
  (text, random, pick) => {
    const at = place(text.length + 1, random)
    return text.slice(0, at) + pick(PIECES) + text.slice(at)
  },
  onTokens((list, at, _, pick) => list.splice(at, 0, pick(PIECES), ' ')),
  onTokens((list, at, _, pick) => list.splice(at, 1, pick(PIECES))),
  onTokens((list, at) => list.splice(at, 1)),
  onTokens((list, at) => list.splice(at, 0, list[at]!)),
  onTokens((list, at, random) => {
    const other = place(list.length, random)
    const token = list[at]!
    list[at] = list[other]!
    list[other] = token
  }),
  onTokens((list, at, random) => list.splice(at, 1 + place(10, random))),
  onTokens((list, at, random) => {
    const from = place(list.length, random)
    list.splice(at, 0, ...list.slice(from, from + 1 + place(20, random)))
  }),
  // A value of another type.
  (text, random, pick) => {
    const values = [...text.matchAll(/[=:]\s*("[^"]*"|[\w.-]+)/g)]
    const match = values[place(values.length, random)]
    if (!match) return text
    const at = match.index + match[0].length - match[1]!.length
    return text.slice(0, at) + pick(PIECES) + text.slice(at + match[1]!.length)
  },
  (text, random, pick) => {
    const lines = text.split('\n')
    const from = place(lines.length, random)
    if (random() < 0.5) lines.splice(place(lines.length, random), 0, lines[from]!)
    else lines.splice(from, 1, ...(random() < 0.5 ? [] : [pick(pick(SEEDS).split('\n'))]))
    return lines.join('\n')
  },
  // A block of another description.
  (text, random, pick) => {
    const other = pick(SEEDS)
    const from = place(other.length, random)
    const at = place(text.length, random)
    return text.slice(0, at) + other.slice(from, from + place(80, random)) + text.slice(at)
  },
]
