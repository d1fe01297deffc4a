type Pairs = Readonly<Record<string, string>>

/** `unknown`: no entry names a property that this device has. */
export type Match = 'match' | 'differ' | 'unknown'

/**
 * Whether an update is meant for a device with these properties (protocol, chapter 12.3). Authors choose the names, and the
 * service changes the case: names are compared without case and without a leading `device`, values without case; names
 * that the device does not have say nothing. One entry that agrees is enough.
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

const bare = (name: string): string => name.toLowerCase().replace(/^device(?=.)/, '')
