import type { Readable } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'

/** Milliseconds between progress lines of a long step. */
const EVERY_MS = 30_000

/** The program that was started last, and its last line of output. */
let activity = ''

/** Follows the output of a program. */
export function note(program: string, stderr: Readable | null | undefined): void {
  const name = program.slice(program.lastIndexOf('/') + 1)
  activity = name
  stderr?.on('data', (chunk: Buffer | string) => {
    const lines = stripVTControlCharacters(String(chunk)).split(/[\r\n]+/)
    const last = lines.findLast(line => line.trim() !== '')
    if (last !== undefined) activity = `${name}: ${last.trim().slice(0, 120)}`
  })
}

/** Prints what is being done, again every 30 seconds, and how long it took. Also returns the seconds. */
export async function step<T>(
  what: string,
  work: () => Promise<T>,
  { write = (text: string): unknown => process.stdout.write(text), everyMs = EVERY_MS } = {},
): Promise<{ readonly result: T; readonly seconds: number }> {
  const began = Date.now()
  const seconds = (): number => Math.round((Date.now() - began) / 100) / 10
  activity = ''
  write(`${what} …`)
  const timer = setInterval(() => write(`\n  ${Math.round(seconds())} s${activity && `: ${activity}`} …`), everyMs)
  try {
    const result = await work()
    write(` ${seconds()} s\n`)
    return { result, seconds: seconds() }
  } catch (error) {
    write(' failed\n')
    throw error
  } finally {
    clearInterval(timer)
  }
}
