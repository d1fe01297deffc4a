import type { ErrorCode } from '../domain/result-codes.ts'

/**
 * What a member of a port may throw: an AgentError with one of these codes (for a program, a ProcessError), a HubError or a
 * ContentError; nothing if the list is empty. After an abort, everything that takes a signal may throw the signal's reason.
 * Anything else is a fault of the adapter.
 */
export type Throws = readonly (ErrorCode | 'HubError' | 'ContentError')[]

type Later = Promise<unknown> | AsyncIterable<unknown>

/** Every asynchronous member of a port, with what it may throw. It is data, so tests can throw exactly that. */
export type Contract<Port> = {
  readonly [Member in keyof Port as Port[Member] extends Later | ((...args: never[]) => Later) ? Member : never]: Throws
}
