/** How a command ended, for scripts; `pi-adu-operator --help` shows the same list. */
export const EXIT = {
  ok: 0,
  /** The update failed, or the checked file is not valid. */
  failed: 1,
  /** The device refused the call: it was bad, or another update is running. */
  refused: 2,
  /** The hub or the device cannot be reached, or a file cannot be written. */
  unavailable: 3,
  /** The hub denies permission. */
  denied: 4,
  /** Stopped watching before the end; the update goes on. */
  stopped: 5,
  /** A mistake on the command line, in a file or in the environment. */
  usage: 64,
  /** A bug in this program. */
  bug: 70,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** A failure that the user can act on: one line and the exit code. Anything else that is thrown is a bug. */
export class Failure extends Error {
  override readonly name = 'Failure'
  readonly exitCode: ExitCode

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.exitCode = exitCode
  }
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
