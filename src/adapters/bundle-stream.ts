import { write } from 'node:fs'
import type { Socket } from 'node:net'

/** What Node has of a Unix socket (pipe_wrap.cc): the same in Node 20, 22 and 24, and there is no public way to it. */
interface Pipe {
  readonly fd: number
  readStop(): number
  setBlocking(blocking: boolean): number
}

/**
 * The way of a bundle to SWUpdate's installer. A thread of the pool writes, and waits there while SWUpdate is behind: when the
 * main thread writes, the kernel wakes reader and writer by turns on one core, and another has nothing to do (measured on two
 * cores: up to a tenth of an installation).
 */
export class BundleStream {
  readonly #socket: Socket
  readonly #pipe: Pipe | null
  readonly #ended = new AbortController()
  #writing: Promise<boolean> = Promise.resolve(true)

  /** `socket`: made with `allowHalfOpen`, and used by nobody else from now on. */
  constructor(socket: Socket) {
    this.#socket = socket
    this.#pipe = (socket as unknown as { _handle: Pipe | null })._handle
    // What it might read could make Node close it: the descriptor would then be another file, under the writing thread.
    this.#pipe?.readStop()
    this.#pipe?.setBlocking(true)
  }

  /** Aborted when all is written. */
  get ended(): AbortSignal {
    return this.#ended.signal
  }

  /** Resolves when all of `piece` is with the kernel, or with false, when SWUpdate reads no further. One at a time. */
  write(piece: Buffer): Promise<boolean> {
    this.#writing = this.#write(piece)
    return this.#writing
  }

  end(): void {
    this.#socket.end()
    this.#ended.abort()
  }

  /** A write that waits is waited for: SWUpdate is to be ended first. */
  async close(): Promise<void> {
    await this.#writing
    this.#socket.destroy()
  }

  async #write(piece: Buffer): Promise<boolean> {
    for (let at = 0; at < piece.length; ) {
      const from = at
      const written = await new Promise<number>(resolve => {
        if (!this.#pipe) resolve(0)
        else write(this.#pipe.fd, piece, from, piece.length - from, null, (error, bytes) => resolve(error ? 0 : bytes))
      })
      if (written === 0) return false
      at += written
    }
    return true
  }
}
