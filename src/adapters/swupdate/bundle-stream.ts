import { write } from 'node:fs'
import type { Socket } from 'node:net'
import { AgentError } from '../../domain/errors.ts'

/** Node's internal handle of a Unix socket (pipe_wrap.cc): the same in Node 20, 22 and 24. There is no public API for it. */
interface Pipe {
  readonly fd: number
  readStop(): number
  /** 0, or the error of uv_stream_set_blocking(). */
  setBlocking(blocking: boolean): number
}

/** SWUpdate has stopped reading (write(2)). */
const GONE: ReadonlySet<string | undefined> = new Set(['EPIPE', 'ECONNRESET', 'ERR_STREAM_DESTROYED'])

/**
 * Writes a bundle to SWUpdate's installer. A pool thread writes, and blocks while SWUpdate is behind. If the main thread wrote, the
 * kernel would wake reader and writer in turn on one core while the other is idle (measured on two cores: up to a tenth of an
 * installation).
 */
export class BundleStream {
  readonly #socket: Socket
  /** If a Node version differs here, Node writes the stream itself: slower, but updates still work. */
  readonly #pipe: Pipe | undefined
  readonly #ended = new AbortController()
  #writing: Promise<boolean> = Promise.resolve(true)

  /** `socket`: created with `allowHalfOpen`, and not used elsewhere from now on. */
  constructor(socket: Socket) {
    this.#socket = socket
    const pipe = (socket as unknown as { _handle?: Partial<Pipe> | null })._handle
    // If Node read from it, it could close it, and the writing thread's descriptor could become another file.
    if (pipe?.readStop?.() === 0 && pipe.setBlocking?.(true) === 0 && Number.isInteger(pipe.fd))
      this.#pipe = pipe as Pipe
  }

  /** Aborted when everything is written. */
  get ended(): AbortSignal {
    return this.#ended.signal
  }

  /**
   * Resolves when the kernel has all of `piece`; with false when SWUpdate has stopped reading. One call at a time. Errors:
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

  /** Waits for a blocked write, so end SWUpdate first. */
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
      throw new AgentError('SWUPDATE_FAILED', `the bundle cannot be sent to swupdate: ${message}`, { cause })
    }
  }

  /** Bytes that the kernel has accepted. */
  #put(bytes: Buffer): Promise<number> {
    return new Promise((resolve, reject) => {
      const done = (error?: Error | null, written = bytes.length): void => (error ? reject(error) : resolve(written))
      if (this.#pipe) write(this.#pipe.fd, bytes, done)
      else this.#socket.write(bytes, error => done(error))
    })
  }
}
