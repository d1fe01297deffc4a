import { createHash } from 'node:crypto'
import { parseJsonText } from '../../domain/text.ts'

/**
 * A value as two lines: its JSON, and the SHA-256 of the first line. A file that was torn, cut off or has rotted is told from a good
 * one by it, also where the JSON would still be readable.
 */
export const sealed = (value: unknown): string => withSeal(JSON.stringify(value))

/** Errors: an Error that says what is wrong with the file, without its name. */
export function unsealed(bytes: Buffer): unknown {
  if (bytes.length === 0) throw new Error('is empty')
  const end = bytes.indexOf('\n')
  const line = bytes.toString('utf8', 0, Math.max(end, 0))
  if (!bytes.equals(Buffer.from(withSeal(line)))) throw new Error('does not match its checksum')
  return parseJsonText(line)
}

const withSeal = (line: string): string => {
  const sha256 = createHash('sha256').update(line).digest('hex')
  return `${line}\n${JSON.stringify({ sha256 })}\n`
}
