import { open } from 'node:fs/promises'

const SECTOR = 512
const MAGIC = 0x6a736677736872n
/** Entries with this flag are discards, and carry no data (dm-log-writes). */
const DISCARD = 4n

/** One sector that was written. */
export interface SectorWrite {
  readonly sector: number
  readonly data: Buffer
}

/**
 * Every sector written, in the order the disk saw them, from a log of QEMU's blklogwrites: a power cut leaves some
 * beginning of this list.
 */
export async function readWriteLog(path: string, from = 0, to = Number.POSITIVE_INFINITY): Promise<SectorWrite[]> {
  const file = await open(path, 'r')
  const read = async (at: number, bytes: number): Promise<Buffer> => {
    const buffer = Buffer.alloc(bytes)
    await file.read(buffer, 0, bytes, at)
    return buffer
  }
  try {
    const superblock = await read(0, SECTOR)
    if (superblock.readBigUInt64LE(0) !== MAGIC) throw new Error(`${path} is no write log`)
    if (superblock.readUInt32LE(24) !== SECTOR) throw new Error(`${path} has sectors of another size`)
    const writes: SectorWrite[] = []
    const { size } = await file.stat()
    // The count in the superblock may be behind when the machine was killed.
    for (let at = SECTOR; at < size; ) {
      const entry = await read(at, SECTOR)
      const [sector, count, flags] = [0, 8, 16].map(field => entry.readBigUInt64LE(field)) as [bigint, bigint, bigint]
      at += SECTOR
      if ((flags & DISCARD) !== 0n) continue
      const first = Number(sector)
      for (let i = 0; i < Number(count); i++) {
        if (first + i >= from && first + i < to) {
          writes.push({ sector: first + i, data: await read(at + i * SECTOR, SECTOR) })
        }
      }
      at += Number(count) * SECTOR
    }
    return writes
  } finally {
    await file.close()
  }
}

/** Applies the writes one after the other, and calls `look` after each that changed something. Returns how often. */
export async function replay(
  disk: string,
  writes: readonly SectorWrite[],
  look: (sector: number) => Promise<void>,
): Promise<number> {
  const file = await open(disk, 'r+')
  let changes = 0
  try {
    for (const { sector, data } of writes) {
      const old = Buffer.alloc(SECTOR)
      await file.read(old, 0, SECTOR, sector * SECTOR)
      if (old.equals(data)) continue
      await file.write(data, 0, SECTOR, sector * SECTOR)
      changes += 1
      await look(sector)
    }
    return changes
  } finally {
    await file.close()
  }
}
