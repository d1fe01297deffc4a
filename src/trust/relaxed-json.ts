/**
 * Reads the relaxed JSON that callers of `firmwareUpdate` copied from the .NET sample: a flat object with bare or quoted names
 * and single or double quotes, `{ fwPackageUri : 'https://someurl' }`. Undefined for everything else.
 */
export function readRelaxed(text: string): Record<string, string | number> | undefined {
  const inner = /^\s*\{(.*)\}\s*$/s.exec(text)?.[1]
  if (inner === undefined) return undefined
  const members = new Map<string, string | number>()
  let rest = inner.trim()
  while (rest !== '') {
    const match = MEMBER.exec(rest)
    const name = match?.[1] ?? match?.[2] ?? match?.[3]
    if (!match || name === undefined || members.has(name)) return undefined
    const number = match[6]
    members.set(name, number === undefined ? (match[4] ?? match[5] ?? '') : Number(number))
    rest = rest.slice(match[0].length)
  }
  return Object.fromEntries(members)
}

/** `name : value` and the comma after it. No escapes, because URLs and hashes need none. */
const MEMBER =
  /^(?:([A-Za-z_]\w*)|'([A-Za-z_]\w*)'|"([A-Za-z_]\w*)")\s*:\s*(?:'([^'"\\]*)'|"([^'"\\]*)"|(\d{1,15}))\s*(?:,\s*|$)/
