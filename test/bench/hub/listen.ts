import { createServer, type Server, type Socket } from 'node:net'

export interface Listener {
  readonly port: number
  /** Ends the listening and every connection that came by it. */
  close(): Promise<void>
}

/**
 * Listens on both loopback addresses with the same port, since `localhost` may mean either; 0 takes any free port. A
 * machine without IPv6 gets 127.0.0.1 only. Rejects when the port is taken.
 */
export async function listenLoopback(port: number, onSocket: (socket: Socket) => void): Promise<Listener> {
  for (let attempt = 1; ; attempt++) {
    const sockets = new Set<Socket>()
    const track = (socket: Socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      socket.on('error', () => {}) // also when nobody else has looked at it yet
      onSocket(socket)
    }
    const first = await listen(track, port, '127.0.0.1')
    const chosen = (first.address() as { port: number }).port
    try {
      const second = await listen(track, chosen, '::1').catch(orWithoutIpv6)
      const servers = second ? [first, second] : [first]
      return { port: chosen, close: () => closeAll(servers, sockets) }
    } catch (error) {
      await closeAll([first], sockets)
      // A port that was free for one family only: another one will do, if we may choose.
      if (port !== 0 || attempt >= 10) throw error
    }
  }
}

function listen(onSocket: (socket: Socket) => void, port: number, host: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(onSocket)
    server.once('error', reject)
    server.listen(port, host, () => resolve(server))
  })
}

function orWithoutIpv6(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'EADDRNOTAVAIL' && error.code !== 'EAFNOSUPPORT') throw error
}

async function closeAll(servers: Server[], sockets: Set<Socket>): Promise<void> {
  const closed = servers.map(server => new Promise(resolve => server.close(resolve)))
  for (const socket of sockets) socket.destroy()
  await Promise.all(closed)
}
