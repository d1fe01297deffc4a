import type { Options } from 'execa'
import { messageOf, ProcessError } from '../domain/errors.ts'
import type { ErrorCode } from '../domain/result-codes.ts'

export interface RunOptions {
  readonly signal: AbortSignal
  /** Milliseconds. */
  readonly timeout?: number
  /** Written to the program's stdin, which is otherwise closed. */
  readonly input?: string
  /** Of the error, when it does not end well. */
  readonly code: ErrorCode
}

/** Between SIGTERM and SIGKILL, in milliseconds. */
export const KILL_GRACE = 5_000

/** For every program the agent starts: no shell, messages in English, never left behind. */
export const EXEC: Options = {
  env: { LC_ALL: 'C' },
  reject: false,
  killSignal: 'SIGTERM',
  forceKillAfterDelay: KILL_GRACE,
  cleanup: true,
}

/** Loaded on first use: it costs 4 MB that an idle agent need not have. */
export const loadExeca = async () => (await import('execa')).execa

/** Runs one program to its end and gives its stdout. Errors: ProcessError; the signal's reason on abort. */
export async function run(argv: readonly [string, ...string[]], options: RunOptions): Promise<string> {
  const { signal, timeout, input, code } = options
  const [program, ...args] = argv
  const execa = await loadExeca()
  const result = await execa(program, args, {
    ...EXEC,
    cancelSignal: signal,
    ...(timeout === undefined ? {} : { timeout }),
    ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
  })
  signal.throwIfAborted()
  if (!result.failed) return String(result.stdout ?? '')
  const stderr = String(result.stderr ?? '').trim()
  const how = describe(result, timeout)
  const why = stderr ? `: ${lastLines(stderr, 3)}` : ''
  throw new ProcessError(code, `${program} ${how}${why}`, argv, result.exitCode, result.signal)
}

export interface Ending {
  readonly exitCode?: number | undefined
  readonly signal?: string | undefined
  readonly timedOut?: boolean
  readonly cause?: unknown
  readonly code?: string | undefined
}

/** How a program ended, in words: exit code, signal, time-out and failed start told apart. */
export function describe({ exitCode, signal, timedOut, cause, code }: Ending, timeout?: number): string {
  if (timedOut) return `did not end within ${Math.round((timeout ?? 0) / 1000)} s`
  if (exitCode !== undefined) return `failed with exit code ${exitCode}`
  if (signal !== undefined) return `was killed by ${signal}`
  return code === 'ENOENT' ? 'is not installed' : `could not be started: ${messageOf(cause)}`
}

export const lastLines = (text: string, count: number): string => text.split('\n').slice(-count).join(' | ')
