import { createConnection, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { AgentError } from '../../domain/errors.ts'
import { BundleStream } from './bundle-stream.ts'
import { fileAt, type SocketPlace } from './socket-place.ts'

const MAGIC = 0x14052001
const API_VERSION = 1
const TYPE = { install: 0, ack: 1, getStatus: 3 } as const
const STATUS = { idle: 0, start: 1, success: 3, failure: 4 } as const
/** The message's header: magic and type. */
const HEADER = 8
/** Longer than the message of any version. */
const LONG = 16_384
/** Milliseconds from the start of the program until it listens, even on a slow, busy card. */
const LISTENS_WITHIN = 60_000
/** Milliseconds for an answer, which comes from a thread that no installation blocks. */
const ANSWERS_WITHIN = 60_000
/** Milliseconds between two status requests, while the bundle is written and afterwards. */
const LOOK_EVERY = 250
const LOOK_EVERY_WHEN_WRITTEN = 20

type Place = Pick<SocketPlace, 'path'> & Partial<Pick<SocketPlace, 'stale'>>

/**
 * The control socket of a SWUpdate that was started for one installation, used like `swupdate-client` does (network_ipc.h of
 * libswupdate). The installer reads the bundle directly. With `swupdate -i` another thread of SWUpdate would read it first and
 * copy it 16 KiB at a time: 2.8 s instead of 1.9 s for 1 GiB from a file.
 */
export class ControlSocket {
  readonly #place: Place
  readonly #gone: AbortSignal
  readonly #patience: number
  #silent = false
  /** Of the socket file; another SWUpdate that takes the same path makes a new one. */
  #file: string | undefined

  /** `gone`: aborted when the program has ended. `patience`: milliseconds for an answer. */
  constructor(place: Place, gone: AbortSignal, patience = ANSWERS_WITHIN) {
    this.#place = place
    this.#gone = gone
    this.#patience = patience
  }

  /** Whether it failed to answer the last time. */
  get silent(): boolean {
    return this.#silent
  }

  /** The socket to write the bundle to. Errors: AgentError `SWUPDATE_FAILED` when SWUpdate does not listen or refuses us. */
  async install(): Promise<BundleStream> {
    const size = await this.#messageSize()
    let stream: Socket | undefined
    const begun = performance.now()
    const isOver = (): boolean => performance.now() - begun > this.#patience
    for (;;) {
      if (isOver()) {
        stream?.destroy()
        throw new AgentError(
          'SWUPDATE_FAILED',
          `swupdate did not start to read the bundle within ${this.#patience / 1000} s`,
        )
      }
      const { socket, answer } = await this.#ask(message(TYPE.install, size))
      if (answer.readInt32LE(4) === TYPE.ack) {
        stream?.destroy()
        stream = socket
      } else {
        socket.destroy()
        if (!stream) throw new AgentError('SWUPDATE_FAILED', 'swupdate refuses to start an installation')
      }
      // SWUpdate 2022.12 loses a request that arrives before its installer waits for one.
      for (let look = 0; look < 10 && !isOver(); ) {
        const { current, said } = await this.#status()
        // A message from SWUpdate's start carries the state of that time. Only the first message of an installation, or an answer
        // without a message, shows that it has begun. Otherwise the bundle would go to a socket that nobody reads.
        if (current === STATUS.start || (current !== STATUS.idle && !said)) return new BundleStream(stream)
        if (said) continue
        look += 1
        await sleep(10)
      }
    }
  }

  /**
   * Waits until SWUpdate has finished with the bundle, and returns whether it is installed. The end of the connection means
   * nothing, because a helper process of SWUpdate may have inherited it. `written`: aborted when the kernel has the whole
   * bundle. `onMessage`: called for each message. Errors: AgentError `SWUPDATE_FAILED`, `SWUPDATE_STALLED` when it no longer
   * answers.
   */
  async installed(written: AbortSignal, onMessage = (): void => {}): Promise<boolean> {
    for (;;) {
      const { current, last, said } = await this.#status()
      if (said) onMessage()
      if (last === STATUS.success) return true
      // After a failure, SWUpdate may still run its failure scripts.
      if (last === STATUS.failure && current === STATUS.idle && !said) return false
      if (written.aborted) await sleep(LOOK_EVERY_WHEN_WRITTEN)
      else if (!said) await sleep(LOOK_EVERY, undefined, { signal: written }).catch(() => {})
    }
  }

  /** Each answer carries the oldest unread message, if any, and the state at that time. */
  async #status(): Promise<{ current: number; last: number; said: boolean }> {
    const { socket, answer } = await this.#ask(message(TYPE.getStatus, LONG))
    socket.destroy()
    return {
      current: answer.readInt32LE(HEADER),
      last: answer.readInt32LE(HEADER + 4),
      said: answer[HEADER + 12] !== 0,
    }
  }

  /**
   * The size of a message differs between versions, and SWUpdate drops a short one. Of a longer one it reads the size that it
   * knows, and answers with that size.
   */
  async #messageSize(): Promise<number> {
    const begun = performance.now()
    for (;;) {
      try {
        const { socket, answer } = await this.#ask(message(TYPE.getStatus, LONG))
        socket.destroy()
        return answer.length
      } catch (error) {
        if (this.#gone.aborted || performance.now() - begun > LISTENS_WITHIN) throw error
        await sleep(5)
      }
    }
  }

  /** SWUpdate writes its answer in one piece, and unix(7) delivers it in one piece if it fits into a buffer. */
  async #ask(request: Buffer): Promise<{ socket: Socket; answer: Buffer }> {
    const { path } = this.#place
    const before = this.#file ?? (await fileAt(path))
    if (before !== undefined && before === this.#place.stale)
      throw new AgentError('SWUPDATE_FAILED', `swupdate has not replaced the older socket ${path}`)
    const socket = createConnection({ path, allowHalfOpen: true })
    let late = false
    const answer = await new Promise<Buffer | string>(resolve => {
      socket.on('error', error => resolve(error.message))
      socket.on('end', () => resolve('it closed the connection'))
      socket.on('data', resolve)
      socket.setTimeout(this.#patience, () => {
        late = true
        resolve(`nothing within ${this.#patience / 1000} s`)
      })
      socket.write(request)
    })
    socket.setTimeout(0)
    this.#silent = typeof answer === 'string'
    const isWhole = typeof answer !== 'string' && answer.length > HEADER + 12 && answer.readInt32LE(0) === MAGIC
    // The end of the program removes the file.
    const after = isWhole ? ((await fileAt(path)) ?? before) : undefined
    if (isWhole && after === before) {
      this.#file = before
      return { socket, answer }
    }
    socket.destroy()
    const why = isWhole ? 'another SWUpdate has taken its socket' : answer
    const form = typeof why === 'string' ? why : 'its answer has another form'
    const code = late ? 'SWUPDATE_STALLED' : 'SWUPDATE_FAILED'
    throw new AgentError(code, `swupdate does not answer at ${path}: ${form}`)
  }
}

/** Fields that are zero take their values from SWUpdate's command line. Little-endian, as on every Pi. */
function message(type: number, size: number): Buffer {
  const bytes = Buffer.alloc(size)
  bytes.writeInt32LE(MAGIC, 0)
  bytes.writeInt32LE(type, 4)
  if (type === TYPE.install) bytes.writeInt32LE(API_VERSION, HEADER)
  return bytes
}
