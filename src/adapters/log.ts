import { writeSync } from 'node:fs'
import { redact } from '../domain/redact.ts'
import type { Log } from '../ports.ts'

/** syslog(3) priorities; journald takes `<n>` at the start of a line for one (sd-daemon(3)). */
const PRIORITY = { debug: 7, info: 6, warn: 4, error: 3 } as const
type Level = keyof typeof PRIORITY

/** JSON lines on stderr, without anything secret. With `journald`, each has its priority in front. */
export function jsonLog(
  journald: boolean,
  secrets: readonly string[] = [],
  write: (line: string) => void = toStderr,
): Log {
  const log =
    (level: Level) =>
    (event: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      const line = JSON.stringify({ time: new Date().toISOString(), level, event, ...fields })
      write(`${journald ? `<${PRIORITY[level]}>` : ''}${redact(line, secrets)}\n`)
    }
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') }
}

/** Synchronous, so that the last line before a crash is not lost; a reader that went away is not our failure. */
function toStderr(line: string): void {
  try {
    writeSync(2, line)
  } catch {}
}
