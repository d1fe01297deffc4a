/** What a command has to say: for a program with `--json`, else for a person. */
export function print(json: boolean, value: unknown, lines: readonly string[]): void {
  process.stdout.write(json ? `${JSON.stringify(value, null, 2)}\n` : lines.map(line => `${line}\n`).join(''))
}

/** Columns as wide as they must be. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length)
  return rows.map(row =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

const UNITS = ['bytes', 'KB', 'MB', 'GB'] as const

/** In units of 1,000, as disks and quotas are sold. */
export function bytes(count: number): string {
  const power = Math.min(Math.floor(Math.log10(Math.max(count, 1)) / 3), UNITS.length - 1)
  return power === 0 ? `${count} bytes` : `${(count / 1000 ** power).toPrecision(3)} ${UNITS[power]}`
}
