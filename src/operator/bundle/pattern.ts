import { execFile } from 'node:child_process'
import { EXIT, Failure } from '../failure.ts'

/** Errors: Failure for a pattern that is not a POSIX extended regular expression; grep(1) reads them as SWUpdate does. */
export function checkPattern(pattern: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      'grep',
      ['-Eq', '-e', pattern],
      { env: { ...process.env, LC_ALL: 'C' } },
      (error, _, stderr) => {
        // 1 means no match: the pattern is valid.
        if (!error || error.code === 1) return resolve()
        const why = stderr.trim().replace(/^grep: /, '') || error.message
        reject(
          new Failure(EXIT.usage, `#RE:${pattern} is not an extended regular expression: ${why}`, { cause: error }),
        )
      },
    )
    child.stdin?.on('error', () => undefined)
    child.stdin?.end()
  })
}
