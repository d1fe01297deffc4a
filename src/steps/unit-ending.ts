import { access, readFile, rm, writeFile } from 'node:fs/promises'
import type { Ending } from '../adapters/system/program.ts'

/** Exit codes that systemd gives in place of the program (systemd.exec(5), "Process Exit Codes"), and what the commonest mean. */
const NOT_STARTED = { least: 200, most: 243 }
const WHY: Readonly<Record<number, string>> = {
  200: '200/CHDIR: its folder is missing',
  203: '203/EXEC: its interpreter is missing, or its format is not that of a program',
  217: '217/USER: its user is missing',
}

/** In place of those of `describe`. */
export interface Words {
  readonly words?: string
}

/** What ExecStopPost= runs, as root: it writes down how the unit ended (systemd.exec(5), `$SERVICE_RESULT`). */
export const noteEnding = (file: string): string =>
  `ExecStopPost=+/bin/sh -c 'echo "$$SERVICE_RESULT $$EXIT_STATUS" >"$$0"' "${file}"`

/** Beside the file that `noteEnding` writes: there until the program starts. */
const onceOf = (file: string): string => `${file}.once`

/** To be called before the unit is made. Throws what the file system throws. */
export const allowStart = (file: string): Promise<void> => writeFile(onceOf(file), '')

/** Whoever restarts the unit only ends it: a step must not begin twice. `file`: as for `noteEnding`. */
export const startOnce = (file: string): readonly string[] => [
  `ConditionPathExists=${onceOf(file)}`,
  `ExecStartPre=+/bin/rm "${onceOf(file)}"`,
]

/**
 * How the unit ended. systemd-run has but one exit code for all that is not an exit of the program. `file`: what `noteEnding` has
 * written; it goes. `tail`: what the program has printed.
 */
export async function unitEnding(
  file: string,
  { ending, tail }: { readonly ending: Ending; readonly tail: string },
  megabytes: number,
): Promise<Ending & Words> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const isStarted = await access(onceOf(file)).then(
    () => false,
    () => true,
  )
  for (const each of [file, onceOf(file)]) await rm(each, { force: true })
  if (!isStarted && ending.exitCode !== undefined) return { words: 'was not started by systemd' }
  const [result, status = ''] = text.trim().split(' ')
  if (result === 'oom-kill') {
    return { words: `was ended, because it needed more than ${megabytes} MB of memory (limits.memoryMegabytes)` }
  }
  if (result === 'timeout') return { timedOut: true }
  if ((result === 'signal' || result === 'core-dump') && /^[A-Z]+\d*$/.test(status)) return { signal: `SIG${status}` }
  const { exitCode = 0 } = ending
  // A program of its own with such a code says something, as a rule.
  if (exitCode >= NOT_STARTED.least && exitCode <= NOT_STARTED.most && tail.trim() === '') {
    return { ...ending, words: `could not be started (${WHY[exitCode] ?? `${exitCode}, see systemd.exec(5)`})` }
  }
  return ending
}
