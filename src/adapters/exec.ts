import { spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
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

/** More than any program that we run prints. */
const MAX_OUTPUT = 1_000_000

/**
 * Runs one short program to its end and gives its stdout. Without execa: the boot state is read at every start, and an idle
 * agent is 4 MB leaner for it. Errors: ProcessError; the signal's reason on abort.
 */
export async function run(argv: readonly [string, ...string[]], options: RunOptions): Promise<string> {
  const { signal, timeout, input, code } = options
  signal.throwIfAborted()
  const [program, ...args] = argv
  const child = spawn(program, args, {
    env: { ...process.env, ...EXEC.env },
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  const ending: { cause?: Error; code?: string; timedOut: boolean } = { timedOut: false }
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)]
  let killer: NodeJS.Timeout | undefined
  const stop = (): void => {
    child.kill('SIGTERM')
    killer ??= setTimeout(() => child.kill('SIGKILL'), KILL_GRACE)
  }
  const stopLate = (): void => {
    ending.timedOut = true
    stop()
  }
  const leave = (): void => void child.kill('SIGKILL')
  const timer = timeout === undefined ? undefined : setTimeout(stopLate, timeout)
  signal.addEventListener('abort', stop, { once: true })
  process.once('exit', leave)
  // A program that ends without reading its input is judged by its exit code.
  child.stdin?.on('error', () => {}).end(input)
  const [exitCode, killedBy] = await new Promise<[number | null, NodeJS.Signals | null]>(resolve => {
    child.once('close', (status, name) => resolve([status, name]))
    child.once('error', (error: NodeJS.ErrnoException) => {
      Object.assign(ending, { cause: error, code: error.code })
      resolve([null, null])
    })
  })
  clearTimeout(timer)
  clearTimeout(killer)
  signal.removeEventListener('abort', stop)
  process.off('exit', leave)
  signal.throwIfAborted()
  if (exitCode === 0 && !ending.timedOut) return stdout()
  const all = { ...ending, exitCode: exitCode ?? undefined, signal: killedBy ?? undefined }
  const said = stderr().trim()
  const why = said ? `: ${lastLines(said, 3)}` : ''
  throw new ProcessError(code, `${program} ${describe(all, timeout)}${why}`, argv, all.exitCode, all.signal)
}

/** Without the newline at the end, which every program prints. */
function collect(stream: Readable | null): () => string {
  const pieces: Buffer[] = []
  let length = 0
  stream?.on('data', (piece: Buffer) => {
    if (length < MAX_OUTPUT) pieces.push(piece)
    length += piece.length
  })
  return () => Buffer.concat(pieces).toString().replace(/\n$/, '')
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
