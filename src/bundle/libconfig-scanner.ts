import { DescriptionError, type Located, type Numeric } from './setting.ts'

export type Kind = 'text' | 'name' | 'boolean' | Numeric['is'] | 'sign'
export interface Token extends Located {
  readonly kind: Kind
  readonly text: string
}

const BLANK = /[ \t\r\f\n]+/y
const COMMENT = /(?:#|\/\/)[^\n]*/y
const QUOTED = /"(?:[^"\\]|\\[\s\S])*"/y
/** The longest match wins; of equally long ones the first. */
const WORDS: readonly (readonly [Kind, RegExp])[] = [
  ['boolean', /true|false/iy],
  ['name', /[A-Za-z*][-\w*]*/y],
  ['float', /[-+]?\d*\.\d*(?:e[-+]?\d+)?|[-+]?\d+(?:\.\d*)?e[-+]?\d+/iy],
  ['integer', /[-+]?\d+/y],
  ['long', /[-+]?\d+LL?/y],
  ['integer', /0x[\da-f]+/iy],
  ['long', /0[xX][\da-fA-F]+LL?/y],
  ['sign', /[{}[\]():=;,]/y],
]

/** Errors: DescriptionError. */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = []
  let line = 1
  for (let at = 0; at < text.length; ) {
    const blank = match(BLANK, text, at) ?? comment(text, at, line)
    const word = blank === undefined ? wordAt(text, at, line) : undefined
    const whole = blank ?? word?.text ?? ''
    if (word) tokens.push(word)
    at += whole.length
    for (let end = whole.indexOf('\n'); end >= 0; end = whole.indexOf('\n', end + 1)) line += 1
  }
  return tokens
}

function match(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0]
}

function comment(text: string, at: number, line: number): string | undefined {
  if (text.startsWith('/*', at)) {
    const end = text.indexOf('*/', at + 2)
    if (end < 0) throw new DescriptionError('policy', line, 'has a comment without its end "*/"')
    return text.slice(at, end + 2)
  }
  const found = match(COMMENT, text, at)
  if (found !== undefined && at + found.length === text.length) {
    throw new DescriptionError('policy', line, 'ends in a comment: SWUpdate of Debian 12 wants a line end after it')
  }
  return found
}

function wordAt(text: string, at: number, line: number): Token {
  if (text[at] === '"') {
    const quoted = match(QUOTED, text, at)
    if (quoted === undefined) throw new DescriptionError('policy', line, 'has a text without its closing quote')
    return { kind: 'text', text: quoted, line }
  }
  let best: Token | undefined
  for (const [kind, pattern] of WORDS) {
    const found = match(pattern, text, at)
    if (found !== undefined && found.length > (best?.text.length ?? 0)) best = { kind, text: found, line }
  }
  if (best) return best
  if (text[at] === '@') throw new DescriptionError('policy', line, 'has "@": an @include is not allowed')
  const byte = text.charCodeAt(at)
  const shown = byte < 0x20 || byte > 0x7e ? `the byte 0x${byte.toString(16).padStart(2, '0')}` : `"${text[at]}"`
  throw new DescriptionError('swupdate', line, `has ${shown} where it means nothing`)
}
