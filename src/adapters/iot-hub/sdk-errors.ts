import { messageOf } from '../../domain/errors.ts'
import { redact } from '../../domain/redact.ts'
import { statusOf } from './tame-mqtt.ts'

/** The hub read the patch and refused it. */
export function isRejection(error: unknown): boolean {
  const status = statusOf(messageOf(error))
  return status !== undefined && status >= 400 && status < 500 && status !== 429 && status !== 408
}

/** All are UnauthorizedError, and only the end of the text differs (PROTOCOL.md, "First connection errors"). */
export const explain = (error: unknown): string =>
  redact(messageOf(error).replace(/^mqtt\.js returned Failure on first connection \(Not authorized\): /, ''))

/** The SDK wraps an error in its own object. */
export function explainEnd(ended: unknown): string {
  const why = ended instanceof Error ? ended : (ended as { transportObj?: unknown } | undefined)?.transportObj
  return why instanceof Error ? explain(why) : 'the connection was closed'
}
