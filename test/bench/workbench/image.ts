import { createHash } from 'node:crypto'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runProgram } from './program.ts'
import { type RootTree, writeRootTree } from './root-tree.ts'

/** Default size of a workbench slot, and so of an image, in bytes. */
export const SLOT_BYTES = 4 << 20

// One fixed moment for every inode: the same tree always gives the same image.
const IMAGE_EPOCH = '1600000000'
const FIXED_TIME = { E2FSPROGS_FAKE_TIME: IMAGE_EPOCH, SOURCE_DATE_EPOCH: IMAGE_EPOCH }

/** Writes an ext4 image of the tree to `path`. The same tree and size give the same bytes. */
export async function buildImage(path: string, tree: RootTree, bytes = SLOT_BYTES): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'root-tree-'))
  try {
    await writeRootTree(dir, tree)
    await rm(path, { force: true })
    const uuid = uuidOf(`${tree.seed ?? ''}/${tree.version}`)
    await runProgram(
      [
        ...(['mke2fs', '-q', '-t', 'ext4', '-m', '0', '-O', '^has_journal', '-U', uuid] as const),
        ...['-E', `hash_seed=${uuid},root_owner=0:0`, '-d', dir, path, `${bytes >> 10}k`],
      ],
      { env: FIXED_TIME },
    )
    await setTimes(path, await readdir(dir, { recursive: true }))
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** One file of the image, or undefined when the image cannot be read or has no such file. */
export async function readFromImage(image: string, path: string): Promise<string | undefined> {
  const content = await runProgram(['debugfs', '-R', `cat ${path}`, image]).catch(() => undefined)
  // debugfs ends well when the file is missing; it just prints nothing.
  return content?.length ? content.toString() : undefined
}

/** Extracts the whole image into `dir`, which is emptied first. False when the image has no file system. */
export async function extractImage(image: string, dir: string, signal?: AbortSignal): Promise<boolean> {
  await rm(dir, { recursive: true, force: true })
  await runProgram(['mkdir', '-p', dir])
  await runProgram(['debugfs', '-R', `rdump / "${dir}"`, image], signal ? { signal } : {}).catch(() => undefined)
  return (await stat(join(dir, 'etc')).catch(() => undefined)) !== undefined
}

/** mke2fs takes the times of the files it copies; the time of the last change cannot be set on a file, only in the image. */
async function setTimes(image: string, paths: readonly string[]): Promise<void> {
  const times = ['atime', 'ctime', 'mtime']
  const commands = paths.flatMap(path => times.map(time => `set_inode_field "/${path}" ${time} @${IMAGE_EPOCH}\n`))
  await runProgram(['debugfs', '-w', '-f', '-', image], { input: commands.join(''), env: FIXED_TIME })
}

function uuidOf(seed: string): string {
  const hex = createHash('sha256').update(seed).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
