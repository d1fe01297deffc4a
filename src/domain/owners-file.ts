import { ConfigError, messageOf } from './errors.ts'

/** Errors that a person must fix. Any other, like a read error of the card, may pass, so the agent is restarted. */
const MISTAKES = new Set(['ENOENT', 'ENOTDIR', 'EISDIR', 'EACCES', 'EPERM', 'ELOOP', 'ENAMETOOLONG'])

/** The error for an unreadable file that a setting names: a ConfigError if a person must fix it. */
export function unreadable(what: string, cause: unknown): Error {
  const text = `${what} cannot be read: ${messageOf(cause)}`
  const mistake = MISTAKES.has((cause as NodeJS.ErrnoException).code ?? '')
  return mistake ? new ConfigError(text, { cause }) : new Error(text, { cause })
}
