import type { Component, ScriptWork } from '../../domain/deployment.ts'
import type { Verb } from '../../ports/steps.ts'

/** As scripts spell it. */
export const actionOf = (verb: Verb): string => (verb === 'isInstalled' ? 'is-installed' : verb)

export interface Call {
  readonly work: ScriptWork
  readonly action: string
  /** Absolute paths. */
  readonly workFolder: string
  readonly resultFile: string
  readonly installedCriteria?: string
  readonly component?: Component
  /** Words of the device's own, for `microsoft/swupdate:2`. */
  readonly ofDevice: readonly string[]
}

/** What the script is called with, in the order of the contract (PROTOCOL.md, "Script contract"). */
export function wordsOf(call: Call): readonly string[] {
  const { work, action, workFolder, resultFile, installedCriteria, component, ofDevice } = call
  const { swuFileName } = work
  return [
    ...(work.apiVersion === '1.1' ? ['--action', action] : [`--action-${action}`]),
    ...(swuFileName === undefined ? [] : ['--swu-file', `${workFolder}/${swuFileName}`, ...ofDevice]),
    ...withComponent(work.arguments, component, swuFileName === undefined ? [NONE] : []),
    ...['--work-folder', workFolder, '--result-file', resultFile],
    ...(installedCriteria ? ['--installed-criteria', installedCriteria] : []),
  ]
}

/** For a value that is missing. Not an empty word, at which many scripts stop reading. */
const NONE = 'n/a'

const VALUES = ['id', 'name', 'manufacturer', 'model', 'group', 'version'] as const

/** Both spellings, with what each stands for. */
const TOKENS: ReadonlyMap<string, (typeof VALUES)[number]> = new Map(
  VALUES.flatMap(value => [
    [`--component-${value}-val`, value],
    [`\${du_component_${value}}`, value],
  ]),
)

const PROPERTY: ReadonlySet<string> = new Set(['--component-prop-val', `\${du_component_prop}`])

function withComponent(
  words: readonly string[],
  component: Component | undefined,
  missing: readonly string[],
): readonly string[] {
  const found: string[] = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    const value = TOKENS.get(word)
    if (value) found.push(component?.[value] || NONE)
    else if (PROPERTY.has(word)) {
      const name = words[++at]
      const properties = component?.properties ?? {}
      const given = name !== undefined && Object.hasOwn(properties, name) ? properties[name] : undefined
      found.push(...(given ? [given] : missing))
    } else found.push(word)
  }
  return found
}
