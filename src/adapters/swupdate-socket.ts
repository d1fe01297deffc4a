import { createConnection, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { AgentError } from '../domain/errors.ts'
import { BundleStream } from './bundle-stream.ts'

/** In the folder TMPDIR or RUNTIME_DIRECTORY of SWUpdate. */
export const CONTROL_SOCKET = 'sockinstctrl'

const MAGIC = 0x14052001
const API_VERSION = 1
const TYPE = { install: 0, ack: 1, getStatus: 3 } as const
const STATUS = { idle: 0, success: 3, failure: 4 } as const
/** The message's header: magic and type. */
const HEADER = 8
/** Longer than the message of any version. */
const LONG = 16_384
/** Milliseconds from the start of the program until it listens: on a slow card with much to do. */
const LISTENS_WITHIN = 60_000
/** Milliseconds for an answer: it has a thread of its own for them, which no installation holds up. */
const ANSWERS_WITHIN = 60_000
/** Milliseconds, while the bundle is written, and then. */
const LOOK_EVERY = 250
const LOOK_EVERY_WHEN_WRITTEN = 20

/**
 * The control socket of a SWUpdate that was started for one installation, as `swupdate-client` uses it (network_ipc.h of
 * libswupdate). The bundle goes to the installer itself; with `swupdate -i` a thread of SWUpdate's own reads it first and
 * hands it over 16 KiB at a time: 2.8 s instead of 1.9 s for 1 GiB from a file.
 */
export class ControlSocket {
  readonly #path: string
  readonly #gone: AbortSignal
  readonly #patience: number
  #silent = false

  /** `gone`: aborted when the program has ended. `patience`: milliseconds for an answer. */
  constructor(path: string, gone: AbortSignal, patience = ANSWERS_WITHIN) {
    this.#path = path
    this.#gone = gone
    this.#patience = patience
  }

  /** It did not answer the last time. */
  get silent(): boolean {
    return this.#silent
  }

  /** Where the bundle is to be written. Errors: AgentError `SWUPDATE_FAILED` when it does not listen, or not to us. */
  async install(): Promise<BundleStream> {
    const size = await this.#messageSize()
    let stream: Socket | undefined
    for (;;) {
      const { socket, answer } = await this.#ask(message(TYPE.install, size))
      if (answer.readInt32LE(4) === TYPE.ack) {
        stream?.destroy()
        stream = socket
      } else {
        socket.destroy()
        if (!stream) throw new AgentError('SWUPDATE_FAILED', 'swupdate does not take the bundle')
      }
      // SWUpdate 2022.12 forgets a request that comes before its installer waits for one.
      for (let look = 0; look < 10; look++) {
        if ((await this.#status()).current !== STATUS.idle) return new BundleStream(stream)
        await sleep(10)
      }
    }
  }

  /**
   * Waits until SWUpdate has done all it does for a bundle: whether it is installed. The end of the connection says nothing: a
   * helper process of SWUpdate's may have inherited it, and keep it open. `written`: aborted when all of the bundle is with
   * the kernel. Errors: AgentError `SWUPDATE_FAILED` when it does not answer any more.
   */
  async installed(written: AbortSignal): Promise<boolean> {
    for (;;) {
      const { current, last, said } = await this.#status()
      if (last === STATUS.success) return true
      // Scripts that put things right after a failure are still to come.
      if (last === STATUS.failure && current === STATUS.idle && !said) return false
      if (written.aborted) await sleep(LOOK_EVERY_WHEN_WRITTEN)
      else if (!said) await sleep(LOOK_EVERY, undefined, { signal: written }).catch(() => {})
    }
  }

  /** Each answer carries one of its earlier messages, as long as there are any, and the state of that time. */
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
   * A message has another size in each version, and one of a wrong size is dropped. Of one that is too long SWUpdate reads
   * as much as it knows, and answers with as much.
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

  /** SWUpdate writes its answer at once, and unix(7) hands over at once what fits into one buffer. */
  async #ask(request: Buffer): Promise<{ socket: Socket; answer: Buffer }> {
    const socket = createConnection({ path: this.#path, allowHalfOpen: true })
    const answer = await new Promise<Buffer | string>(resolve => {
      socket.on('error', error => resolve(error.message))
      socket.on('end', () => resolve('it closed the connection'))
      socket.on('data', resolve)
      socket.setTimeout(this.#patience, () => resolve(`nothing within ${this.#patience / 1000} s`))
      socket.write(request)
    })
    socket.setTimeout(0)
    this.#silent = typeof answer === 'string'
    if (typeof answer !== 'string' && answer.length > HEADER + 12 && answer.readInt32LE(0) === MAGIC) {
      return { socket, answer }
    }
    socket.destroy()
    const why = typeof answer === 'string' ? answer : 'it says something else'
    throw new AgentError('SWUPDATE_FAILED', `swupdate does not answer at ${this.#path}: ${why}`)
  }
}

/** All that is not said is as on SWUpdate's command line. In the byte order of every Pi. */
function message(type: number, size: number): Buffer {
  const bytes = Buffer.alloc(size)
  bytes.writeInt32LE(MAGIC, 0)
  bytes.writeInt32LE(type, 4)
  if (type === TYPE.install) bytes.writeInt32LE(API_VERSION, HEADER)
  return bytes
}
