import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { isIPv6, type Socket } from 'node:net'
import { messageOf } from '../domain/errors.ts'
import type { Log } from '../ports/log.ts'

/** Connections at the same time; further ones are closed at once. */
export const MAX_CONNECTIONS = 32

/** Requests in a row, and milliseconds between two after that: more of them wait. */
const [BURST, PACE] = [50, 20]

/** Milliseconds, except `flood`. */
export const LIMITS = {
  /** A request's headers must arrive within this time, and all of it within the second one. */
  headers: 3000,
  request: 6000,
  /** A connection on which nothing moves ends. */
  silence: 30_000,
  /** After `flood` connections within `floodWithin` it does not listen for `pause`: the kernel then refuses them at no cost. */
  flood: 2000,
  floodWithin: 5000,
  pause: 5000,
}
export type Limits = Readonly<typeof LIMITS>

export type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

export interface Listening {
  readonly address: string
  /** 0: the kernel chooses. */
  readonly port: number
  /** Milliseconds between two attempts. An address may come later than the agent. Default: 15 s. */
  readonly again?: number
  /** Where they differ from `LIMITS`. */
  readonly limits?: Partial<Limits>
  /** Called when it listens, with `why` undefined, and when it cannot. */
  readonly onChange?: (url: string, why: string | undefined) => void
}

/**
 * An HTTP server whose connections, headers and times are bounded. Where it cannot listen, it says so once and tries again.
 * A fault of `handler` is a line in the log. Returns a function that ends it.
 */
export function serveHttp(
  { address, port, again = 15_000, limits: own, onChange }: Listening,
  handler: Handler,
  log: Log,
): () => void {
  const limits = { ...LIMITS, ...own }
  let server: Server | undefined
  let timer: NodeJS.Timeout | undefined
  let said: string | undefined
  // After a pause it is where it was, also when the kernel had chosen.
  let chosen = port
  const begin = (): void => {
    const made = bounded(limits, paced(handler, log))
    server = made
    made.on('error', error => {
      const why = reasonOf(error, address, port)
      if (why !== said) log.warn('page.not-listening', { address, port, why })
      said = why
      onChange?.(urlOf(address, port), why)
      made.close()
      timer = setTimeout(begin, again)
      timer.unref()
    })
    made.on('listening', () => {
      const bound = made.address()
      if (typeof bound === 'object' && bound) chosen = bound.port
      const url = urlOf(address, chosen)
      said = undefined
      log.info('page.listening', { url })
      onChange?.(url, undefined)
    })
    onFlood(made, limits, () => {
      const why = `${limits.flood} connections came within ${limits.floodWithin / 1000} s: it listens again in ${limits.pause / 1000} s`
      log.warn('page.flooded', { address, port: chosen, why })
      onChange?.(urlOf(address, chosen), why)
      made.close()
      timer = setTimeout(() => made.listen(chosen, address), limits.pause)
      timer.unref()
    })
    made.listen(port, address)
  }
  begin()
  return () => {
    clearTimeout(timer)
    server?.close()
    server?.closeAllConnections()
  }
}

function bounded(limits: Limits, handler: (request: IncomingMessage, response: ServerResponse) => void): Server {
  const server = createServer(
    {
      maxHeaderSize: 8192,
      headersTimeout: limits.headers,
      requestTimeout: limits.request,
      connectionsCheckingInterval: Math.min(500, limits.headers),
      keepAliveTimeout: 5000,
    },
    handler,
  )
  server.maxConnections = MAX_CONNECTIONS
  // A browser that stops reading.
  server.timeout = limits.silence
  return server
}

/** Calls `pause` when too many connections come. */
function onFlood(server: Server, { flood, floodWithin }: Limits, pause: () => void): void {
  let count = 0
  let since = 0
  const counted = (): void => {
    const now = performance.now()
    if (now - since > floodWithin) [since, count] = [now, 0]
    count += 1
    if (count === flood) pause()
  }
  server.on('connection', counted)
  server.on('drop', counted)
}

/** Says when the next request is answered. Pure. */
export class Pace {
  #next = Number.NEGATIVE_INFINITY

  /** Milliseconds that the request which comes at `now` has to wait. */
  next(now: number): number {
    this.#next = Math.max(this.#next, now - BURST * PACE) + PACE
    return Math.max(0, this.#next - now)
  }
}

/** One request at a time from each connection, and not too many from all of them: they wait, and the agent does not. */
function paced(handler: Handler, log: Log): (request: IncomingMessage, response: ServerResponse) => void {
  const busy = new WeakSet<Socket>()
  const pace = new Pace()
  return (request, response) => {
    const { socket } = request
    if (busy.has(socket)) return void socket.destroy()
    busy.add(socket)
    response.once('close', () => busy.delete(socket))
    const wait = pace.next(performance.now())
    if (wait === 0) void answered(handler, request, response, log)
    else setTimeout(() => void answered(handler, request, response, log), wait).unref()
  }
}

async function answered(handler: Handler, request: IncomingMessage, response: ServerResponse, log: Log): Promise<void> {
  // A browser that goes away is not an error of the agent.
  request.on('error', () => {})
  response.on('error', () => {})
  // It may have gone while it waited for its turn.
  if (response.destroyed) return
  try {
    await handler(request, response)
  } catch (error) {
    if (request.errored) return
    log.error('page.failed', { why: messageOf(error) })
    if (response.headersSent) response.destroy()
    else response.writeHead(500).end('the agent has a fault here: see its log\n')
  }
}

const urlOf = (address: string, port: number): string => `http://${isIPv6(address) ? `[${address}]` : address}:${port}`

function reasonOf(error: NodeJS.ErrnoException, address: string, port: number): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `another program has the port ${port}: choose another one with piAdu.page.port`
    case 'EADDRNOTAVAIL':
      return `this device does not have the address ${address}`
    default:
      return messageOf(error)
  }
}
