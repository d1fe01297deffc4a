/** What is wrong with a registration id in lower case (PROTOCOL.md, "Registration id"); ends a sentence. */
export function registrationIdFlaw(id: string): string | undefined {
  if (id === '') return 'is empty'
  if (id.length > 128) return 'has more than 128 characters'
  if (!/^[a-z0-9\-._:]+$/.test(id)) return 'has characters other than letters, digits, "-", ".", "_" and ":"'
  return /[a-z0-9-]$/.test(id) ? undefined : 'must end with a letter, a digit or "-"'
}

/** Placeholders in a pattern, filled in by each board: `{serial}`, `{mac:eth0}`, `{file:/path}`. */
export const PLACE = /\{([^{}]*)\}/g
const KNOWN = /^(?:serial|mac:[\w.-]{1,15}|file:\/.+)$/

/** What is wrong with a pattern like `pi-{serial}`, checked without the board; ends a sentence. */
export function patternFlaw(pattern: string): string | undefined {
  const places = [...pattern.matchAll(PLACE)].map(([, place = '']) => place)
  if (!places.every(place => KNOWN.test(place)) || /[{}]/.test(pattern.replace(PLACE, ''))) {
    return 'may hold {serial}, {mac:eth0} (or another interface) and {file:/path}, and no other braces'
  }
  return registrationIdFlaw(pattern.replace(PLACE, 'x').toLowerCase())
}
