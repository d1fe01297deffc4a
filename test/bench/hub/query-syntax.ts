import { invalidArgument } from './errors.ts'

/** IoT Hub's query language, as far as the bench knows it: text to syntax tree. What it does not know is refused by position. */

export type Literal = string | number | boolean | null
export type Path = readonly string[]
export type Comparison = '=' | '!=' | '<' | '<=' | '>' | '>='
export type Operand = { readonly literal: Literal } | { readonly path: Path }
export type Condition =
  | { readonly op: 'and' | 'or'; readonly left: Condition; readonly right: Condition }
  | { readonly op: 'not'; readonly inner: Condition }
  | { readonly op: 'compare'; readonly by: Comparison; readonly left: Operand; readonly right: Operand }
  | { readonly op: 'in'; readonly operand: Operand; readonly list: readonly Literal[] }
  | { readonly op: 'is_defined'; readonly path: Path }
  | { readonly op: 'startswith' | 'endswith' | 'contains'; readonly operand: Operand; readonly text: string }
  | { readonly op: 'value'; readonly operand: Operand }

export interface Column {
  readonly as: string
  /** 'count' is `COUNT()`. */
  readonly of: Path | 'count'
}

export interface Query {
  readonly from: 'devices' | 'devices.modules' | 'devices.jobs'
  /** Null: everything, `SELECT *`. */
  readonly select: readonly Column[] | null
  readonly where: Condition | null
  readonly groupBy: readonly Path[]
}

type Token =
  | { readonly kind: 'word' | 'symbol'; readonly text: string; readonly at: number }
  | { readonly kind: 'literal'; readonly value: string | number; readonly text: string; readonly at: number }

const MAX_LENGTH = 8 * 1024
/** Nesting of conditions, so that no query overflows our stack. */
const MAX_DEPTH = 50

