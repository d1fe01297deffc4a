/** Status line and header fields of one answer; names in lower case, equal ones joined by a comma (RFC 9110, section 5.3). */
export interface ResponseHead {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  /** Whether the server keeps the connection open after this answer. */
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
 * Parses the answers on one HTTP/1.1 connection from bytes in pieces of any size (RFC 9112). Buffers only unfinished lines.
 * Errors: Error that says what kind of mistake the server made, and quotes nothing. The reader must not be used afterwards.
 */
export class ResponseReader {
  readonly #sink: ResponseSink
  #place: Place = 'head'
  #line = ''
  #left = 0
  #trailers = 0

  constructor(sink: ResponseSink) {
    this.#sink = sink
  }

  /** The first `length` bytes. Without a view: at 16 KiB per read, views would be most of the agent's garbage. */
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

  /** Whether the next `length` bytes are body and not its end; if so, they are consumed. */
  pass(length: number): boolean {
    if (this.#place !== 'sized' || length >= this.#left) return false
    this.#left -= length
    return true
  }

  /** The server has closed. Errors: in the middle of an answer. */
  close(): void {
    if (this.#place === 'untilClose') this.#sink.end()
    else if (this.#place !== 'head' || this.#line !== '')
      throw new Error('the connection ended in the middle of an answer')
  }

  /** Appends bytes to `#line` until it ends with `mark`. Returns the next offset; undefined when the mark has not come yet. */
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
    // An interim answer such as 103; the final one follows.
    if (head.status < 200 && head.status !== 101) return 'head'
    this.#trailers = 0
    const length = head.headers.get('content-length')
    const chunked = head.headers.get('transfer-encoding')
    this.#sink.head(head)
    if (head.status === 204 || head.status === 304) return this.#ended()
    if (chunked !== undefined) {
      if (chunked.toLowerCase() !== 'chunked') throw new Error('an answer with a transfer encoding other than chunked')
      return 'chunkLine'
    }
    if (length === undefined) return 'untilClose'
    // A list of equal values counts as one (RFC 9110, section 8.6).
    const [first = '', ...more] = length.split(/[ \t]*,[ \t]*/)
    if (!/^\d{1,15}$/.test(first) || more.some(each => each !== first)) {
      throw new Error('a Content-Length that is not one number')
    }
    this.#left = Number(first)
    return this.#left === 0 ? this.#ended() : 'sized'
  }

  #chunkText(place: Place, text: string): Place {
    if (place === 'trailer') {
      this.#trailers += text.length + 2
      if (this.#trailers > MAX_HEAD) throw new Error('trailers without an end')
      return text === '' ? this.#ended() : 'trailer'
    }
    if (place === 'chunkEnd') {
      if (text !== '') throw new Error('a chunk that is longer than its size')
      return 'chunkLine'
    }
    const size = /^([\da-f]{1,12})\s*(;|$)/i.exec(text)?.[1]
    if (size === undefined) throw new Error('a chunk without a size')
    this.#left = Number.parseInt(size, 16)
    return this.#left === 0 ? 'trailer' : 'chunk'
  }

  #ended(): Place {
    this.#sink.end()
    return 'head'
  }
}

/** Parses the head of an answer. Errors: Error when it is not HTTP/1. */
function parseHead(text: string): ResponseHead {
  const [first = '', ...lines] = text.split('\r\n')
  const status = /^HTTP\/1\.([01]) (\d{3})(?: |$)/.exec(first)
  if (!status) throw new Error('something that is not HTTP/1')
  const headers = new Map<string, string>()
  for (const line of lines) {
    const field = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*?)[ \t]*$/.exec(line)
    if (!field) throw new Error('a line that is not a header field')
    const name = field[1]!.toLowerCase()
    const before = headers.get(name)
    headers.set(name, before === undefined ? field[2]! : `${before}, ${field[2]}`)
  }
  const connection = headers.get('connection')?.toLowerCase() ?? ''
  const keepAlive = status[1] === '1' ? !connection.includes('close') : connection.includes('keep-alive')
  return { status: Number(status[2]), headers, keepAlive }
}
