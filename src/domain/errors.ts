import { type ErrorCode, EXTENDED_RESULT_CODE, swupdateExit } from './result-codes.ts'

/** A failure we expect and can name. Anything else that is thrown is a bug. */
export class AgentError extends Error {
  override readonly name: string = 'AgentError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }

  /** What the twin shows, see `result-codes.ts`. */
  get extendedResultCode(): number {
    return EXTENDED_RESULT_CODE[this.code]
  }
}

/** A child process that did not end well. */
export class ProcessError extends AgentError {
  override readonly name = 'ProcessError'
  readonly argv: readonly string[]
  readonly exitCode: number | undefined
  readonly signal: string | undefined

  constructor(
    code: ErrorCode,
    message: string,
    argv: readonly string[],
    exitCode?: number,
    signal?: string,
    options?: ErrorOptions,
  ) {
    super(code, message, options)
    this.argv = argv
    this.exitCode = exitCode
    this.signal = signal
  }

  override get extendedResultCode(): number {
    return this.code === 'SWUPDATE_FAILED' && this.exitCode !== undefined
      ? swupdateExit(this.exitCode)
      : super.extendedResultCode
  }
}

/**
 * `backOff`: the way there has a bad moment, ask again for as long as there is time. `few`: looks like a mistake that a
 * person must mend, but may pass. `never`: asking again cannot help. A number: the server's wish, in milliseconds.
 */
export type Retry = 'backOff' | 'few' | 'never' | number

/** One GET that did not give what it should. */
export class ContentError extends AgentError {
  override readonly name = 'ContentError'
  readonly retry: Retry

  constructor(message: string, retry: Retry, options?: ErrorOptions) {
    super('DOWNLOAD_FAILED', message, options)
    this.retry = retry
  }
}

/** The hub cannot be reached or did not answer: never a verdict on a deployment, only a reason to try again. */
export class HubError extends Error {
  override readonly name: string = 'HubError'
}

/** The hub has read the message and will not have it: the same one again would meet the same answer. */
export class HubRejection extends HubError {
  override readonly name = 'HubRejection'
}

/** A mistake in the configuration file: stops the start. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** A command that was given what it cannot use. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** In words, never empty for an error that stands for several: so Node says that no address of a name answers. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ')
  return error instanceof Error ? error.message : String(error)
}
