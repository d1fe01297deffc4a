import { childOf, find, type Path } from './links.ts'
import { DescriptionError, type Setting } from './setting.ts'
import { type Choice, CONTENT, type Description, ITEM_LIMIT } from './sw-description.ts'

/** Every choice for which something is installed, in the order of the description. Errors: DescriptionError. */
export function choicesOf(description: Description): Choice[] {
  const { root, software } = description
  const groups = (setting: Setting): string[] =>
    setting.is === 'group' ? [...setting.settings].flatMap(([name, each]) => (each.is === 'group' ? [name] : [])) : []
  const has = (path: Path, names: readonly string[]): boolean => {
    const found = find(root, ['software', ...path])
    return names.some(name => childOf(found?.setting, name) !== undefined)
  }
  const boards = groups(software).filter(name => has([name], ['hardware-compatibility']))
  const isAny = has([], ['hardware-compatibility'])
  const choices: Choice[] = []
  for (const first of groups(software)) {
    if (has([first], CONTENT)) choices.push({ board: first })
    for (const second of groups(software.settings.get(first)!)) {
      const choice = { set: first, mode: second }
      if (has([first, second], CONTENT)) {
        const fits = isAny || has([first, second], ['hardware-compatibility']) || boards.length === 0
        choices.push(...(fits ? [choice] : boards.map(board => ({ board, ...choice }))))
      }
      for (const third of groups(childOf(software.settings.get(first), second)!)) {
        if (has([first, second, third], CONTENT)) choices.push({ board: first, set: second, mode: third })
      }
    }
    if (choices.length > ITEM_LIMIT) {
      throw new DescriptionError('policy', software.line, `has more than ${ITEM_LIMIT} selections`)
    }
  }
  return has([], CONTENT) ? [...choices, {}] : choices
}
