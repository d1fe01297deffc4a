import type { Socket } from 'node:net'
import { type ResponseHead, ResponseReader } from './http-reader.ts'

const BLOCK = 196_608
/** Read ahead of whoever takes the bytes, and with them: 1 MiB, and it stays that. */
const BLOCKS = 5

interface Block {
  readonly bytes: Buffer
  used: number
}

export interface Answer extends ResponseHead {
  /**
   * To be read to its end, or its request's signal aborted. Each piece is good until the next is asked for. Throws
   * when the connection breaks, but first gives what had come.
   */
  readonly body: AsyncIterable<Buffer>
  /** Instead of reading to its end: closes the connection. */
  leave(): void
}

/** A kept connection turned out to be closed: the same request may go out on a new one. */
export class Unanswered extends Error {}

/** Opens a connection that hands what it reads to `received`, and stops reading while that says false, until `resume`. */
export type OpenSocket = (received: Received) => Socket

/** The first `length` bytes. */
export type Received = (bytes: Buffer, length: number) => boolean

/**
 * One connection to a server, over which requests go out while earlier answers still come in (RFC 9112, chapter 9.3.2): so
 * the wire is not idle between two ranges, on one connection. Bytes go from one socket buffer to a few blocks that are used
 * over and over; `node:https` makes a new buffer for each TLS record, which is 40 MB of memory and twice the work.
 */
export class HttpConnection {
  readonly #socket: Socket
  readonly #stall: number
  readonly #reader: ResponseReader
  readonly #free: Block[] = Array.from({ length: BLOCKS }, newBlock)
  readonly #watch: NodeJS.Timeout
  /** Those whose answer has not come to its end, in the order sent. */
  readonly #pending: Exchange[] = []
  /** Those whose answer was not read to its end: its blocks are ours. */
  #unread = 0
  /** Bytes have come since the last look. */
  #moved = false
  #lastMove = performance.now()
  /** Since when the head of the current answer is waited for. */
  #asked = performance.now()
  #paused = false
  #served = false
  #error: Error | undefined
  #onIdle: (() => void)[] = []

  /** `stall`: milliseconds without a byte, while one is waited for, after which the connection counts as broken. */
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

  /** Takes requests. */
  get open(): boolean {
    return this.#error === undefined
  }

  /** Answers are still to come, or to be read. */
  get busy(): boolean {
    return this.#unread > 0
  }

  /** Resolves when all answers have come to their end, or never will. */
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
    if (!first) throw new Error('an answer that nobody asked for')
    return first
  }

  #received(bytes: Buffer, length: number): boolean {
    this.#moved = true
    try {
      const exchange = this.#pending[0]
      const block = exchange?.filling
      // Nearly all bytes are in the middle of an answer, and of a block.
      if (block && block.used + length < BLOCK && this.#reader.pass(length)) {
        block.used += bytes.copy(block.bytes, block.used, 0, length)
        exchange.filled()
        return true
      }
      this.#reader.push(bytes, length)
    } catch (error) {
      this.destroy(new Error(`the server sent ${(error as Error).message}`))
    }
    // What one socket buffer holds may end one answer, and begin the next.
    this.#paused = this.#free.length < 2
    return this.open && !this.#paused
  }

  #store(bytes: Buffer, from: number, to: number): void {
    const exchange = this.#current()
    for (let at = from; at < to; ) {
      // A TLS connection that was told to stop still gives what it has decrypted.
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
    // A head that comes byte by byte is none.
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

const newBlock = (): Block => ({ bytes: Buffer.allocUnsafeSlow(BLOCK), used: 0 })

interface Owner {
  recycle(block: Block): void
  /** Nothing more will be read from it. */
  read(): void
  leave(): void
}

/** One request and its answer, as far as it has come. */
class Exchange {
  readonly answer: Promise<Answer>
  filling: Block | undefined
  begun = false
  readonly #full: Block[] = []
  readonly #owner: Owner
  #resolve: (answer: Answer) => void = () => {}
  #reject: (error: Error) => void = () => {}
  #over = false
  #error: Error | undefined
  #wake: (() => void) | undefined

  constructor(owner: Owner) {
    this.#owner = owner
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    // Whoever asked ahead may never come for it.
    this.answer.catch(() => {})
  }

  begin(head: ResponseHead): void {
    this.begun = true
    this.#resolve({ ...head, body: this.#body(), leave: () => this.#owner.leave() })
  }

  filled(): void {
    if (this.filling?.used === BLOCK) {
      this.#full.push(this.filling)
      this.filling = undefined
    }
    this.#tell()
  }

  end(): void {
    this.#over = true
    this.#tell()
  }

  fail(error: Error): void {
    this.#error = error
    this.#reject(error)
    if (!this.begun) this.#owner.read()
    this.end()
  }

  async *#body(): AsyncGenerator<Buffer> {
    for (;;) {
      const block = this.#take()
      if (block) {
        yield block.bytes.subarray(0, block.used)
        this.#owner.recycle(block)
      } else if (this.#over) break
      else {
        await new Promise<void>(resolve => {
          this.#wake = resolve
        })
      }
    }
    this.#owner.read()
    if (this.#error) throw this.#error
  }

  #take(): Block | undefined {
    const full = this.#full.shift()
    if (full) return full
    const { filling } = this
    this.filling = undefined
    return filling
  }

  /** Once a turn: a TLS connection gives 16 KiB at a time, and each wake-up costs as much as many of them. */
  #tell(): void {
    const wake = this.#wake
    if (!wake) return
    this.#wake = undefined
    setImmediate(wake)
  }
}
