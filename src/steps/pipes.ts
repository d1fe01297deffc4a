import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Program } from '../adapters/system/program.ts'

/** How long output is read after the program has ended, in milliseconds: a process that it left behind may hold it open. */
const AFTER_END = 250

/** Two real pipes. Node gives a child sockets, and `echo wrong >/dev/stderr` fails on a socket (unix(7)): scripts do that. */
export interface Pipes {
  /** For the child; `closeWriters` once it has been started. */
  readonly write: readonly [stdout: number, stderr: number]
  readonly read: readonly [stdout: Socket, stderr: Socket]
}

/** Throws what the file system throws. */
export async function openPipes(): Promise<Pipes> {
  // The step's user may open them again by /dev/stderr; nobody else gets into the folder, which is gone at once.
  const folder = mkdtempSync(join(tmpdir(), 'pi-adu-steps-'))
  try {
    const [one, two] = [join(folder, '1'), join(folder, '2')]
    await new Program(['mkfifo', '-m', '622', one, two], { signal: AbortSignal.timeout(10_000) }).ended
    const [out, error] = [opened(one), opened(two)]
    return { write: [out.write, error.write], read: [out.read, error.read] }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function opened(path: string): { readonly write: number; readonly read: Socket } {
  // The reader first: a writer alone would wait for one.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const write = openSync(path, constants.O_WRONLY)
  const read = new Socket({ fd, readable: true, writable: false })
  read.on('error', () => {})
  return { write, read }
}

/** The child has its own. */
export function closeWriters({ write }: Pipes): void {
  for (const fd of write) closeSync(fd)
}

/** Resolves when everything was read, or nothing more can be waited for. */
export async function drained({ read }: Pipes): Promise<void> {
  const limit = setTimeout(() => {
    for (const socket of read) socket.destroy()
  }, AFTER_END)
  await Promise.all(read.map(socket => socket.closed || new Promise(resolve => socket.once('close', resolve))))
  clearTimeout(limit)
}
