import { createWriteStream } from 'node:fs'
import { lstat, readdir, readFile, readlink } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { finished } from 'node:stream/promises'
import tar from 'tar-stream'
import { run } from './run.ts'

export interface OverlayEntry {
  readonly path: string
  readonly content: string | Buffer
  readonly mode?: number
}

/** sudo refuses files that others may write; everything else has the usual modes. */
const modeOf = (path: string, executable: boolean): number =>
  path.startsWith('etc/sudoers.d/') ? 0o440 : executable ? 0o755 : 0o644

/**
 * Packs folders that mirror the target, files, and contents into one tar file; a later entry wins. Order, owner and time are
 * fixed, so the same content gives the same bytes whatever the umask and clock of the checkout.
 */
export async function packOverlay(
  output: string,
  folders: readonly { readonly from: string; readonly to?: string }[],
  files: readonly { readonly from: string; readonly path: string }[],
  more: readonly OverlayEntry[],
  epoch: number,
): Promise<void> {
  const entries = new Map<string, () => Promise<[Partial<tar.Header> & { name: string }, Buffer | undefined]>>()
  const mtime = new Date(epoch * 1000)
  const owner = { uid: 0, gid: 0, uname: 'root', gname: 'root', mtime }
  // As tar(1) itself names folders, so that a list of the names tells them from files.
  const folderEntry = (name: string) => ({ ...owner, name: `${name}/`, type: 'directory' as const, mode: 0o755 })
  const add = (from: string, name: string): void => {
    entries.set(name, async () => {
      const found = await lstat(from)
      if (found.isSymbolicLink()) {
        return [{ ...owner, name, type: 'symlink' as const, linkname: await readlink(from), mode: 0o777 }, undefined]
      }
      if (found.isDirectory()) return [folderEntry(name), undefined]
      return [{ ...owner, name, mode: modeOf(name, (found.mode & 0o100) !== 0) }, await readFile(from)]
    })
  }
  for (const { from, to = '' } of folders) {
    for (const path of await walk(from)) add(path, join(to, relative(from, path)))
  }
  for (const { from, path } of files) {
    // tar would make the folders with the builder's umask.
    for (let folder = dirname(path); folder !== '.'; folder = dirname(folder)) {
      const name = folder
      if (!entries.has(name)) entries.set(name, async () => [folderEntry(name), undefined])
    }
    add(from, path)
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

/** Of an overlay's entries; those of folders end with `/`. */
export async function namesIn(overlay: string): Promise<readonly string[]> {
  return (await run(['tar', '--quoting-style=literal', '-tf', overlay])).split('\n')
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
