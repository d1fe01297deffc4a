import { type ErrorCode, EXTENDED_RESULT_CODE, swupdateExit } from './result-codes.ts'

/** An expected failure with a code. Any other thrown error is a bug. */
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

/** An unexpected failure: a fault in the agent, with the thrown value as its cause. */
export class Fault extends AgentError {
  override readonly name = 'Fault'

  constructor(cause: unknown) {
    super('INTERNAL', `the agent has a fault here: ${messageOf(cause)}`, { cause })
  }
}

export const asAgentError = (error: unknown): AgentError => (error instanceof AgentError ? error : new Fault(error))

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
 * `backOff`: a temporary failure, so retry as long as there is time. `few`: probably a mistake that a person must fix, but it
 * may pass. `never`: a retry cannot help. A number: the delay that the server asks for, in milliseconds.
 */
export type Retry = 'backOff' | 'few' | 'never' | number

interface ContentErrorOptions extends ErrorOptions {
  readonly code?: ErrorCode
}

/** A GET that failed. */
export class ContentError extends AgentError {
  override readonly name = 'ContentError'
  readonly retry: Retry

  constructor(message: string, retry: Retry, { code = 'DOWNLOAD_FAILED', ...options }: ContentErrorOptions = {}) {
    super(code, message, options)
    this.retry = retry
  }
}

/** The hub is unreachable or did not answer. This is never a verdict on a deployment, only a reason to try again. */
export class HubError extends Error {
  override readonly name: string = 'HubError'
}

/** The hub has rejected the message; sending it again would give the same answer. */
export class HubRejection extends HubError {
  override readonly name = 'HubRejection'
}

/** A mistake in the configuration file: stops the start. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** Another agent is using the data folder. */
export class InUseError extends Error {
  override readonly name = 'InUseError'
}

/** A start as a user whose files would get in the way of another user's. */
export class WrongUserError extends Error {
  override readonly name = 'WrongUserError'
}

/** A command with unusable arguments. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The message of an error. Not empty for an AggregateError either, which Node throws when no address of a name answers. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ')
  return error instanceof Error ? error.message : String(error)
}
