import { write } from 'node:fs'
import type { Socket } from 'node:net'
import { AgentError } from '../domain/errors.ts'

/** What Node has of a Unix socket (pipe_wrap.cc): the same in Node 20, 22 and 24, and there is no public way to it. */
interface Pipe {
  readonly fd: number
  readStop(): number
  /** 0, or the error of uv_stream_set_blocking(). */
  setBlocking(blocking: boolean): number
}

/** SWUpdate reads no further (write(2)). */
const GONE: ReadonlySet<string | undefined> = new Set(['EPIPE', 'ECONNRESET', 'ERR_STREAM_DESTROYED'])

/**
 * The way of a bundle to SWUpdate's installer. A thread of the pool writes, and waits there while SWUpdate is behind: when the
 * main thread writes, the kernel wakes reader and writer by turns on one core, and another has nothing to do (measured on two
 * cores: up to a tenth of an installation).
 */
export class BundleStream {
  readonly #socket: Socket
  /** A Node that has it otherwise writes itself: slower, but no device may be without updates for it. */
  readonly #pipe: Pipe | undefined
  readonly #ended = new AbortController()
  #writing: Promise<boolean> = Promise.resolve(true)

  /** `socket`: made with `allowHalfOpen`, and used by nobody else from now on. */
  constructor(socket: Socket) {
    this.#socket = socket
    const pipe = (socket as unknown as { _handle?: Partial<Pipe> | null })._handle
    // What it might read could make Node close it: the descriptor would then be another file, under the writing thread.
    if (pipe?.readStop?.() === 0 && pipe.setBlocking?.(true) === 0 && Number.isInteger(pipe.fd))
      this.#pipe = pipe as Pipe
  }

  /** Aborted when all is written. */
  get ended(): AbortSignal {
    return this.#ended.signal
  }

  /**
   * Resolves when all of `piece` is with the kernel, or with false, when SWUpdate reads no further. One at a time. Errors:
   * AgentError `SWUPDATE_FAILED`.
   */
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
    await this.#writing.catch(() => {})
    this.#socket.destroy()
  }

  async #write(piece: Buffer): Promise<boolean> {
    try {
      for (let at = 0; at < piece.length; ) at += await this.#put(piece.subarray(at))
      return true
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException
      if (GONE.has(code)) return false
      throw new AgentError('SWUPDATE_FAILED', `swupdate cannot be given the bundle: ${message}`, { cause })
    }
  }

  /** How many bytes are with the kernel. */
  #put(bytes: Buffer): Promise<number> {
    return new Promise((resolve, reject) => {
      const done = (error?: Error | null, written = bytes.length): void => (error ? reject(error) : resolve(written))
      if (this.#pipe) write(this.#pipe.fd, bytes, done)
      else this.#socket.write(bytes, error => done(error))
    })
  }
}
