import { createHash } from 'node:crypto'
import { lstat, open, readdir, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './run.ts'

/** Features that U-Boot can read and that give reproducible bytes. A read-only root needs no journal. */
const FEATURES = '^has_journal,^metadata_csum,^64bit,^orphan_file,^resize_inode'

const INODE_BYTES = 256
const BLOCK_BYTES = 4096
const BLOCKS_IN_GROUP = 8 * BLOCK_BYTES

/** Inodes that ext4 itself uses: the first eleven, lost+found among them. */
const RESERVED_INODES = 11

/** Spare inodes in the finished file system, for files that are added later. */
const SPARE_INODES = 64
const SPARE_BLOCKS = (4 * 2 ** 20) / BLOCK_BYTES

/** What a tree needs, in blocks of 4 KiB, without the file system's own structures. */
export interface Needs {
  readonly inodes: number
  readonly blocks: number
}

/** Makes an ext4 image of `tree`, as small as possible. The same tree gives the same bytes. Returns its size in bytes. */
export async function makeRootImage(tree: string, output: string, epoch: number): Promise<number> {
  const needs = await needsOf(tree)
  const blocks = blocksFor(needs)
  const uuid = uuidOf('pi-adu root')
  await writeFile(output, '')
  await truncate(output, blocks * BLOCK_BYTES)
  const shape = [
    ...(['-t', 'ext4', '-m', '0', '-b', String(BLOCK_BYTES), '-I', String(INODE_BYTES)] as const),
    ...['-O', FEATURES, '-U', uuid, '-L', 'root', '-E', `hash_seed=${uuid},root_owner=0:0`],
  ]
  const inodes = await inodesFor(needs.inodes + RESERVED_INODES + SPARE_INODES, shape, output)
  await run(['mke2fs', '-q', ...shape, '-N', String(inodes), '-d', tree, output], {
    env: { E2FSPROGS_FAKE_TIME: String(epoch) },
  })
  await fixTimes(output, epoch)
  return blocks * BLOCK_BYTES
}

/** A file with several names is one inode. Errors: those of reading the tree. */
export async function needsOf(tree: string): Promise<Needs> {
  const seen = new Set<number>()
  let blocks = 0
  const visit = async (path: string): Promise<void> => {
    const found = await lstat(path)
    if (seen.has(found.ino)) return
    seen.add(found.ino)
    if (found.isDirectory()) {
      const names = await readdir(path)
      // An entry is 8 bytes plus its name, padded to 4; a block may end with a gap as large as the longest entry.
      const bytes = names.reduce((sum, name) => sum + 12 + Buffer.byteLength(name), 24)
      blocks += Math.ceil(bytes / (BLOCK_BYTES - 264))
      for (const name of names) await visit(join(path, name))
    } else if (found.isFile() || (found.isSymbolicLink() && found.size >= 60)) {
      blocks += Math.ceil(found.size / BLOCK_BYTES)
    }
  }
  await visit(tree)
  return { inodes: seen.size, blocks }
}

/** The size of a file system that holds it, with its own structures and 1 % for extent trees and the like. Pure. */
export function blocksFor({ inodes, blocks }: Needs): number {
  const content = Math.ceil(blocks * 1.01) + SPARE_BLOCKS
  // Inodes are divided among the groups and rounded up to whole blocks.
  const table = Math.ceil(((inodes + RESERVED_INODES + SPARE_INODES) * 1.02 * INODE_BYTES) / BLOCK_BYTES)
  const groups = Math.ceil((content + table) / (BLOCKS_IN_GROUP - 64)) + 1
  // A group has two bitmaps, copies of superblock and descriptors, and a partly filled table block; lost+found has four blocks.
  return Math.ceil((content + table + groups * 8 + 4) / 256) * 256
}

/**
 * The number to request from mke2fs to get at least `atLeast` inodes. It divides them among the groups, rounds up or down, and
 * drops a last group that would be too small; so this asks mke2fs what it would do.
 */
async function inodesFor(atLeast: number, shape: readonly string[], output: string): Promise<number> {
  for (let asked = atLeast; asked < 2 * atLeast + 1024; asked += 16) {
    const plan = await run(['mke2fs', '-n', ...shape, '-N', String(asked), output])
    const made = Number(/ (\d+) inodes/.exec(plan)?.[1])
    if (made >= atLeast) return asked
  }
  throw new Error(`mke2fs makes no file system of ${atLeast} inodes`)
}

/**
 * mke2fs copies the access and change times of the files it reads, which are the times of the build. This sets them to `epoch` in
 * every inode in use. The checksum feature is off, so no checksum changes (ext4, "Inode Table").
 */
async function fixTimes(image: string, epoch: number): Promise<void> {
  const file = await open(image, 'r+')
  try {
    const read = async (at: number, bytes: number): Promise<Buffer> => {
      const buffer = Buffer.alloc(bytes)
      await file.read(buffer, 0, bytes, at)
      return buffer
    }
    const superblock = await read(1024, 1024)
    const blockBytes = 1024 << superblock.readUInt32LE(24)
    const inodesPerGroup = superblock.readUInt32LE(40)
    const groups = Math.ceil(superblock.readUInt32LE(0) / inodesPerGroup)
    const descriptors = await read(blockBytes === 1024 ? 2048 : blockBytes, groups * 32)
    for (let group = 0; group < groups; group++) {
      const at = descriptors.readUInt32LE(group * 32 + 8) * blockBytes
      const table = await read(at, inodesPerGroup * INODE_BYTES)
      for (let inode = 0; inode < table.length; inode += INODE_BYTES) {
        if (table.readUInt16LE(inode) === 0) continue
        // atime, ctime, mtime; then the fractions of ctime, mtime, atime; then crtime and its fraction.
        for (const field of [8, 12]) table.writeUInt32LE(epoch, inode + field)
        if (table.readUInt32LE(inode + 16) > epoch) table.writeUInt32LE(epoch, inode + 16)
        table.writeUInt32LE(epoch, inode + 144)
        for (const field of [132, 136, 140, 148]) table.writeUInt32LE(0, inode + field)
      }
      await file.write(table, 0, table.length, at)
    }
  } finally {
    await file.close()
  }
}

export function uuidOf(seed: string): string {
  const hex = createHash('sha256').update(seed).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
