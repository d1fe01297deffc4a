import { invalidArgument } from './errors.ts'
import { type Json, type JsonObject, member } from './json.ts'
import type { Column, Comparison, Condition, Operand, Path, Query } from './query-syntax.ts'

/** Evaluates a query over documents. What a path does not lead to is undefined, and so is every comparison with it. */
export function runQuery(query: Query, documents: Iterable<JsonObject>): JsonObject[] {
  const found: JsonObject[] = []
  for (const document of documents) {
    if (!query.where || holds(query.where, pathsOf(query, document)) === true) found.push(document)
  }
  if (query.select === null) return found
  if (query.groupBy.length === 0 && !query.select.some(({ of }) => of === 'count')) {
    return found.map(document => project(query.select!, pathsOf(query, document), 1))
  }
  return grouped(query, query.select, found)
}

type Lookup = (path: Path) => Json | undefined

/** Paths may be written with the collection in front: `devices.jobs.jobId`. */
function pathsOf({ from }: Query, document: JsonObject): Lookup {
  const prefix = from.split('.')
  return path => {
    const own = prefix.every((part, at) => path[at]?.toLowerCase() === part) ? path.slice(prefix.length) : path
    return own.reduce<Json | undefined>(member, document)
  }
}

/** Three-valued: undefined is neither true nor false, and NOT does not change that. */
function holds(condition: Condition, lookup: Lookup): boolean | undefined {
  switch (condition.op) {
    case 'and': {
      const [left, right] = [holds(condition.left, lookup), holds(condition.right, lookup)]
      return left === false || right === false ? false : left && right
    }
    case 'or': {
      const [left, right] = [holds(condition.left, lookup), holds(condition.right, lookup)]
      if (left === true || right === true) return true
      return left === undefined || right === undefined ? undefined : false
    }
    case 'not': {
      const inner = holds(condition.inner, lookup)
      return inner === undefined ? undefined : !inner
    }
    case 'compare':
      return compare(condition.by, resolved(condition.left, lookup), resolved(condition.right, lookup))
    case 'in': {
      const value = resolved(condition.operand, lookup)
      return value === undefined ? undefined : condition.list.some(item => item === value)
    }
    case 'is_defined':
      return lookup(condition.path) !== undefined
    case 'value': {
      const value = resolved(condition.operand, lookup)
      return typeof value === 'boolean' ? value : undefined
    }
    default: {
      const value = resolved(condition.operand, lookup)
      if (typeof value !== 'string') return undefined
      if (condition.op === 'startswith') return value.startsWith(condition.text)
      return condition.op === 'endswith' ? value.endsWith(condition.text) : value.includes(condition.text)
    }
  }
}

const resolved = (operand: Operand, lookup: Lookup) => ('path' in operand ? lookup(operand.path) : operand.literal)

function compare(by: Comparison, left: Json | undefined, right: Json | undefined): boolean | undefined {
  if (left === undefined || right === undefined) return undefined
  if (by === '=') return left === right
  if (by === '!=') return left !== right
  // Order exists among numbers and among texts, not between them.
  if (typeof left === 'number' && typeof right === 'number') return ordered(by, left - right)
  if (typeof left === 'string' && typeof right === 'string')
    return ordered(by, left < right ? -1 : left > right ? 1 : 0)
  return undefined
}

const ordered = (by: Comparison, order: number) =>
  ({ '<': order < 0, '<=': order <= 0, '>': order > 0, '>=': order >= 0 })[by as '<' | '<=' | '>' | '>=']

/** Columns that lead nowhere are left out. */
function project(columns: readonly Column[], lookup: Lookup, count: number): JsonObject {
  const cells = columns.map(({ as, of }) => [as, of === 'count' ? count : lookup(of)] as const)
  return Object.fromEntries(cells.filter((cell): cell is [string, Json] => cell[1] !== undefined))
}

function grouped(query: Query, columns: readonly Column[], documents: readonly JsonObject[]): JsonObject[] {
  const inGroup = (path: Path) => query.groupBy.some(key => key.join('.') === path.join('.'))
  const stray = columns.find(({ of }) => of !== 'count' && !inGroup(of))
  if (stray) throw invalidArgument(`query: ${stray.as} is neither COUNT() nor in GROUP BY`)

  const groups = new Map<string, { lookup: Lookup; count: number }>()
  for (const document of documents) {
    const lookup = pathsOf(query, document)
    const key = JSON.stringify(query.groupBy.map(path => [lookup(path)]))
    const group = groups.get(key)
    if (group) group.count += 1
    else groups.set(key, { lookup, count: 1 })
  }
  // Without GROUP BY there is one group, also when it is empty.
  if (query.groupBy.length === 0 && groups.size === 0) groups.set('', { lookup: () => undefined, count: 0 })
  return Array.from(groups.values(), ({ lookup, count }) => project(columns, lookup, count))
}