const TOKEN =
  /\s+|(?<word>[A-Za-z_$][\w$-]*)|(?<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?<string>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*")|(?<symbol><>|!=|<=|>=|[=<>(),.*[\]])/uy

/** Throws HubError (400) that names the position of the first unknown token, counted from 1. */
export function parseQuery(text: string): Query {
  if (text.length > MAX_LENGTH) throw invalidArgument(`the query is longer than ${MAX_LENGTH} characters`)
  return new Parser(tokenize(text), text.length).query()
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = []
  const scanner = new RegExp(TOKEN)
  while (scanner.lastIndex < text.length) {
    const at = scanner.lastIndex
    const groups = scanner.exec(text)?.groups
    if (!groups) throw invalidArgument(`query: unexpected ${JSON.stringify(text[at])} at position ${at + 1}`)
    const { word, number, string, symbol } = groups
    if (word !== undefined) tokens.push({ kind: 'word', text: word, at })
    else if (symbol !== undefined) tokens.push({ kind: 'symbol', text: symbol, at })
    else if (number !== undefined) tokens.push({ kind: 'literal', value: Number(number), text: number, at })
    else if (string !== undefined) tokens.push({ kind: 'literal', value: unquoted(string), text: string, at })
  }
  return tokens
}

const unquoted = (quoted: string) =>
  quoted.slice(1, -1).replaceAll(/\\(.)|''/g, (pair, escaped) => (pair === "''" ? "'" : escaped))

class Parser {
  readonly #tokens: readonly Token[]
  readonly #length: number
  #next = 0
  #depth = 0

  constructor(tokens: readonly Token[], length: number) {
    this.#tokens = tokens
    this.#length = length
  }

  query(): Query {
    this.#expect('SELECT')
    const select = this.#take('*') ? null : this.#list(() => this.#column())
    this.#expect('FROM')
    const from = this.#path().join('.').toLowerCase()
    if (from !== 'devices' && from !== 'devices.modules' && from !== 'devices.jobs') throw this.#unexpected(-1)
    const where = this.#take('WHERE') ? this.#or() : null
    let groupBy: Path[] = []
    if (this.#take('GROUP')) {
      this.#expect('BY')
      groupBy = this.#list(() => this.#path())
    }
    if (this.#next < this.#tokens.length) throw this.#unexpected()
    if (groupBy.length > 0 && select === null) throw invalidArgument('query: GROUP BY needs columns, not *')
    return { from, select, where, groupBy }
  }

  #column(): Column {
    const of = this.#call('COUNT') ? this.#closeCount() : this.#path()
    const as = this.#take('AS') ? this.#word() : of === 'count' ? 'count' : of.at(-1)!
    return { as, of }
  }

  #closeCount(): 'count' {
    this.#take('*')
    this.#expect(')')
    return 'count'
  }

  #or(): Condition {
    let left = this.#and()
    while (this.#take('OR')) left = { op: 'or', left, right: this.#and() }
    return left
  }

  #and(): Condition {
    let left = this.#not()
    while (this.#take('AND')) left = { op: 'and', left, right: this.#not() }
    return left
  }

  #not(): Condition {
    this.#depth += 1
    if (this.#depth > MAX_DEPTH) throw invalidArgument('query: conditions are nested too deeply')
    const condition: Condition = this.#take('NOT') ? { op: 'not', inner: this.#not() } : this.#primary()
    this.#depth -= 1
    return condition
  }

  #primary(): Condition {
    if (this.#take('(')) {
      const inner = this.#or()
      this.#expect(')')
      return inner
    }
    if (this.#call('IS_DEFINED')) {
      const path = this.#path()
      this.#expect(')')
      return { op: 'is_defined', path }
    }
    for (const op of ['startswith', 'endswith', 'contains'] as const) {
      if (this.#call(op.toUpperCase())) return this.#textTest(op)
    }
    const operand = this.#operand()
    if (this.#take('IN')) return { op: 'in', operand, list: this.#literals() }
    if (this.#take('NIN')) return { op: 'not', inner: { op: 'in', operand, list: this.#literals() } }
    const symbol = this.#peek()?.text
    const by = symbol === '<>' ? '!=' : symbol
    if (by === '=' || by === '!=' || by === '<' || by === '<=' || by === '>' || by === '>=') {
      this.#next += 1
      return { op: 'compare', by, left: operand, right: this.#operand() }
    }
    return { op: 'value', operand }
  }

  #textTest(op: 'startswith' | 'endswith' | 'contains'): Condition {
    const operand = this.#operand()
    this.#expect(',')
    const text = this.#literal()
    if (typeof text !== 'string') throw this.#unexpected(-1)
    this.#expect(')')
    return { op, operand, text }
  }

  #literals(): Literal[] {
    this.#expect('[')
    const list = this.#list(() => this.#literal())
    this.#expect(']')
    return list
  }

  #operand(): Operand {
    const token = this.#peek()
    if (token?.kind === 'literal' || (token && isNamedLiteral(token.text))) return { literal: this.#literal() }
    return { path: this.#path() }
  }

  #literal(): Literal {
    const token = this.#peek()
    if (!token) throw this.#unexpected()
    this.#next += 1
    if (token.kind === 'literal') return token.value
    if (!isNamedLiteral(token.text)) throw this.#unexpected(-1)
    return { true: true, false: false, null: null }[token.text.toLowerCase() as 'true' | 'false' | 'null']
  }

  /** Names joined by dots; `[a.b]`-style quoting is not known. */
  #path(): Path {
    const first = this.#peek()
    if (first && RESERVED.has(first.text.toUpperCase())) throw this.#unexpected()
    const path = [this.#word()]
    while (this.#take('.')) path.push(this.#word())
    return path
  }

  #word(): string {
    const token = this.#peek()
    if (token?.kind !== 'word') throw this.#unexpected()
    this.#next += 1
    return token.text
  }

  #list<T>(item: () => T): T[] {
    const items = [item()]
    while (this.#take(',')) items.push(item())
    return items
  }

  #call(name: string): boolean {
    if (this.#tokens[this.#next + 1]?.text !== '(' || !this.#take(name)) return false
    this.#expect('(')
    return true
  }

  #take(text: string): boolean {
    const token = this.#peek()
    if (token === undefined || token.kind === 'literal' || token.text.toUpperCase() !== text) return false
    this.#next += 1
    return true
  }

  #expect(text: string): void {
    if (!this.#take(text)) throw this.#unexpected(0, text)
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#next]
  }

  #unexpected(offset = 0, wanted?: string) {
    const token = this.#tokens[this.#next + offset]
    const found = token ? `unexpected ${JSON.stringify(token.text)}` : 'unexpected end'
    const instead = wanted === undefined ? '' : `, expected ${wanted}`
    return invalidArgument(`query: ${found} at position ${(token?.at ?? this.#length) + 1}${instead}`)
  }
}

const RESERVED = new Set(['SELECT', 'FROM', 'WHERE', 'GROUP', 'BY', 'AS', 'AND', 'OR', 'NOT', 'IN', 'NIN'])

const isNamedLiteral = (text: string) => /^(true|false|null)$/i.test(text)
