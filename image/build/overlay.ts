import { createWriteStream } from 'node:fs'
import { lstat, readdir, readFile, readlink } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { finished } from 'node:stream/promises'
import tar from 'tar-stream'

export interface OverlayEntry {
  readonly path: string
  readonly content: string | Buffer
  readonly mode?: number
}

/** Where the mode is not that of any other file. */
const modeOf = (path: string, executable: boolean): number =>
  path.startsWith('etc/sudoers.d/') ? 0o440 : executable ? 0o755 : 0o644

/**
 * Packs folders that mirror the target, and single files, into one tar file; a later one wins. Sorted, owner and time
 * fixed: the same content gives the same bytes, whatever the checkout's umask and clock.
 */
export async function packOverlay(
  output: string,
  folders: readonly { readonly from: string; readonly to?: string }[],
  more: readonly OverlayEntry[],
  epoch: number,
): Promise<void> {
  const entries = new Map<string, () => Promise<[Partial<tar.Header> & { name: string }, Buffer | undefined]>>()
  const mtime = new Date(epoch * 1000)
  const owner = { uid: 0, gid: 0, uname: 'root', gname: 'root', mtime }
  for (const { from, to = '' } of folders) {
    for (const path of await walk(from)) {
      const name = join(to, relative(from, path))
      entries.set(name, async () => {
        const found = await lstat(path)
        if (found.isSymbolicLink()) {
          return [{ ...owner, name, type: 'symlink' as const, linkname: await readlink(path), mode: 0o777 }, undefined]
        }
        if (found.isDirectory()) return [{ ...owner, name, type: 'directory' as const, mode: 0o755 }, undefined]
        return [{ ...owner, name, mode: modeOf(name, (found.mode & 0o100) !== 0) }, await readFile(path)]
      })
    }
  }
  for (const { path, content, mode = 0o644 } of more) {
    entries.set(path, async () => [{ ...owner, name: path, mode }, Buffer.from(content)])
  }
  const pack = tar.pack()
  const done = finished(pack.pipe(createWriteStream(output)))
  for (const name of [...entries.keys()].sort()) {
    const [header, content] = await entries.get(name)!()
    await new Promise<void>((resolve, reject) =>
      pack.entry(header, content ?? Buffer.alloc(0), error => (error ? reject(error) : resolve())),
    )
  }
  pack.finalize()
  await done
}

async function walk(dir: string): Promise<string[]> {
  const paths: string[] = []
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name)
    paths.push(path)
    if (entry.isDirectory()) paths.push(...(await walk(path)))
  }
  return paths
}
