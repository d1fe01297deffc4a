import type { ErrorCode } from '../domain/result-codes.ts'

export type CommandLine = readonly [program: string, ...args: string[]]

/** How a program is run. */
export interface ProgramOptions {
  /** Abort stops the program. */
  readonly signal: AbortSignal
  /** Milliseconds until it is stopped. */
  readonly timeout?: number | undefined
  /** Added to the agent's own environment; `undefined` removes a variable. */
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  /** Written to the program's stdin, which is otherwise closed. */
  readonly input?: string | undefined
  /** Descriptors of open files that it gets as 3, 4 and so on. */
  readonly pass?: readonly number[]
  /** Processes that it leaves running go on when it ends by itself: a reboot command may work in the background. */
  readonly leavesOthers?: boolean
}

export interface RunOptions extends ProgramOptions {
  /** The code of the error if it fails. */
  readonly code: ErrorCode
}

/**
 * Runs short programs to their end: no shell, messages in English. Timeout and abort hold whatever the program does, and end
 * everything that it started. Errors: ProcessError with `options.code`; the signal's reason on abort.
 *
 * SWUpdate and journalctl are streamed while they run: the output is read at the reader's pace, and descriptors stay open for as
 * long. A port would only repeat the members of `Program` (`adapters/system/program.ts`), so they use it directly.
 */
export interface Runner {
  /** Resolves with stdout, without the newline at the end. More output than any program of ours prints is an error. */
  run(argv: CommandLine, options: RunOptions): Promise<string>
  /** As `run`, but ignores the output, which may be of any length. */
  runQuietly(argv: CommandLine, options: RunOptions): Promise<void>
}
