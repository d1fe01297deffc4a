import type { Group, Setting } from './setting.ts'

export interface Named {
  readonly name: string
  readonly setting: Setting
  /** Whether it belongs to an entry of a list, not to a group that selections are made of. */
  readonly inEntry: boolean
}

/** Every setting below `setting`, in the order of the text. */
export function* settingsOf(setting: Setting, inEntry = false): Generator<Named> {
  if (setting.is === 'list') for (const item of setting.items) yield* settingsOf(item, true)
  if (setting.is !== 'group') return
  for (const [name, each] of setting.settings) {
    yield { name, setting: each, inEntry }
    yield* settingsOf(each, inEntry)
  }
}

/** Every entry of a list, whatever it is for. */
export function entriesOf(root: Group): Group[] {
  const lists = [...settingsOf(root)].flatMap(({ setting }) => (setting.is === 'list' ? setting.items : []))
  return lists.filter((each): each is Group => each.is === 'group')
}

/** The files that entries name, wherever they are, in the order of the text. */
export function fileNamesOf(root: Group): string[] {
  const named = entriesOf(root).map(({ settings }) => settings.get('filename'))
  return [...new Set(named.flatMap(each => (each?.is === 'text' ? each.value : [])))]
}
