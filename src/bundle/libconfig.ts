import { type Token, tokenize } from './libconfig-scanner.ts'
import { DescriptionError, type Group, type Numeric, type Scalar, type Setting } from './setting.ts'

/**
 * libconfig's language, in which `sw-description` is written: what libconfig 1.5 (Debian 12) and 1.7 (Debian 13) both accept with
 * the same meaning. The grammar follows libconfig's manual, "Configuration Files", and its scanner.
 */

/** A description of two images has about a thousand bytes. */
export const MAX_DESCRIPTION_BYTES = 131_072
const MAX_DEPTH = 32

/** Parses a whole description. Errors: DescriptionError. */
export function parseLibconfig(bytes: Uint8Array): Group {
  checkEncoding(bytes)
  // One character per byte; only texts are decoded.
  return new Parser(tokenize(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1'))).document()
}

function checkEncoding(bytes: Uint8Array): void {
  if (bytes.length > MAX_DESCRIPTION_BYTES) {
    throw new DescriptionError('policy', 1, `has ${bytes.length} bytes, more than ${MAX_DESCRIPTION_BYTES}`)
  }
  const [first, second, third] = bytes
  if (first === 0xef && second === 0xbb && third === 0xbf) {
    throw new DescriptionError('swupdate', 1, 'begins with a byte order mark: save it as UTF-8 without one')
  }
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    throw new DescriptionError('swupdate', 1, 'is UTF-16: save it as UTF-8 without a byte order mark')
  }
  const zero = bytes.indexOf(0)
  if (zero >= 0) {
    const line = bytes.subarray(0, zero).filter(byte => byte === 10).length + 1
    throw new DescriptionError('policy', line, 'has a byte of zero')
  }
}

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  document(): Group {
    const first = this.#tokens[0]
    if (first?.text === '{') {
      throw new DescriptionError('policy', first.line, 'is JSON: only the libconfig form is supported, rewrite it')
    }
    return { is: 'group', line: 1, settings: this.#settings(0, undefined) }
  }

  #settings(depth: number, end: '}' | undefined): ReadonlyMap<string, Setting> {
    const found = new Map<string, Setting>()
    for (;;) {
      const token = this.#take()
      if (token?.text === end) return found
      if (token?.kind !== 'name') this.#fail(token, end ? 'a name or "}"' : 'a name')
      const { text: name, line } = token
      const earlier = found.get(name)
      if (earlier) throw new DescriptionError('swupdate', line, `has ${name} twice, first in line ${earlier.line}`)
      const sign = this.#take()
      if (sign?.text !== '=' && sign?.text !== ':') this.#fail(sign, `"=" after ${name}`)
      found.set(name, this.#value(depth, line))
      // At most one; a second one is an error.
      if (this.#is(';') || this.#is(',')) this.#at += 1
    }
  }

  #value(depth: number, line?: number): Setting {
    const token = this.#take()
    if (!token || token.kind === 'name') this.#fail(token, 'a value')
    const where = { line: line ?? token.line }
    if (token.kind !== 'sign') return { ...this.#scalar(token), ...where }
    if (depth >= MAX_DEPTH) throw new DescriptionError('policy', token.line, `has more than ${MAX_DEPTH} nested levels`)
    if (token.text === '{') return { is: 'group', settings: this.#settings(depth + 1, '}'), ...where }
    if (token.text === '(') return { is: 'list', items: this.#items(')', () => this.#value(depth + 1)), ...where }
    if (token.text === '[') return { is: 'array', items: this.#array(), ...where }
    this.#fail(token, 'a value')
  }

  #array(): Scalar[] {
    const items = this.#items(']', () => {
      const token = this.#take()
      if (!token || token.kind === 'name' || token.kind === 'sign') this.#fail(token, 'a text, a number or a boolean')
      return this.#scalar(token)
    })
    const other = items.find(each => each.is !== items[0]?.is)
    if (other) throw new DescriptionError('swupdate', other.line, 'has an array of mixed types')
    return items
  }

  #items<T>(end: ')' | ']', item: () => T): T[] {
    const items: T[] = []
    while (!this.#is(end)) {
      items.push(item())
      if (this.#is(end)) break
      const token = this.#take()
      if (token?.text !== ',') this.#fail(token, `"," or "${end}"`)
      if (this.#is(end)) {
        throw new DescriptionError('policy', token.line, `has "," before "${end}", which SWUpdate of Debian 12 refuses`)
      }
    }
    this.#at += 1
    return items
  }

  #scalar(token: Token): Scalar {
    const { kind, text, line } = token
    if (kind === 'boolean') return { is: 'boolean', value: text.toLowerCase() === 'true', line }
    if (kind !== 'text') return { is: kind as Numeric['is'], value: numberOf(token), line }
    let value = unquoted(token)
    for (let next = this.#tokens[this.#at]; next?.kind === 'text'; next = this.#tokens[this.#at]) {
      value += unquoted(next)
      this.#at += 1
    }
    return { is: 'text', value: decoded(value, line), line }
  }

  #is(text: string): boolean {
    return this.#tokens[this.#at]?.text === text
  }

  #take(): Token | undefined {
    this.#at += 1
    return this.#tokens[this.#at - 1]
  }

  #fail(token: Token | undefined, wanted: string): never {
    const line = token?.line ?? this.#tokens.at(-1)?.line ?? 1
    const found = token ? `has ${token.text.slice(0, 40)}` : 'ends'
    throw new DescriptionError('swupdate', line, `${found} where ${wanted} should be`)
  }
}

function numberOf({ kind, text, line }: Token): number {
  if (kind === 'float') return Number.parseFloat(text) || 0
  const value = Number(text.replace(/L+$/, ''))
  const fits = kind === 'integer' ? value >= -0x80000000 && value <= 0x7fffffff : Number.isSafeInteger(value)
  if (fits) return value
  const hint = kind === 'integer' ? ': a number of more than 31 bits ends with L' : ''
  throw new DescriptionError('policy', line, `has the number ${text.slice(0, 40)}, which is too large${hint}`)
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', f: '\f', '\\': '\\', '"': '"' }

function unquoted({ text, line }: Token): string {
  return text.slice(1, -1).replace(/\\(?:[xX]([\da-fA-F]{2})|([\s\S]))/g, (whole, hex?: string, plain = '') => {
    const found = hex === undefined ? ESCAPES[plain] : String.fromCharCode(Number.parseInt(hex, 16))
    if (found !== undefined && found !== '\0') return found
    throw new DescriptionError('policy', line, `has the escape ${JSON.stringify(whole).slice(1, -1)} in a text`)
  })
}

function decoded(bytes: string, line: number): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(bytes, 'latin1'))
  } catch {
    throw new DescriptionError('policy', line, 'has a text that is not UTF-8')
  }
}
