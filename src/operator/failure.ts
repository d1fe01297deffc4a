/** How a command ended, for scripts; `pi-adu-operator --help` shows the same list. */
export const EXIT = {
  ok: 0,
  /** The update failed, or what was checked is not in order. */
  failed: 1,
  /** The device said no: a bad call, or another update is running. */
  refused: 2,
  /** The hub, the device or a file could not be reached. */
  unavailable: 3,
  /** The hub does not let this connection string do that. */
  denied: 4,
  /** Stopped watching before the end; the update goes on. */
  stopped: 5,
  /** A mistake on the command line, in a file or in the environment. */
  usage: 64,
  /** A fault of this program. */
  bug: 70,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** A failure that a person can do something about: one line, and the exit code. Anything else that is thrown is a bug. */
export class Failure extends Error {
  override readonly name = 'Failure'
  readonly exitCode: ExitCode

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.exitCode = exitCode
  }
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
