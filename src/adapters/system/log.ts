import { writeSync } from 'node:fs'
import { redact } from '../../domain/redact.ts'
import { jsonText } from '../../domain/terminal.ts'
import type { Log } from '../../ports/log.ts'

/** syslog(3) priorities; journald takes `<n>` at the start of a line for one (sd-daemon(3)). */
const PRIORITY = { debug: 7, info: 6, warn: 4, error: 3 } as const
type Level = keyof typeof PRIORITY

/** JSON lines on stderr, without secrets. With `journald`, each line begins with its priority. */
export function jsonLog(
  journald: boolean,
  secrets: readonly string[] = [],
  write: (line: string) => void = toStderr,
): Log {
  const log =
    (level: Level) =>
    (event: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      const line = jsonText({ time: new Date().toISOString(), level, event, ...fields })
      write(`${journald ? `<${PRIORITY[level]}>` : ''}${redact(line, secrets)}\n`)
    }
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') }
}

/** Synchronous, so the last line before a crash is not lost. A reader that has gone away is ignored. */
function toStderr(line: string): void {
  try {
    writeSync(2, line)
  } catch {}
}
