import * as v from 'valibot'

type Schema = v.BaseSchema<unknown, unknown, v.BaseIssue<unknown>>

/** What the documentation says about one setting, in Markdown. */
export interface Doc {
  /** One line. */
  readonly meaning: string
  /** What applies when the setting is absent, where the default value does not say it. */
  readonly otherwise: string | undefined
}

const documented = <S extends Schema>(schema: S, meaning: string, otherwise?: string): S & { readonly doc: Doc } => ({
  ...schema,
  doc: { meaning, otherwise },
})

/** A setting with a default value. `otherwise`: what the default means, where the value does not say it. */
export const setting = <S extends Schema, const D extends v.Default<S, never>>(
  schema: S,
  fallback: D,
  meaning: string,
  otherwise?: string,
) => documented(v.exactOptional(schema, fallback), meaning, otherwise)

/** A setting that may be absent. `otherwise`: what applies then. */
export const optional = <S extends Schema>(schema: S, otherwise: string, meaning: string) =>
  documented(v.exactOptional(schema), meaning, otherwise)

/** A setting that its section must have. */
export const required = <S extends Schema>(schema: S, meaning: string) => documented(schema, meaning)

/** A mistyped name would otherwise be a setting that silently does nothing. */
export const section = <E extends v.ObjectEntries>(entries: E) => v.strictObject(entries)

export interface Setting {
  /** Its place in the file: `piAdu.hub.caFile`, `agents[0].name`. */
  readonly name: string
  readonly path: readonly (string | number)[]
  /** Undefined when there is none. */
  readonly fallback: unknown
  readonly doc: Doc
}

/** The members of valibot's and our own schemas for objects, lists and choices. */
interface Shape {
  readonly doc?: Doc
  readonly default?: unknown
  readonly wrapped?: Shape
  readonly entries?: Readonly<Record<string, Shape>>
  readonly item?: Shape
  readonly options?: readonly Shape[]
}

/** All settings in a schema, in the order of their definition. `given`: the default of a section that the schema is in. */
export function settingsIn(schema: unknown, path: Setting['path'] = [], given?: unknown): readonly Setting[] {
  const { doc, entries, item, wrapped, options = [], default: fallback = given } = schema as Shape
  if (doc) return [{ name: nameOf(path), path, fallback, doc }]
  if (wrapped) return settingsIn(wrapped, path, fallback)
  if (item) return settingsIn(item, [...path, 0])
  return entries
    ? Object.entries(entries).flatMap(([name, each]) => settingsIn(each, [...path, name], valueAt(fallback, [name])))
    : options.flatMap(option => settingsIn(option, path))
}

const nameOf = (path: Setting['path']): string =>
  path
    .map(each => (typeof each === 'number' ? `[${each}]` : `.${each}`))
    .join('')
    .slice(1)

/** Undefined where there is nothing. */
export const valueAt = (value: unknown, path: Setting['path']): unknown =>
  path.reduce<unknown>((inside, name) => (inside as Record<string | number, unknown> | null | undefined)?.[name], value)
