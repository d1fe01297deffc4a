import { DescriptionError, type Group, type Setting } from './setting.ts'

/** Names of groups from the root to a setting. */
export type Path = readonly string[]
export interface Found {
  readonly setting: Setting
  readonly path: Path
}

const NAME = /^[A-Za-z*][-\w*]*$/

export function childOf(setting: Setting | undefined, name: string): Setting | undefined {
  return setting?.is === 'group' ? setting.settings.get(name) : undefined
}

/**
 * The setting at `path`. A group there may not link to another: SWUpdate 2022 follows such a `ref`, SWUpdate 2024 of Debian 13
 * reads the names on its way from memory that it has freed. Errors: DescriptionError.
 */
export function find(root: Group, path: Path): Found | undefined {
  const setting = path.reduce<Setting | undefined>(childOf, root)
  const link = linkOf(setting)
  if (!link) return setting && { setting, path }
  const name = path.at(-1) ?? ''
  throw new DescriptionError(
    'policy',
    link.line,
    `links the group ${name} with ref, which SWUpdate of Debian 13 cannot follow: link the entries of its lists`,
  )
}

/** Where an entry of a list at `path` links to. Errors: DescriptionError. */
export function findLinked(root: Group, path: Path, link: Link): Found {
  const found = find(root, follow(path, link))
  if (!found) throw deadEnd(link)
  return found
}

export interface Link {
  readonly target: string
  readonly line: number
}

/** The `ref` of a group. Errors: DescriptionError. */
export function linkOf(setting: Setting | undefined): Link | undefined {
  const ref = childOf(setting, 'ref')
  if (!ref) return undefined
  if (ref.is !== 'text') throw new DescriptionError('policy', ref.line, 'has a ref that is not a text')
  return { target: ref.value, line: ref.line }
}

/** SWUpdate's `set_find_path`: "#./x" and "#../x" begin beside the link, "#a/b" at the root. */
function follow(path: Path, { target, line }: Link): Path {
  const steps = target.slice(1).split('/').filter(Boolean)
  const first = steps[0] ?? ''
  const isSound = target.startsWith('#') && steps.every(step => step === '.' || step === '..' || NAME.test(step))
  if (!isSound || !NAME.test(steps.at(-1) ?? '')) {
    throw new DescriptionError('policy', line, `has the ref ${JSON.stringify(target)}, not one like "#./name"`)
  }
  const result = NAME.test(first) ? [] : path.slice(0, -1)
  for (const step of steps) {
    if (step === '..' && result.pop() === undefined) throw deadEnd({ target, line })
    if (NAME.test(step)) result.push(step)
  }
  return result
}

const deadEnd = ({ target, line }: Link): DescriptionError =>
  new DescriptionError('policy', line, `has the ref ${JSON.stringify(target)}, which leads nowhere`)
