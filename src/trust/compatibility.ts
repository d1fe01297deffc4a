type Pairs = Readonly<Record<string, string>>

/** `unknown`: no entry names a property that this device has. */
export type Match = 'match' | 'differ' | 'unknown'

/**
 * Whether an update is meant for a device with these properties (PROTOCOL.md, "Compatibility"). Authors choose the names, and
 * the service may change the case. So names are compared without case and without a leading `device`, values without case.
 * Names that the device does not have are skipped. One matching entry is enough.
 */
export function compare(entries: readonly Pairs[], properties: Pairs): Match {
  const own = Object.entries(properties).map(([name, value]) => [bare(name), value.toLowerCase()] as const)
  const found = entries.map(entry => compareEntry(entry, own))
  return found.find(each => each === 'match') ?? found.find(each => each === 'differ') ?? 'unknown'
}

function compareEntry(entry: Pairs, own: readonly (readonly [string, string])[]): Match {
  const answers = Object.entries(entry).flatMap(([name, value]) => {
    const values = own.filter(([known]) => known === bare(name)).map(([, each]) => each)
    return values.length === 0 ? [] : [values.includes(value.toLowerCase())]
  })
  if (answers.length === 0) return 'unknown'
  return answers.every(Boolean) ? 'match' : 'differ'
}

/**
 * Whether an entry describes a part of a device: unlike `compare`, every pair must be there and equal, so that a part that lacks a
 * property is never chosen by the others.
 */
export function selects(entries: readonly Pairs[], properties: Pairs): boolean {
  const own = Object.entries(properties).map(([name, value]) => [bare(name), value.toLowerCase()] as const)
  const has = ([name, value]: [string, string]): boolean =>
    own.some(([known, each]) => known === bare(name) && each === value.toLowerCase())
  return entries.map(entry => Object.entries(entry)).some(pairs => pairs.length > 0 && pairs.every(has))
}

/** A name as it is compared. */
export const bare = (name: string): string => name.toLowerCase().replace(/^device(?=.)/, '')
