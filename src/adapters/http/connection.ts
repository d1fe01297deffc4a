import type { Socket } from 'node:net'
import { type Answer, BLOCK, BLOCKS, type Block, Exchange, newBlock } from './exchange.ts'
import { type ResponseHead, ResponseReader } from './reader.ts'

/** A kept-alive connection turned out to be closed; the request may be repeated on a new one. */
export class Unanswered extends Error {}

/** Opens a connection that passes its bytes to `received`. When that returns false, reading stops until `resume`. */
export type OpenSocket = (received: Received) => Socket

/** The first `length` bytes. */
export type Received = (bytes: Buffer, length: number) => boolean

/**
 * One connection to a server. Requests are pipelined (RFC 9112, section 9.3.2), so the network is not idle between two ranges.
 * Bytes go from one socket buffer to a few reused blocks; `node:https` allocates a buffer per TLS record, which costs 40 MB of
 * memory and twice the work.
 */
export class HttpConnection {
  readonly #socket: Socket
  readonly #stall: number
  readonly #reader: ResponseReader
  readonly #free: Block[] = Array.from({ length: BLOCKS }, newBlock)
  readonly #watch: NodeJS.Timeout
  /** Requests with an unfinished answer, in the order sent. */
  readonly #pending: Exchange[] = []
  /** Number of requests whose answer was not read to its end; their blocks belong to this connection. */
  #unread = 0
  /** Whether bytes have arrived since the last check. */
  #moved = false
  #lastMove = performance.now()
  /** When we began to wait for the head of the current answer. */
  #asked = performance.now()
  #paused = false
  #served = false
  #error: Error | undefined
  #onIdle: (() => void)[] = []

  /** `stall`: milliseconds without an expected byte until the connection counts as broken. */
  constructor(open: OpenSocket, stall: number) {
    this.#stall = stall
    let head: ResponseHead | undefined
    this.#reader = new ResponseReader({
      head: next => {
        head = next
        this.#current().begin(next)
      },
      body: (bytes, from, to) => this.#store(bytes, from, to),
      end: () => {
        this.#current().end()
        this.#pending.shift()
        this.#served = true
        this.#asked = performance.now()
        if (!head?.keepAlive) this.destroy(new Error('the server closed the connection'))
        this.#tellIdle()
      },
    })
    this.#socket = open((bytes, length) => this.#received(bytes, length))
    this.#socket.on('end', () => this.#ended())
    this.#socket.on('close', () => this.destroy(new Error('the connection was closed')))
    this.#socket.on('error', error => this.destroy(error))
    this.#watch = setInterval(() => this.#look(), Math.min(stall / 4, 5_000)).unref()
  }

  /** Whether it accepts requests. */
  get open(): boolean {
    return this.#error === undefined
  }

  /** Whether answers are still to arrive or to be read. */
  get busy(): boolean {
    return this.#unread > 0
  }

  /** Resolves when all answers have ended, or cannot end any more. */
  async idle(): Promise<void> {
    if (this.#pending.length > 0 && this.open) await new Promise<void>(resolve => this.#onIdle.push(resolve))
  }

  /** Sends the text of a request without a body. Abort breaks the connection. */
  request(text: string, signal: AbortSignal): Promise<Answer> {
    if (this.#pending.length === 0) this.#lastMove = this.#asked = performance.now()
    const abort = (): void => this.destroy(signal.reason)
    const exchange = new Exchange({
      recycle: block => this.#recycle(block),
      read: () => {
        signal.removeEventListener('abort', abort)
        this.#unread--
      },
      leave: () => this.destroy(new Error('the answer was not wanted')),
    })
    this.#pending.push(exchange)
    this.#unread++
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    else if (this.#error) exchange.fail(this.#error)
    else this.#socket.write(text, 'latin1')
    return exchange.answer
  }

  destroy(error: Error): void {
    if (this.#error) return
    this.#error = error
    clearInterval(this.#watch)
    this.#socket.destroy()
    for (const exchange of this.#pending.splice(0)) {
      exchange.fail(this.#served && !exchange.begun ? new Unanswered(error.message, { cause: error }) : error)
    }
    this.#tellIdle()
  }

  #current(): Exchange {
    const [first] = this.#pending
    if (!first) throw new Error('an answer without a request')
    return first
  }

  #received(bytes: Buffer, length: number): boolean {
    this.#moved = true
    try {
      const exchange = this.#pending[0]
      const block = exchange?.filling
      // The common case: in the middle of an answer and of a block.
      if (block && block.used + length < BLOCK && this.#reader.pass(length)) {
        block.used += bytes.copy(block.bytes, block.used, 0, length)
        exchange.filled()
        return true
      }
      this.#reader.push(bytes, length)
    } catch (error) {
      this.destroy(new Error(`the server sent ${(error as Error).message}`))
    }
    // One socket buffer may hold the end of one answer and the start of the next.
    this.#paused = this.#free.length < 2
    return this.open && !this.#paused
  }

  #store(bytes: Buffer, from: number, to: number): void {
    const exchange = this.#current()
    for (let at = from; at < to; ) {
      // A paused TLS connection still delivers what it has decrypted.
      exchange.filling ??= this.#free.pop() ?? newBlock()
      const block = exchange.filling
      const part = bytes.copy(block.bytes, block.used, at, to)
      block.used += part
      at += part
      exchange.filled()
    }
  }

  #recycle(block: Block): void {
    if (this.#free.length < BLOCKS) {
      block.used = 0
      this.#free.push(block)
    }
    if (!this.#paused || this.#free.length < 2 || !this.open) return
    this.#paused = false
    this.#lastMove = this.#asked = performance.now()
    this.#socket.resume()
  }

  #ended(): void {
    try {
      this.#reader.close()
      this.destroy(new Error('the server closed the connection'))
    } catch (error) {
      this.destroy(error as Error)
    }
  }

  #look(): void {
    if (this.#moved) this.#lastMove = performance.now()
    this.#moved = false
    if (this.#pending.length === 0 || this.#paused) return
    // A head that arrives byte by byte counts as stalled.
    const { begun } = this.#current()
    if (performance.now() - (begun ? this.#lastMove : this.#asked) < this.#stall) return
    const what = begun ? 'no byte for' : 'no answer within'
    this.destroy(new Error(`${what} ${this.#stall / 1000} s`))
  }

  #tellIdle(): void {
    if (this.#pending.length > 0 && this.open) return
    for (const tell of this.#onIdle.splice(0)) tell()
  }
}
