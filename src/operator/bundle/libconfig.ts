import { EXIT, Failure } from '../failure.ts'

export type Config = string | number | boolean | readonly Config[] | { readonly [name: string]: Config }

/** Groups within groups; nobody's `sw-description` comes near. */
const MAX_DEPTH = 32

const TOKEN =
  /\s+|#[^\n]*|\/\/[^\n]*|\/\*[\s\S]*?\*\/|("(?:[^"\\]|\\[\s\S])*")|([A-Za-z*][\w*-]*)|([-+]?(?:0x[0-9a-fA-F]+|\d[\w.+-]*|\.\d+)L{0,2})|([{}[\]():=;,@])/y

/** The part of libconfig's language that `sw-description` uses: groups, lists, arrays, scalars, comments. Errors: Failure with the line. */
export function parseLibconfig(text: string): Config {
  const tokens = tokenize(text)
  let at = 0
  const group = settings(0, undefined)
  return group

  function settings(depth: number, end: string | undefined): { readonly [name: string]: Config } {
    if (depth > MAX_DEPTH) fail('is nested too deeply')
    const found = new Map<string, Config>()
    for (;;) {
      const token = tokens[at]
      if (!token || token.text === end) {
        if (token?.text !== end) fail(`ends before "${end}"`)
        at += token ? 1 : 0
        return Object.fromEntries(found)
      }
      if (token.kind !== 'name') fail(`has ${token.text} where a name should be`)
      at += 1
      if (tokens[at]?.text !== '=' && tokens[at]?.text !== ':') fail(`has no "=" after ${token.text}`)
      at += 1
      found.set(token.text, value(depth + 1))
      while (tokens[at]?.text === ';' || tokens[at]?.text === ',') at += 1
    }
  }

  function value(depth: number): Config {
    const token = tokens[at]
    if (!token) fail('ends where a value should be')
    at += 1
    if (token.text === '{') return settings(depth, '}')
    if (token.text === '(') return list(depth, ')')
    if (token.text === '[') return list(depth, ']')
    if (token.kind === 'number') return Number(token.text.replace(/L+$/, ''))
    if (token.kind === 'name' && /^(true|false)$/i.test(token.text)) return token.text.toLowerCase() === 'true'
    if (token.kind !== 'text') fail(`has ${token.text} where a value should be`)
    let whole = unquoted(token.text)
    for (let next = tokens[at]; next?.kind === 'text'; next = tokens[at]) {
      whole += unquoted(next.text)
      at += 1
    }
    return whole
  }

  function list(depth: number, end: string): Config[] {
    if (depth > MAX_DEPTH) fail('is nested too deeply')
    const items: Config[] = []
    for (;;) {
      if (tokens[at]?.text === end) {
        at += 1
        return items
      }
      items.push(value(depth + 1))
      if (tokens[at]?.text === ',') at += 1
      else if (tokens[at]?.text !== end) fail(`has no "," or "${end}" in a list`)
    }
  }

  function fail(what: string): never {
    const line = text.slice(0, tokens[at]?.at ?? text.length).split('\n').length
    throw new Failure(EXIT.failed, `sw-description ${what} (line ${line})`)
  }
}

interface Token {
  readonly kind: 'text' | 'name' | 'number' | 'sign'
  readonly text: string
  readonly at: number
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = []
  for (let at = 0; at < text.length; at = TOKEN.lastIndex) {
    TOKEN.lastIndex = at
    const match = TOKEN.exec(text)
    if (!match) {
      const line = text.slice(0, at).split('\n').length
      throw new Failure(
        EXIT.failed,
        `sw-description has ${JSON.stringify(text[at])} where it means nothing (line ${line})`,
      )
    }
    const [whole, quoted, name, number, sign] = match
    if (quoted !== undefined) tokens.push({ kind: 'text', text: quoted, at })
    else if (name !== undefined) tokens.push({ kind: 'name', text: name, at })
    else if (number !== undefined) tokens.push({ kind: 'number', text: number, at })
    else if (sign !== undefined) tokens.push({ kind: 'sign', text: whole, at })
  }
  return tokens
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', f: '\f' }

const unquoted = (text: string): string => text.slice(1, -1).replace(/\\([\s\S])/g, (_, c: string) => ESCAPES[c] ?? c)
