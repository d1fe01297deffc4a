import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { socketAddress } from './address.ts'

/** The socket at `path`, connected. Rejects with the error of the connection, or with the signal's reason on abort. */
export function connected(path: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const address = socketAddress(path)
    const socket = connect(address.path)
    socket.once('close', () => address.close())
    const onAbort = (): void => {
      socket.destroy()
      reject(signal.reason)
    }
    const over = (): void => signal.removeEventListener('abort', onAbort)
    signal.addEventListener('abort', onAbort, { once: true })
    socket.once('connect', () => {
      over()
      resolve(socket)
    })
    socket.once('error', error => {
      over()
      reject(error)
    })
  })
}

/** Sends one line, and yields each line that comes back. Ends when the other side ends or `signal` aborts, and closes the socket. */
export async function* linesFor(socket: Socket, request: object, signal: AbortSignal): AsyncGenerator<string> {
  const stop = (): void => void socket.destroy()
  let broken: Error | undefined
  signal.addEventListener('abort', stop, { once: true })
  try {
    socket.on('error', error => {
      broken = error
      stop()
    })
    socket.write(`${JSON.stringify(request)}\n`)
    const lines = createInterface({ input: socket })
    // readline does not notice that the socket was destroyed.
    socket.once('close', () => lines.close())
    yield* lines
  } catch (error) {
    // The other side was killed before it had read all: an end like any other. readline passes the error on.
    if (error !== broken) throw error
  } finally {
    signal.removeEventListener('abort', stop)
    socket.destroy()
  }
}
