import type { ServerResponse } from 'node:http'
import { messageOf } from '../domain/errors.ts'
import type { Log } from '../ports/log.ts'

/** Browsers that follow at the same time. */
export const MAX_FOLLOWERS = 8

/** Bytes that may wait unread for a browser; a slower one is closed, and comes again. */
const MAX_WAITING = 64 * 1024

/** Milliseconds between two messages: at least, and at most, because durations in the text go on. */
const [OFTEN, SELDOM] = [200, 5000]

/** Milliseconds after which a browser comes again. */
const AGAIN = 3000

export interface Source {
  /** A JSON value. */
  state(): object
  /** Calls `changed` from now on, when `state` gives something else. Returns a function that ends this. */
  watch(changed: () => void): () => void
}

/** Sends the state to browsers as server-sent events. Nothing is computed while nobody follows. */
export class Feed {
  readonly #source: Source
  readonly #log: Log
  readonly #followers = new Set<ServerResponse>()
  #unwatch = (): void => {}
  #timer: NodeJS.Timeout | undefined
  #changed = false
  #sent = 0

  constructor(source: Source, log: Log) {
    this.#source = source
    this.#log = log
  }

  /** One more than there may be takes the place of the one that is there longest, whose browser may be out of reach. */
  add(response: ServerResponse): void {
    const [oldest] = this.#followers
    if (oldest && this.#followers.size >= MAX_FOLLOWERS) this.#remove(oldest)
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    response.on('error', () => {})
    response.once('close', () => this.#remove(response))
    this.#followers.add(response)
    if (this.#followers.size === 1) this.#begin()
    response.write(`retry: ${AGAIN}\n\n`)
    this.#send([response])
  }

  end(): void {
    for (const each of [...this.#followers]) this.#remove(each)
  }

  #begin(): void {
    this.#unwatch = this.#source.watch(() => {
      this.#changed = true
    })
    this.#timer = setInterval(() => {
      if (!this.#changed && performance.now() - this.#sent < SELDOM) return
      this.#changed = false
      this.#sent = performance.now()
      this.#send([...this.#followers])
    }, OFTEN)
    this.#timer.unref()
  }

  #remove(response: ServerResponse): void {
    response.destroy()
    if (!this.#followers.delete(response) || this.#followers.size > 0) return
    clearInterval(this.#timer)
    this.#unwatch()
  }

  /** Never throws: a fault of the page is none of the agent. */
  #send(to: readonly ServerResponse[]): void {
    try {
      const message = `data: ${JSON.stringify(this.#source.state())}\n\n`
      for (const each of to) {
        if (each.writableLength > MAX_WAITING) this.#remove(each)
        else each.write(message)
      }
    } catch (error) {
      this.#log.error('page.failed', { why: messageOf(error) })
      this.end()
    }
  }
}
