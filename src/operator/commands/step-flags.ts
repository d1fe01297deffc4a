import { basename } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { EXIT, Failure } from '../failure.ts'
import { type RelatedEntry, type StepEntry, type WantedStep, wantedStep } from '../import-manifest/wanted-step.ts'

/**
 * The options that describe steps. Each `--step` begins one, and the options behind it belong to it. Before the first, they
 * belong to the only one.
 */
export class StepFlags {
  #early: StepEntry = { step: '' }
  readonly #drafts: StepEntry[] = []

  addBundleTo(command: Command): Command {
    return command.option('--bundle <file>', 'the bundle (.swu): the same as --step image:FILE', this.#begin('image:'))
  }

  addTo(command: Command): Command {
    return command
      .option(
        '--step <step>',
        'a step, in order: image:FILE, script:FILE, apt:FILE, ref:MANIFEST, or a handler of your own',
        this.#begin(''),
      )
      .option(
        '--file <file>',
        'one more file of the step',
        this.#with((draft, file) => ({ files: [...(draft.files ?? []), file] })),
      )
      .addOption(
        new Option('--handler <handler>', 'handler that installs the bundle (default: microsoft/swupdate:2)').argParser(
          this.#with((_, handler) => {
            if (!HANDLERS.includes(handler))
              throw new InvalidArgumentError(`Allowed choices are ${HANDLERS.join(', ')}.`)
            return { handler }
          }),
        ),
      )
      .option(
        '--installed-criteria <text>',
        'tells that the step is done; for an image the first line of the new version file (default: the version of the bundle)',
        this.#with((_, text) => ({ installedCriteria: text })),
      )
      .option(
        '--arguments <words>',
        'for the script',
        this.#with((_, words) => ({ arguments: words })),
      )
      .addOption(
        new Option('--api-version <version>', 'how the script gets its action: 1.0 or 1.1').argParser(
          this.#with((_, version) => {
            if (version !== '1.0' && version !== '1.1') throw new InvalidArgumentError('Allowed choices are 1.0, 1.1.')
            return { apiVersion: version }
          }),
        ),
      )
      .option(
        '--script <file>',
        'a script that installs the image',
        this.#with((_, file) => ({ script: file })),
      )
      .option(
        '--property <name=value>',
        'one more of handlerProperties',
        this.#with((draft, pair) => ({ properties: { ...draft.properties, ...pairOf(pair) } })),
      )
      .option(
        '--step-description <text>',
        'a description of the step for people',
        this.#with((_, text) => ({ description: text })),
      )
      .option('--related-file <file>', 'stands in for the file before it, such as a delta', this.#with(addRelated))
      .option(
        '--related-source <file>',
        'the old file that the delta starts from',
        this.#with((draft, source) => changeRelated(draft, { source })),
      )
      .option(
        '--related-property <name=value>',
        'of the related file',
        this.#with((draft, pair) => {
          const properties = { ...draft.relatedFiles?.at(-1)?.properties, ...pairOf(pair) }
          return changeRelated(draft, { properties })
        }),
      )
      .option(
        '--download-handler <id>',
        'handler that uses the related files (default: microsoft/delta:1)',
        this.#with((_, id) => ({ downloadHandler: id })),
      )
  }

  /** In order. Errors: Failure. */
  steps(): readonly WantedStep[] {
    const { step: _, ...early } = this.#early
    const [first] = this.#drafts
    const [stray] = Object.keys(early)
    if (stray !== undefined && this.#drafts.length > 1) {
      throw new Failure(EXIT.usage, `${stray} belongs to one of the steps: put its option behind the --step`)
    }
    const drafts = first && stray !== undefined ? [{ ...first, ...early }] : this.#drafts
    return drafts.map(draft => wantedStep(draft, `--step ${draft.step}`))
  }

  #begin(prefix: string) {
    return (value: string) => {
      this.#drafts.push({ step: `${prefix}${value}` })
      return value
    }
  }

  #with(change: (draft: StepEntry, value: string) => Partial<StepEntry>) {
    return (value: string) => {
      const last = this.#drafts.pop()
      const changed = { ...(last ?? this.#early), ...change(last ?? this.#early, value) }
      if (last) this.#drafts.push(changed)
      else this.#early = changed
      return value
    }
  }
}

const HANDLERS = ['microsoft/swupdate:2', 'microsoft/swupdate:1']

function addRelated({ files, relatedFiles = [] }: StepEntry, file: string): Partial<StepEntry> {
  const before = files?.at(-1)
  return { relatedFiles: [...relatedFiles, { file, ...(before === undefined ? {} : { of: basename(before) }) }] }
}

function changeRelated({ relatedFiles = [] }: StepEntry, change: Partial<RelatedEntry>): Partial<StepEntry> {
  const last = relatedFiles.at(-1)
  if (!last) throw new InvalidArgumentError('It belongs to a related file: put it behind --related-file.')
  return { relatedFiles: [...relatedFiles.slice(0, -1), { ...last, ...change }] }
}

function pairOf(text: string): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('It must look like name=value.')
  return { [text.slice(0, at)]: text.slice(at + 1) }
}
