import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { decodeText, parseJsonText } from '../domain/text.ts'
import { EXIT, Failure, messageOf } from './failure.ts'

/** Reads a file named on the command line, `-` for stdin. Errors: Failure (usage). */
export function readInput(file: string): Promise<Buffer> {
  return (file === '-' ? buffer(process.stdin) : readFile(file)).catch(cause => {
    throw new Failure(EXIT.usage, `cannot read ${file}: ${messageOf(cause)}`, { cause })
  })
}

/** Decodes a text file. Errors: Failure that never quotes it. */
export const textOf = (bytes: Buffer, file: string): string => explained(file, () => decodeText(bytes))

/** Reads JSON. Errors: Failure with line and column. */
export const jsonOf = (bytes: Buffer, file: string): unknown => explained(file, () => parseJsonText(decodeText(bytes)))

function explained<T>(file: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw new Failure(EXIT.failed, `${file} ${messageOf(cause)}`, { cause })
  }
}
