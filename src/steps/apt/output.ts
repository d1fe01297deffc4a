import type { ErrorCode } from '../../domain/result-codes.ts'
import { onOneLine } from '../../domain/terminal.ts'
import { cut } from '../../domain/text.ts'
import { STEP_SETTINGS } from '../../handlers/capabilities.ts'
import type { Launched } from '../worker.ts'
import { isArchive } from './archives.ts'

/** A line of apt's status descriptor (apt's README.progress-reporting). */
export interface Status {
  readonly is: 'download' | 'install' | 'error'
  /** Of the downloads, or of the work of dpkg; 0 to 100. */
  readonly percent: number
  readonly text: string
}

/** Undefined for a line of the ordinary output. The text of an error may contain colons, as may the path before it. */
export function readStatus(line: string): Status | undefined {
  const found = /^(dlstatus|pmstatus|pmerror|pmconffile|media-change):(.*?):(\d{1,3}(?:\.\d+)?):(.*)$/.exec(line)
  const [, kind, , number = '', text = ''] = found ?? []
  const percent = Math.min(100, Number(number))
  if (kind === 'dlstatus') return { is: 'download', percent, text }
  if (kind === 'pmstatus') return { is: 'install', percent, text }
  return kind === undefined ? undefined : { is: 'error', percent, text }
}

/** What an installation would do (`planCommand`). */
export interface Plan {
  readonly removed: readonly string[]
  readonly downgraded: readonly string[]
  /** Bytes that are still to be downloaded, exactly. */
  readonly download: number
  /** The names that they get in apt's cache. */
  readonly files: readonly string[]
  /** Bytes that the file system has less afterwards, as apt rounds them; 0 when it has more. */
  readonly unpacked: number
}

export function readPlan(output: readonly string[]): Plan {
  const uris = output.flatMap(line => {
    const [, name = '', size] = /^'[^']*' (\S+) (\d+) /.exec(`${line} `) ?? []
    return size === undefined ? [] : [{ name, size: Number(size) }]
  })
  const [, sign, unit = ''] =
    /After this operation, ([\d.,]+) (\w*B) of additional disk space/.exec(output.join('\n')) ?? []
  return {
    removed: namesUnder('The following packages will be REMOVED:', output),
    downgraded: namesUnder('The following packages will be DOWNGRADED:', output),
    download: uris.reduce((sum, { size }) => sum + size, 0),
    files: uris.map(({ name }) => name).filter(isArchive),
    unpacked: sign === undefined ? 0 : Math.ceil(Number(sign.replaceAll(',', '')) * (UNITS[unit] ?? 1)),
  }
}

const UNITS: Readonly<Record<string, number>> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 }

/** apt marks a package that is purged with `*`. */
function namesUnder(heading: string, output: readonly string[]): readonly string[] {
  const at = output.indexOf(heading)
  if (at < 0) return []
  const end = output.findIndex((line, index) => index > at && !line.startsWith('  '))
  const lines = output.slice(at + 1, end < 0 ? undefined : end)
  return lines.flatMap(line => line.trim().split(/\s+/)).map(name => name.replace(/\*$/, ''))
}

/** What became of a program of apt. */
export type Outcome =
  | { readonly is: 'fine' }
  | { readonly is: 'interrupted' }
  | { readonly is: 'failed'; readonly code: ErrorCode; readonly why: string }

export type Stage = 'plan' | 'download' | 'install'

const STAGE_CODE: Readonly<Record<Stage, ErrorCode>> = {
  plan: 'APT_DOWNLOAD',
  download: 'APT_DOWNLOAD',
  install: 'APT_INSTALL',
}

/** Judges how `apt-get` ended at a stage, from its exit code and everything that it said, without status lines. */
export function judge(stage: Stage, { exitCode, timedOut, complaint }: Launched, said: Said): Outcome {
  if (exitCode === 0 && !timedOut) return { is: 'fine' }
  if (said.lines.some(line => line.includes('dpkg was interrupted'))) return { is: 'interrupted' }
  const failed = (code: ErrorCode, why: string): Outcome => ({ is: 'failed', code, why })
  if (timedOut) return failed('APT_TIMED_OUT', complaint ?? 'took too long')
  const holder = lockHolder(said.lines)
  if (holder !== undefined) return failed('APT_LOCKED', holder)
  const full = [...said.errors, ...said.lines].find(line => /No space left on device|enough free space in/.test(line))
  if (full !== undefined) return failed('APT_SPACE', tidy(full))
  if (said.lines.some(line => /^E: Packages were downgraded/.test(line))) {
    const names = namesUnder('The following packages will be DOWNGRADED:', said.lines).join(', ')
    return failed(
      'APT_DOWNGRADE',
      `${names} would be downgraded; packages.allowDowngrade in ${STEP_SETTINGS} allows that`,
    )
  }
  return failed(STAGE_CODE[stage], errorsIn(said) || (complaint ?? 'failed without a word'))
}

/** What a program said. */
export interface Said {
  readonly lines: readonly string[]
  /** From the status descriptor: why dpkg could not do something with a package. */
  readonly errors: readonly string[]
}

/** Who holds a lock that was waited for in vain; undefined when that was not the cause. */
export function lockHolder(lines: readonly string[]): string | undefined {
  const found = lines.find(line =>
    /Could not get lock|is another process using it|locked by another process/.test(line),
  )
  return found === undefined ? undefined : tidy(found)
}

/** The first errors of apt and dpkg in one line; those of a package first, because apt itself only says that dpkg failed. */
function errorsIn({ lines, errors }: Said): string {
  const apt = lines.filter(line => /^(E|dpkg: error): ?/.test(line)).map(tidy)
  const all = errors.length > 0 ? errors : apt
  return [...new Set(all)].slice(0, 3).join('; ')
}

/** Why `apt-get update` did not get every list: its first complaint. Undefined when it did. */
export function updateFlaw({ exitCode, complaint }: Launched, { lines }: Said): string | undefined {
  const [first] = [
    ...lines.filter(line => /^E: /.test(line)),
    ...lines.filter(line => /^W: (?!Target|.*deprecation)/.test(line)),
  ]
  if (first !== undefined && (exitCode !== 0 || /Failed to fetch|not signed|GPG error/.test(first))) return tidy(first)
  return exitCode === 0 ? undefined : (complaint ?? 'failed')
}

/** Without the mark of the line, which apt sets before its messages. */
const tidy = (line: string): string => line.replace(/^(Waiting for cache lock|E|W|dpkg: error): ?/, '').trim()

/** The end of what was said, for `resultDetails`: at most `bytes`, whole lines, safe to show, without what apt always says first. */
export function lastLines(lines: readonly string[], bytes = 1000): string {
  const kept: string[] = []
  let size = 0
  for (const line of lines
    .map(each => cut(onOneLine(each).trim(), 300))
    .filter(each => each !== '' && !/^(Reading|Building) .*\.\.\./.test(each))
    .reverse()) {
    size += Buffer.byteLength(line) + 3
    if (size > bytes) break
    kept.unshift(line)
  }
  return kept.join(' / ')
}
