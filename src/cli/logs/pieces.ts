import { byLine } from '../../adapters/system/program.ts'
import { redact } from '../../domain/redact.ts'
import { onOneLine } from '../../domain/terminal.ts'

/** In bytes; a tar entry states its size before its content, so this much of a log is in memory. */
export const PIECE = 64 * 1024

/**
 * Passes on; calls `late` when waiting for `chunks` has taken `milliseconds` in total. The time that the reader takes does not count: a
 * slow network holds the reader up.
 */
export async function* within<T>(milliseconds: number, late: () => void, chunks: AsyncIterable<T>): AsyncGenerator<T> {
  let left = milliseconds
  const source = chunks[Symbol.asyncIterator]()
  try {
    for (;;) {
      const since = performance.now()
      const timer = setTimeout(late, left)
      const next = await source.next().finally(() => clearTimeout(timer))
      if (next.done) return
      left = Math.max(left - (performance.now() - since), 1)
      yield next.value
    }
  } finally {
    await source.return?.()
  }
}

/** Splits a stream of bytes into lines without line ends; of a very long line only the last part is kept. */
export async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let found: string[] = []
  const lines = byLine(line => found.push(line))
  for await (const chunk of chunks) {
    lines.add(chunk)
    yield* found
    found = []
  }
  lines.end()
  yield* found
}

/**
 * Lines in pieces of at most `PIECE` bytes, without secrets and safe for a terminal. Ends after `most` bytes, with a line that says so:
 * an endless log must not fill the disk. `isReversed`: the newest entry of a log comes first, each with its lines in order (journalctl
 * indents all but the first). Each piece is turned round again, so the pieces get older, as files of a log do.
 */
export async function* pieces(
  lines: AsyncIterable<string>,
  secrets: readonly string[],
  most: number,
  isReversed = false,
): AsyncGenerator<Buffer> {
  const joined = (): Buffer => Buffer.concat(isReversed ? piece.reverse() : piece)
  let piece: Buffer[] = []
  let size = 0
  let total = 0
  for await (const line of lines) {
    // A line is never split: a secret in two halves would not be recognised.
    const bytes = Buffer.from(`${onOneLine(redact(line, secrets))}\n`)
    if (total + bytes.length > most) {
      piece.push(Buffer.from(`… ${isReversed ? 'what is older is ' : ''}cut off after ${total} bytes\n`))
      break
    }
    if (size + bytes.length > PIECE - 100 && size > 0) {
      yield joined()
      piece = []
      size = 0
    }
    if (isReversed && line.startsWith(' ') && piece.length > 0) piece.push(Buffer.concat([piece.pop()!, bytes]))
    else piece.push(bytes)
    size += bytes.length
    total += bytes.length
  }
  if (piece.length > 0) yield joined()
}
