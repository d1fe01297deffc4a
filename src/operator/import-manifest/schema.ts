import * as v from 'valibot'

/** Import manifests of versions 4.0 and 5.0: what each member may be (PROTOCOL.md, "Import schema"). */

const between = (least: number, most: number) => `must have ${least} to ${most} characters`
const text = (least: number, most: number) =>
  v.pipe(v.string('must be a text'), v.minLength(least, between(least, most)), v.maxLength(most, between(least, most)))

/** Refuses unknown members; a mistyped name would be ignored silently. */
const only = <E extends v.ObjectEntries>(entries: E) => v.strictObject(entries)

const list = <S extends v.GenericSchema>(item: S, least: number, most: number) =>
  v.pipe(
    v.array(item, 'must be a list'),
    v.minLength(least, `must have at least ${least} ${least === 1 ? 'entry' : 'entries'}`),
    v.maxLength(most, `must have at most ${most} entries`),
  )

const name = v.pipe(text(1, 64), v.regex(/^[a-zA-Z0-9.-]+$/, 'may have letters, digits, dots and hyphens only'))
const version = v.pipe(
  v.string('must be a text'),
  v.regex(/^\d+(\.\d+){1,3}$/, 'must be 2 to 4 numbers with dots, like "1.2.3"'),
  v.check(each => each.split('.').every(part => Number(part) <= 2147483647), 'has a number above 2147483647'),
)
export const updateId = only({ provider: name, name, version })

const handler = v.pipe(text(5, 32), v.regex(/^\S+\/\S+:\d{1,5}$/, 'must be like "microsoft/swupdate:2"'))
const fileName = v.pipe(
  text(1, 255),
  v.regex(/^[^/\\]+$/, 'must be a plain file name'),
  v.check(each => each !== '.' && each !== '..', 'must be a plain file name'),
)
const stepDescription = v.exactOptional(text(1, 64))

const inlineStep = only({
  type: v.exactOptional(v.literal('inline', 'must be "inline" or "reference"')),
  description: stepDescription,
  handler,
  files: list(fileName, 1, 10),
  handlerProperties: v.exactOptional(v.record(v.string(), v.unknown(), 'must be an object')),
})
const referenceStep = only({
  type: v.literal('reference'),
  description: stepDescription,
  updateId,
})
const step = v.lazy(value => ((value as { type?: unknown } | null)?.type === 'reference' ? referenceStep : inlineStep))

const size = v.pipe(
  v.number('must be a number'),
  v.integer('must be a whole number'),
  v.minValue(1, 'must be at least 1'),
  v.maxValue(2147483648, 'must be at most 2147483648 (2 GiB)'),
)
const sha256 = v.pipe(
  v.string('is missing, or no text'),
  v.regex(/^[A-Za-z0-9+/]{43}=$/, 'must be a SHA-256 in base64: 44 characters'),
)
const hashes = v.pipe(
  v.looseObject({ sha256 }, 'must be an object with sha256'),
  v.check(each => Object.keys(each).length <= 2, 'may have one more hash beside sha256'),
  v.check(each => Object.keys(each).every(key => key.length <= 10), 'has a hash whose name is longer than 10'),
)
const properties = v.exactOptional(v.record(v.string(), v.unknown(), 'must be an object'))

const plainFile = { filename: fileName, sizeInBytes: size, hashes }
const relatedFile = only({ ...plainFile, properties })
const file4 = only(plainFile)
const file5 = only({
  ...plainFile,
  properties,
  relatedFiles: v.exactOptional(list(relatedFile, 0, 4)),
  downloadHandler: v.exactOptional(only({ id: handler })),
})

const pairs = v.pipe(
  v.record(text(1, 32), text(1, 64), 'must be an object'),
  v.check(each => Object.keys(each).length >= 1 && Object.keys(each).length <= 5, 'must have 1 to 5 properties'),
)

const manifest = <F extends v.GenericSchema>(file: F) =>
  only({
    $schema: v.exactOptional(v.string('must be a text')),
    updateId,
    isDeployable: v.exactOptional(v.boolean('must be true or false')),
    description: v.exactOptional(text(1, 512)),
    compatibility: list(pairs, 1, 10),
    instructions: only({ steps: list(step, 1, 10) }),
    files: v.exactOptional(list(file, 0, 10)),
    manifestVersion: v.string(),
    createdDateTime: v.pipe(
      v.string('must be a text'),
      v.regex(
        /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
        'must be a time like "2026-01-19T06:23:52Z"',
      ),
      v.check(each => !Number.isNaN(Date.parse(each)), 'is not a valid time'),
    ),
  })

export const SCHEMAS = { '4.0': manifest(file4), '5.0': manifest(file5) } as const
export type ManifestVersion = keyof typeof SCHEMAS
export type ImportManifest = v.InferOutput<(typeof SCHEMAS)['5.0']>
export type InlineStep = v.InferOutput<typeof inlineStep>
export type ReferenceStep = v.InferOutput<typeof referenceStep>
export type File = NonNullable<ImportManifest['files']>[number]
export type UpdateId = v.InferOutput<typeof updateId>
