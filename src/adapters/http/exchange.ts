import type { ResponseHead } from './reader.ts'

/** In bytes. */
export const BLOCK = 196_608
/** Blocks for bytes that are read ahead: at most 1 MiB altogether. */
export const BLOCKS = 5

export interface Block {
  readonly bytes: Buffer
  used: number
}

export interface Answer extends ResponseHead {
  /**
   * The caller must read it to its end or abort the request's signal. Each piece is valid until the next is requested. If the
   * connection breaks, it first yields everything that has arrived, and then throws.
   */
  readonly body: AsyncIterable<Buffer>
  /** Closes the connection instead of reading to the end. */
  leave(): void
}

export const newBlock = (): Block => ({ bytes: Buffer.allocUnsafeSlow(BLOCK), used: 0 })

interface Owner {
  recycle(block: Block): void
  /** Nothing more will be read from it. */
  read(): void
  leave(): void
}

/** One request and its answer so far. */
export class Exchange {
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
    // A range requested ahead may never be read.
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

  /** Once per turn of the event loop: TLS delivers 16 KiB at a time, and a wake-up costs as much as many records. */
  #tell(): void {
    const wake = this.#wake
    if (!wake) return
    this.#wake = undefined
    setImmediate(wake)
  }
}
