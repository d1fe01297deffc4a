/** Status line and header fields of one answer; names in lower case, equal ones joined by a comma (RFC 9110, chapter 5.3). */
export interface ResponseHead {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  /** The server keeps the connection open after this answer. */
  readonly keepAlive: boolean
}

/** Called while bytes are read; a body is `bytes` from `from` up to, not including, `to`. */
export interface ResponseSink {
  head(head: ResponseHead): void
  body(bytes: Buffer, from: number, to: number): void
  end(): void
}

const MAX_HEAD = 32_768
const MAX_CHUNK_LINE = 1024

/** What comes next on the connection. `sized` counts down; `chunk` is followed by the line end that belongs to it. */
type Place = 'head' | 'sized' | 'untilClose' | 'chunkLine' | 'chunk' | 'chunkEnd' | 'trailer' | 'broken'

/**
 * The answers on one HTTP/1.1 connection, one after the other, from bytes in whatever pieces (RFC 9112). Keeps nothing but
 * unfinished lines. Errors, after which it must not be used: Error that says what the server sent.
 */
export class ResponseReader {
  readonly #sink: ResponseSink
  #place: Place = 'head'
  #line = ''
  #left = 0

  constructor(sink: ResponseSink) {
    this.#sink = sink
  }

  /** The first `length` bytes. No view of them is made: at 16 KiB a time those would be most of an agent's garbage. */
  push(bytes: Buffer, length = bytes.length): void {
    let at = this.#place
    this.#place = 'broken'
    for (let from = 0; from < length; ) {
      if (at === 'broken') throw new Error('bytes after the last answer')
      if (at === 'sized' || at === 'chunk' || at === 'untilClose') {
        const to = at === 'untilClose' ? length : Math.min(length, from + this.#left)
        this.#left -= to - from
        this.#sink.body(bytes, from, to)
        from = to
        if (at !== 'untilClose' && this.#left === 0) at = at === 'sized' ? this.#ended() : 'chunkEnd'
        continue
      }
      const [mark, limit] = at === 'head' ? ['\r\n\r\n', MAX_HEAD] : ['\r\n', MAX_CHUNK_LINE]
      const end = this.#upTo(bytes, from, length, mark, limit)
      if (end === undefined) break
      from = end
      const text = this.#line
      this.#line = ''
      at = at === 'head' ? this.#head(text) : this.#chunkText(at, text)
    }
    this.#place = at
  }

  /** Whether the next `length` bytes are body, and not the last of it: they are then as good as pushed. */
  pass(length: number): boolean {
    if (this.#place !== 'sized' || length >= this.#left) return false
    this.#left -= length
    return true
  }

  /** The server has closed. Errors: when that was in the middle of an answer. */
  close(): void {
    if (this.#place === 'untilClose') this.#sink.end()
    else if (this.#place !== 'head' || this.#line !== '')
      throw new Error('the connection ended in the middle of an answer')
  }

  /** Moves bytes to `#line` until it ends with `mark`, and says where the next ones are; undefined when the mark is yet to come. */
  #upTo(bytes: Buffer, from: number, to: number, mark: string, limit: number): number | undefined {
    const before = this.#line.length
    this.#line += bytes.toString('latin1', from, Math.min(to, from + limit + mark.length))
    const found = this.#line.indexOf(mark, Math.max(0, before - mark.length))
    if (found > limit || (found < 0 && this.#line.length > limit)) throw new Error('a line without an end')
    if (found < 0) return undefined
    this.#line = this.#line.slice(0, found)
    return from + found + mark.length - before
  }

  #head(text: string): Place {
    const head = parseHead(text)
    // An interim answer, such as 103: the real one follows.
    if (head.status < 200 && head.status !== 101) return 'head'
    const length = head.headers.get('content-length')
    const chunked = head.headers.get('transfer-encoding')
    this.#sink.head(head)
    if (head.status === 204 || head.status === 304) return this.#ended()
    if (chunked !== undefined) {
      if (chunked.toLowerCase() !== 'chunked') throw new Error(`an answer in the transfer encoding ${quoted(chunked)}`)
      return 'chunkLine'
    }
    if (length === undefined) return 'untilClose'
    this.#left = Number(/^\d{1,15}$/.exec(length)?.[0] ?? Number.NaN)
    if (Number.isNaN(this.#left)) throw new Error(`an answer of length ${quoted(length)}`)
    return this.#left === 0 ? this.#ended() : 'sized'
  }

  #chunkText(place: Place, text: string): Place {
    if (place === 'trailer') return text === '' ? this.#ended() : 'trailer'
    if (place === 'chunkEnd') {
      if (text !== '') throw new Error('a chunk that is longer than it says')
      return 'chunkLine'
    }
    const size = /^([\da-f]{1,12})\s*(;|$)/i.exec(text)?.[1]
    if (size === undefined) throw new Error(`a chunk of size ${quoted(text)}`)
    this.#left = Number.parseInt(size, 16)
    return this.#left === 0 ? 'trailer' : 'chunk'
  }

  #ended(): Place {
    this.#sink.end()
    return 'head'
  }
}

/** Errors: Error when it is not the head of an HTTP/1 answer. */
function parseHead(text: string): ResponseHead {
  const [first = '', ...lines] = text.split('\r\n')
  const status = /^HTTP\/1\.([01]) (\d{3})(?: |$)/.exec(first)
  if (!status) throw new Error(`something that is not HTTP/1: ${quoted(first)}`)
  const headers = new Map<string, string>()
  for (const line of lines) {
    const field = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*?)[ \t]*$/.exec(line)
    if (!field) throw new Error(`a header field that is none: ${quoted(line)}`)
    const name = field[1]!.toLowerCase()
    const before = headers.get(name)
    // The same length twice is allowed (RFC 9112, chapter 6.3); a list of two is caught as not being a number.
    if (before === undefined) headers.set(name, field[2]!)
    else if (name !== 'content-length' || before !== field[2]) headers.set(name, `${before}, ${field[2]}`)
  }
  const connection = headers.get('connection')?.toLowerCase() ?? ''
  const keepAlive = status[1] === '1' ? !connection.includes('close') : connection.includes('keep-alive')
  return { status: Number(status[2]), headers, keepAlive }
}

const quoted = (text: string): string => JSON.stringify(text.slice(0, 60))
