import { createHash } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { createServer } from 'node:net'

/**
 * Makes this process the only one that holds the folder under this `kind` of lock, for as long as it lives; throws `busy` when
 * another one does. An abstract socket is a lock that the kernel gives to one process and takes back at its end, however it ends.
 */
export async function lockFolder(kind: string, dir: string, busy: string): Promise<void> {
  const name = createHash('sha256').update(realpathSync(dir)).digest('hex').slice(0, 32)
  const server = createServer(socket => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'EADDRINUSE' ? new FolderBusy(busy, { cause: error }) : error)
    })
    server.listen(`\0${kind}-${name}`, resolve)
  })
  server.unref()
}

export class FolderBusy extends Error {}
