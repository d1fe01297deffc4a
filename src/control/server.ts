import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { messageOf } from '../domain/errors.ts'
import { jsonText } from '../domain/terminal.ts'
import type { Log } from '../ports/log.ts'
import { socketAddress } from './address.ts'
import { type Command, type Line, MAX_REQUEST, readRequest } from './protocol.ts'
import type { Publisher } from './publisher.ts'
import type { Requests } from './requests.ts'

/** Clients at the same time; further ones are closed at once. */
export const MAX_CLIENTS = 32

/** Bytes that may wait unread for a client; a slower client is closed. */
export const MAX_WAITING = 256 * 1024

/** Milliseconds within which a client must send its request. */
const PATIENCE = 10_000

/** Commands of one client that may wait for their turn. */
const MAX_QUEUE = 16

const TOO_LONG = 'the request is too long'

/** Read and write for owner and group only. */
const MODE = 0o660

/**
 * Serves the view, the events and the commands on a Unix socket. If the socket cannot be created, that is logged and the agent works
 * without it. Returns a function that stops the server.
 */
export async function serveControl(
  path: string,
  publisher: Publisher,
  requests: Pick<Requests, 'answer'>,
  log: Log,
): Promise<() => void> {
  const clients = new Set<Socket>()
  const server = createServer(socket => {
    clients.add(socket)
    socket.once('close', () => clients.delete(socket))
    serve(socket, publisher, requests)
  })
  server.maxConnections = MAX_CLIENTS
  try {
    const address = await listen(server, path)
    server.on('error', error => log.warn('control.failed', { file: path, why: messageOf(error) }))
    let isClosed = false
    return () => {
      if (isClosed) return
      isClosed = true
      server.close()
      for (const socket of clients) socket.destroy()
      rmSync(address.path, { force: true })
      address.close()
    }
  } catch (error) {
    log.warn('control.not-listening', { file: path, why: messageOf(error) })
    return () => {}
  }
}

async function listen(server: Server, path: string): Promise<ReturnType<typeof socketAddress>> {
  const address = socketAddress(path)
  try {
    // A killed process leaves its socket behind. The lock of the data folder ensures that no other agent is running.
    rmSync(address.path, { force: true })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(address.path, () => {
        server.off('error', reject)
        resolve()
      })
    })
    chmodSync(address.path, MODE)
    return address
  } catch (error) {
    server.close()
    address.close()
    throw error
  }
}

/** Serves one client until either side closes the connection. */
function serve(socket: Socket, publisher: Publisher, requests: Pick<Requests, 'answer'>): void {
  const gone = new AbortController()
  let queued = 0
  let last = Promise.resolve()
  let unfinished = ''
  let end = (): void => {}
  const patience = setTimeout(() => refuse('no request came'), PATIENCE)
  socket.setEncoding('utf8')
  // A client that disconnects is not an error of the agent.
  socket.on('error', () => {})
  socket.once('close', () => {
    clearTimeout(patience)
    end()
    gone.abort()
  })
  socket.on('data', (chunk: string) => {
    const lines = (unfinished + chunk).split('\n')
    unfinished = lines.pop() ?? ''
    for (const line of lines) {
      if (socket.destroyed || socket.writableEnded) return
      answer(line)
    }
    if (unfinished.length > MAX_REQUEST) refuse(TOO_LONG)
  })

  function answer(line: string): void {
    const request = line.length > MAX_REQUEST ? TOO_LONG : readRequest(line)
    if (typeof request === 'string') {
      refuse(request)
      return
    }
    clearTimeout(patience)
    if (request.do !== 'view' && request.do !== 'watch') {
      order(request)
      return
    }
    if (request.do === 'watch') {
      end()
      end = publisher.watch({ onEvent: send, onView: view => send({ view }) })
    }
    send({ view: publisher.view })
    if (request.do === 'watch' && request.after !== undefined)
      for (const event of publisher.recent(request.after)) send(event)
  }

  /** One after another, in the order in which they came. */
  function order(command: Command): void {
    if (queued >= MAX_QUEUE) {
      refuse('too many commands at once: wait for the answers')
      return
    }
    queued += 1
    last = last.then(async () => {
      // Whoever has gone would not learn of it.
      if (!gone.signal.aborted) send(await requests.answer(command, gone.signal))
      queued -= 1
    })
  }

  function send(line: Line): void {
    if (socket.destroyed || socket.writableEnded) return
    if (socket.writableLength > MAX_WAITING) return void socket.destroy()
    socket.write(`${jsonText(line)}\n`)
  }

  function refuse(error: string): void {
    end()
    if (socket.destroyed || socket.writableEnded) return
    socket.removeAllListeners('data')
    socket.resume()
    socket.end(`${jsonText({ error })}\n`)
    // For a client that does not close its side.
    setTimeout(() => socket.destroy(), 1000).unref()
  }
}
