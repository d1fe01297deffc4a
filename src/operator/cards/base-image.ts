import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { runProgram } from '../program.ts'
import { namesOnFat } from './mtools.ts'

/** Blocks of a block map (bmaptool(1)); partitions begin on one. */
export const BLOCK = 4096

interface Extent {
  readonly start: number
  readonly size: number
}

/** An image of ours, or one with the same first three partitions: boot (FAT), slot a, slot b. All numbers are bytes. */
export interface BaseImage {
  readonly path: string
  readonly size: number
  readonly boot: Extent
  /** Empty on a new card. */
  readonly slotB: Extent
  /** From the start of the image to the end of the boot partition. */
  readonly headBytes: number
  /** Names of the files that layers of the image take from each card. */
  readonly secrets: readonly string[]
  /** Paths of the files on the boot partition, in lower case. */
  readonly bootFiles: ReadonlySet<string>
}

const SECTOR = 512
const FAT = [0x01, 0x04, 0x06, 0x0b, 0x0c, 0x0e]
const LINUX = 0x83
const GPT = 0xee

/** Where the image keeps secrets.txt of its layers. */
const SECRETS = '/usr/lib/pi-adu/secrets.txt'

/** Errors: Failure that says why this is not an image that cards are made of. */
export async function openBaseImage(path: string): Promise<BaseImage> {
  const flaw = (why: string): Failure => new Failure(EXIT.usage, `${path}: ${why}`)
  const found = await stat(path).catch(cause => {
    throw new Failure(EXIT.usage, `cannot read ${path}: ${messageOf(cause)}`, { cause })
  })
  if (!found.isFile()) throw flaw('it is not a file')
  const table = await firstSector(path)
  if (table.readUInt32LE(0) === 0xfd2fb528) throw flaw('it is compressed: unpack it first, with zstd -d')
  if (table.length < SECTOR || table.readUInt16LE(510) !== 0xaa55) throw flaw('it has no partition table')
  const [boot, slotA, slotB, data] = [0, 1, 2, 3].map(index => partition(table, index))
  if (boot?.type === GPT) throw flaw('it has a GPT, and cards need an MBR')
  if (!boot || !FAT.includes(boot.type)) throw flaw('its first partition is not FAT')
  if (slotA?.type !== LINUX || slotB?.type !== LINUX) throw flaw('its partitions 2 and 3 are not slots')
  if (boot.start % BLOCK !== 0) throw flaw(`its first partition does not begin at a multiple of ${BLOCK} bytes`)
  if ([boot, slotA, slotB, ...(data ? [data] : [])].some(each => each.start + each.size > found.size)) {
    throw flaw('it is shorter than its partition table says: it was not copied as a whole')
  }
  return {
    ...{ path, size: found.size, boot, slotB },
    headBytes: Math.min(Math.ceil((boot.start + boot.size) / BLOCK) * BLOCK, found.size),
    secrets: await secretsOf(path, slotA.start),
    bootFiles: await namesOnFat({ path, start: boot.start }),
  }
}

async function firstSector(path: string): Promise<Buffer> {
  const file = await open(path).catch(cause => {
    throw new Failure(EXIT.usage, `cannot read ${path}: ${messageOf(cause)}`, { cause })
  })
  try {
    const sector = Buffer.alloc(SECTOR)
    await file.read(sector, 0, SECTOR, 0)
    return sector
  } finally {
    await file.close()
  }
}

function partition(table: Buffer, index: number): (Extent & { readonly type: number }) | undefined {
  const at = 446 + index * 16
  const [type, first, sectors] = [table.readUInt8(at + 4), table.readUInt32LE(at + 8), table.readUInt32LE(at + 12)]
  return sectors === 0 ? undefined : { type, start: first * SECTOR, size: sectors * SECTOR }
}

/** SHA-256 in hexadecimal. */
export async function hashOfImage({ path, size }: BaseImage, onProgress: (percent: number) => void): Promise<string> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) {
    hash.update(chunk)
    bytes += chunk.length
    onProgress((bytes / size) * 100)
  }
  return hash.digest('hex')
}

/** In another file system than ext4 there are none. Errors: Failure if debugfs(8) is missing. */
async function secretsOf(path: string, offset: number): Promise<readonly string[]> {
  const text = await runProgram(['debugfs', '-R', `cat ${SECRETS}`, `${path}?offset=${offset}`]).catch(error => {
    if (error instanceof Failure && error.exitCode === EXIT.failed) return ''
    throw error
  })
  return text
    .toString()
    .split('\n')
    .flatMap(line => line.split(/\s/, 1))
    .filter(name => name !== '')
}
