import { chmod, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'

/** In the folder TMPDIR or RUNTIME_DIRECTORY of SWUpdate. */
export const CONTROL_SOCKET = 'sockinstctrl'

/** Debian builds SWUpdate since 2026.05 with its sockets in this folder, whatever the environment says. */
export const SHARED = '/run/swupdate'

/** unix(7): the longest path of a socket. */
const SOCKET_PATH = 107

/** Before it listens (core/network_utils.c of SWUpdate, with `-v`). */
const CREATES = /\[listener_create\] : creating socket at (\S+)\/sockinstctrl$/

/** Where the control socket of one SWUpdate is. It says so itself; until then its own folder is taken for it. */
export class SocketPlace {
  #path: string
  readonly #shared: string
  /** The socket file that was in the shared folder before SWUpdate started: of an earlier SWUpdate, or of another program. */
  readonly stale: string | undefined

  private constructor(folder: string, shared: string, stale: string | undefined) {
    const path = join(folder, CONTROL_SOCKET)
    this.#path = path.length > SOCKET_PATH ? relative('', path) : path
    this.#shared = shared
    this.stale = stale
  }

  /** For a SWUpdate that is about to start with the private `folder`. */
  static async for(folder: string, shared = SHARED): Promise<SocketPlace> {
    return new SocketPlace(folder, shared, await fileAt(join(shared, CONTROL_SOCKET)))
  }

  get path(): string {
    return this.#path
  }

  /** Reads a line of SWUpdate's output. When it uses the shared folder, this closes that to other users. */
  read(line: string): void {
    const folder = CREATES.exec(line)?.[1]
    if (folder === undefined || folder !== this.#shared) return
    this.#path = join(folder, CONTROL_SOCKET)
    chmod(folder, 0o700).catch(() => {})
  }
}

/** Which file it is, by inode and time, since ext4 gives a new file the inode of one that was just removed; undefined when there is none. */
export const fileAt = (path: string): Promise<string | undefined> =>
  stat(path, { bigint: true }).then(
    ({ ino, mtimeNs }) => `${ino} ${mtimeNs}`,
    () => undefined,
  )
