import { basename, isAbsolute, join } from 'node:path'
import * as v from 'valibot'
import { EXIT, Failure } from '../failure.ts'

const text = v.pipe(v.string('must be a text'), v.nonEmpty('is empty'))
const properties = v.record(v.string(), v.unknown(), 'must be an object')

const relatedFile = v.strictObject(
  {
    file: text,
    /** Name of the step's file that it stands in for; default: the step's first one. */
    of: v.exactOptional(text),
    /** The file that it is a difference to: its hash becomes the properties of `microsoft/delta:1`. */
    source: v.exactOptional(text),
    properties: v.exactOptional(properties),
  },
  'must be an object',
)

const entry = v.strictObject(
  {
    step: text,
    description: v.exactOptional(text),
    files: v.exactOptional(v.array(text, 'must be a list')),
    handler: v.exactOptional(text),
    installedCriteria: v.exactOptional(v.string('must be a text')),
    script: v.exactOptional(text),
    arguments: v.exactOptional(v.string('must be a text')),
    apiVersion: v.exactOptional(v.picklist(['1.0', '1.1'], 'must be "1.0" or "1.1"')),
    properties: v.exactOptional(properties),
    relatedFiles: v.exactOptional(v.array(relatedFile, 'must be a list')),
    downloadHandler: v.exactOptional(text),
  },
  'must be an object',
)

/** One step as its author writes it: an entry of a steps file, or a `--step` and the options behind it. */
export type StepEntry = v.InferOutput<typeof entry>
export type RelatedEntry = v.InferOutput<typeof relatedFile>

export type Kind = 'image' | 'script' | 'apt' | 'ref' | 'own'

/** A step whose options fit its kind. Files are paths on the author's machine, the main one first. */
export interface WantedStep extends Omit<StepEntry, 'step' | 'files' | 'handler'> {
  readonly kind: Kind
  readonly handler: string
  readonly files: readonly string[]
}

/** The entries of a steps file, which is a JSON list. Paths in it start at `folder`. Errors: Failure. */
export function stepsIn(json: unknown, file: string, folder: string): readonly WantedStep[] {
  const result = v.safeParse(v.pipe(v.array(entry, 'must be a list of steps'), v.minLength(1, 'has no step')), json)
  if (result.success) return result.output.map((each, index) => wantedStep(each, `${file}: step ${index}`, folder))
  const faults = result.issues.map(issue => {
    const unknown = issue.expected === 'never'
    const what = issue.received === 'undefined' ? 'is missing' : unknown ? 'is not known here' : issue.message
    return `${v.getDotPath(issue) ?? 'it'} ${what}`
  })
  throw new Failure(EXIT.failed, `${file}: ${faults.join('; ')}`)
}

/** The handler of each kind; `own` names its handler itself. */
const HANDLER = {
  image: 'microsoft/swupdate:2',
  script: 'microsoft/script:1',
  apt: 'microsoft/apt:1',
  ref: '',
} as const
const IMAGE_HANDLERS = ['microsoft/swupdate:2', 'microsoft/swupdate:1']

/** Which members each kind may have, besides `step` and `description`. */
const MEMBERS: Readonly<Record<Kind, readonly string[]>> = {
  image: 'files handler installedCriteria script arguments apiVersion properties relatedFiles downloadHandler'.split(
    ' ',
  ),
  script: 'files installedCriteria arguments apiVersion properties relatedFiles downloadHandler'.split(' '),
  apt: 'installedCriteria relatedFiles downloadHandler'.split(' '),
  ref: [],
  own: 'files installedCriteria arguments properties relatedFiles downloadHandler'.split(' '),
}

/** Checks one step by itself. `where`: how messages name it. Errors: Failure. */
export function wantedStep(given: StepEntry, where: string, folder = '.'): WantedStep {
  const { step, files: more = [], handler: chosen, ...rest } = given
  const [, word = '', main = ''] = /^(image|script|apt|ref):(.+)$/.exec(step) ?? []
  const kind: Kind = word === '' ? 'own' : (word as Kind)
  if (kind === 'own' && !/^\S+\/\S+:\d{1,5}$/.test(step)) {
    bad(`"${step}" is not a step: image:FILE, script:FILE, apt:FILE, ref:FILE, or a handler such as contoso/mcu:1`)
  }
  const stray = Object.keys(given).find(key => !['step', 'description', ...MEMBERS[kind]].includes(key))
  if (stray !== undefined) bad(`a step "${word || 'with its own handler'}" has no ${stray}`)
  if (kind === 'own' && more.length === 0) bad(`${step} has no file; the service wants at least one for each step`)
  if (chosen !== undefined && !IMAGE_HANDLERS.includes(chosen)) bad(`Allowed choices are ${IMAGE_HANDLERS.join(', ')}`)
  if (kind === 'image' && rest.script === undefined) {
    for (const key of ['arguments', 'apiVersion'] as const) {
      if (rest[key] !== undefined) bad(`${key} is for the script of an image step, and this one has none`)
    }
  } else if (chosen === 'microsoft/swupdate:1') bad('microsoft/swupdate:1 takes no script')
  const taken = Object.keys(rest.properties ?? {}).find(key => RESERVED.includes(key))
  if (taken !== undefined) bad(`the property ${taken} is set by an option of its own`)
  const at = (path: string): string => (isAbsolute(path) ? path : join(folder, path))
  const paths = [main, ...(rest.script === undefined ? [] : [rest.script]), ...more].filter(Boolean).map(at)
  const related = rest.relatedFiles?.map(each => relatedOf(each, paths))
  return {
    ...rest,
    kind,
    handler: kind === 'own' ? step : (chosen ?? HANDLER[kind]),
    files: [...new Set(paths)],
    ...(rest.script === undefined ? {} : { script: at(rest.script) }),
    ...(related === undefined ? {} : { relatedFiles: related }),
  }

  function relatedOf(each: RelatedEntry, paths: readonly string[]): RelatedEntry {
    const of = each.of ?? basename(paths[0] ?? '')
    if (!paths.some(path => basename(path) === of))
      bad(`the related file ${each.file} is for ${of}, which is not in the step`)
    const source = each.source === undefined ? {} : { source: at(each.source) }
    return { ...each, of, file: at(each.file), ...source }
  }

  function bad(message: string): never {
    throw new Failure(EXIT.usage, `${where}: ${message}`)
  }
}

const RESERVED = ['installedCriteria', 'scriptFileName', 'swuFileName', 'arguments', 'apiVersion']
