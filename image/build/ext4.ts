import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { run } from './run.ts'

/** The features are those that U-Boot reads and that leave nothing to chance in the bytes; a read-only root needs no journal. */
const FEATURES = '^has_journal,^metadata_csum,^64bit,^orphan_file,^resize_inode'

const INODE_BYTES = 256

/** Makes an ext4 image of `tree`: no more than it needs. The same tree gives the same bytes. Returns its size in bytes. */
export async function makeRootImage(tree: string, output: string, epoch: number): Promise<number> {
  const used = Number((await run(['du', '-s', '-k', '--apparent-size', '--count-links', tree])).split('\t')[0])
  const blocks = Number((await run(['du', '-s', '-k', tree])).split('\t')[0])
  const files = (await run(['find', tree, '-printf', '.'])).length
  const mebibytes = Math.ceil((Math.max(used, blocks) * 1.01 + (files * INODE_BYTES) / 1024) / 1024) + 8
  const uuid = uuidOf('pi-adu root')
  await run(['rm', '-f', output])
  await run(
    [
      ...(['mke2fs', '-q', '-t', 'ext4', '-m', '0', '-I', String(INODE_BYTES), '-N', String(files + 64)] as const),
      ...['-O', FEATURES, '-U', uuid, '-L', 'root', '-E', `hash_seed=${uuid},root_owner=0:0`],
      ...['-d', tree, output, `${mebibytes}m`],
    ],
    { env: { E2FSPROGS_FAKE_TIME: String(epoch) } },
  )
  await fixTimes(output, epoch)
  return mebibytes * 2 ** 20
}

/**
 * mke2fs copies times of access and change from the files it reads, which are those of the build. They are set to `epoch`
 * in every inode in use; checksums need no care, as the feature is off (ext4, "Inode Table").
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
