import { onOneLine } from '../domain/terminal.ts'

// Formats a view for people, in lines of at most 80 columns.

export type Line = readonly [name: string, text: string]

const COLUMNS = 80
const NAME_COLUMNS = 12
/** Lines of one text; --json has all of it. */
const MAX_LINES = 5

/** A name and its text, which is made safe for a terminal and broken at blanks. */
export function rows([name, text]: Line): readonly string[] {
  const width = COLUMNS - NAME_COLUMNS
  const lines: string[] = []
  for (let rest = onOneLine(text).trim(); rest !== ''; ) {
    const at = rest.length <= width ? rest.length : rest.lastIndexOf(' ', width)
    const end = at > 0 ? at : width
    lines.push(rest.slice(0, end).trimEnd())
    rest = rest.slice(end).trimStart()
  }
  const shown = lines.length > MAX_LINES ? [...lines.slice(0, MAX_LINES - 1), '… (--json shows all of it)'] : lines
  return shown.map((part, i) => `${(i === 0 ? name : '').padEnd(NAME_COLUMNS)}${part}`)
}

/** The two largest units that are not zero: `2 d 3 h`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds))
  const units = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'min'],
    [whole % 60, 's'],
  ] as const
  const first = units.findIndex(([count]) => count > 0)
  if (first < 0) return '0 s'
  return units
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ')
}

/** `2026-11-26 14:05 UTC` */
export const minute = (iso: string): string => `${iso.slice(0, 16).replace('T', ' ')} UTC`

export const mib = (bytes: number): string => `${(bytes / (1 << 20)).toFixed(1)} MiB`
