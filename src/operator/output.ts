import { readFile, writeFile } from 'node:fs/promises'
import { jsonText, onOneLine } from '../domain/terminal.ts'
import { EXIT, Failure, messageOf } from './failure.ts'

/** Prints a command's result: JSON with `--json`, otherwise lines of text. */
export function print(json: boolean, value: unknown, lines: readonly string[]): void {
  process.stdout.write(json ? `${jsonText(value, 2)}\n` : lines.map(line => `${onOneLine(line)}\n`).join(''))
}

/** Formats columns, each as wide as its widest cell. */
export function table(texts: readonly (readonly string[])[]): string[] {
  const rows = texts.map(row => row.map(onOneLine))
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

/** Writes a file that must be absent, or have this content already. Errors: Failure. */
export async function writeNew(file: string, text: string, mode = 0o644): Promise<void> {
  await writeFile(file, text, { flag: 'wx', mode, flush: true }).catch(async (cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EEXIST') {
      throw new Failure(EXIT.unavailable, `cannot write ${file}: ${messageOf(cause)}`, { cause })
    }
    if ((await readFile(file, 'utf8').catch(() => undefined)) === text) return
    throw new Failure(EXIT.usage, `${file} exists with another content; move it away`)
  })
}

/** A warning on stderr although the command succeeded; never part of `--json` output. */
export function warn(text: string): void {
  process.stderr.write(`pi-adu-operator: warning: ${onOneLine(text)}\n`)
}
