import { createServer, type Server, type Socket } from 'node:net'
import { AgentError, asAgentError, messageOf } from '../domain/errors.ts'
import { jsonText } from '../domain/terminal.ts'
import type { Log } from '../ports/log.ts'
import type { Orders } from './orders.ts'
import { type Answer, MAX_REQUEST, type Request, readRequest, refusedBy } from './protocol.ts'

/** Clients at the same time; further ones are closed at once. The agent needs two. */
export const MAX_CLIENTS = 8

/** Bytes of unfinished requests of all clients together. */
const MAX_UNFINISHED = 1.5 * MAX_REQUEST

/** Bytes that may wait unread for a client; a slower client is closed. Its order goes on. */
const MAX_WAITING = 64 * 1024

/** Milliseconds within which a client must send its request. */
const PATIENCE = 10_000

const NEWLINE = 0x0a

export interface ServerOptions {
  /** Milliseconds without client and order until `onIdle` is called. Undefined: never. */
  readonly idle: number | undefined
  readonly onIdle: () => void
}

/** Takes orders from a listening socket. Each connection has one. */
export class StepServer {
  readonly server: Server
  readonly #orders: Orders
  readonly #log: Log
  readonly #options: ServerOptions
  readonly #clients = new Set<Socket>()
  #unfinished = 0
  #timer: NodeJS.Timeout | undefined

  constructor(orders: Orders, options: ServerOptions, log: Log) {
    this.#orders = orders
    this.#options = options
    this.#log = log
    this.server = createServer(socket => this.#serve(socket))
    this.server.maxConnections = MAX_CLIENTS
    this.server.on('error', error => log.error('steps.socket-failed', { why: messageOf(error) }))
    this.#wait()
  }

  /** Takes no more orders, and closes the connections of those that are done. */
  close(): void {
    clearTimeout(this.#timer)
    this.server.close()
  }

  #serve(socket: Socket): void {
    this.#clients.add(socket)
    const pieces: Buffer[] = []
    let length = 0
    let leave = (): void => {}
    const forget = (): void => {
      this.#unfinished -= length
      length = 0
      pieces.length = 0
    }
    const end = (answer: Answer): void => {
      clearTimeout(patience)
      forget()
      finish(socket, answer)
    }
    const refuse = (error: unknown): void => end(refusedBy(asAgentError(error)))
    const patience = setTimeout(() => refuse(invalid('no order came')), PATIENCE)
    // A client that goes away is no error: its order goes on.
    socket.on('error', () => {})
    socket.once('close', () => {
      clearTimeout(patience)
      forget()
      leave()
      this.#clients.delete(socket)
      this.#wait()
    })
    socket.on('data', (piece: Buffer) => {
      const at = piece.indexOf(NEWLINE)
      const part = at < 0 ? piece : piece.subarray(0, at)
      pieces.push(part)
      length += part.length
      this.#unfinished += part.length
      if (length > MAX_REQUEST) return refuse(invalid(`the request has more than ${MAX_REQUEST} bytes`))
      if (this.#unfinished > MAX_UNFINISHED)
        return refuse(new AgentError('STEP_SERVICE', 'the step service is busy with other requests'))
      if (at < 0) return
      clearTimeout(patience)
      socket.removeAllListeners('data').resume()
      const line = Buffer.concat(pieces).toString()
      forget()
      leave = this.#order(socket, line, end)
    })
  }

  /** Returns a function for a client that has gone away. */
  #order(socket: Socket, line: string, end: (answer: Answer) => void): () => void {
    let request: Request
    try {
      request = readRequest(line)
    } catch (error) {
      end(refusedBy(asAgentError(error)))
      return () => {}
    }
    const { ended, leave } = this.#orders.take(request, progress => send(socket, { progress }))
    void ended.then(answer => {
      leave()
      // Without an answer the client asks the next service.
      if (answer) end(answer)
      else socket.destroy()
      this.#wait()
    })
    return leave
  }

  /** From now on, if there is nothing to do. */
  #wait(): void {
    clearTimeout(this.#timer)
    const { idle, onIdle } = this.#options
    if (idle === undefined) return
    this.#timer = setTimeout(() => {
      if (this.#clients.size > 0 || this.#orders.busy) return
      this.#log.info('steps.idle')
      onIdle()
    }, idle)
  }
}

function send(socket: Socket, answer: Answer): void {
  if (socket.destroyed || socket.writableEnded) return
  if (socket.writableLength > MAX_WAITING) return void socket.destroy()
  socket.write(`${jsonText(answer)}\n`)
}

function finish(socket: Socket, answer: Answer): void {
  if (socket.destroyed || socket.writableEnded) return
  socket.removeAllListeners('data').resume()
  socket.end(`${jsonText(answer)}\n`)
  // For a client that does not close its side.
  setTimeout(() => socket.destroy(), 1000).unref()
}

const invalid = (why: string): AgentError => new AgentError('STEP_REFUSED', `the request is not valid: ${why}`)
