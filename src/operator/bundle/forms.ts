import { spawn } from 'node:child_process'
import { open } from 'node:fs/promises'
import { constants, gunzipSync } from 'node:zlib'
import { EXIT, Failure, messageOf } from '../failure.ts'

/** What a file is, judged by its first bytes. `image`: none of the known forms, such as a file system. */
export type Form = 'empty' | 'zstd' | 'gzip' | 'image' | Foreign
type Foreign = 'xz' | 'bzip2' | 'lz4' | 'zip' | '7z' | 'tar' | 'cpio' | 'disk'

/** Enough for every signature below. */
export const HEAD_BYTES = 4096

const MAGIC: readonly (readonly [Form, number, string])[] = [
  ['zstd', 0, '28b52ffd'],
  ['gzip', 0, '1f8b'],
  ['xz', 0, 'fd377a585a00'],
  ['bzip2', 0, '425a68'],
  ['lz4', 0, '04224d18'],
  ['zip', 0, '504b0304'],
  ['7z', 0, '377abcaf271c'],
  ['cpio', 0, '3037303730'],
  ['tar', 257, '7573746172'],
  ['disk', 512, '4546492050415254'],
]

/** `head`: the first `HEAD_BYTES`, or the whole file if it is shorter. Pure. */
export function formOf(head: Buffer): Form {
  if (head.length === 0) return 'empty'
  const found = MAGIC.find(([, at, hex]) => head.subarray(at, at + hex.length / 2).equals(Buffer.from(hex, 'hex')))
  return found?.[0] ?? (hasPartitions(head) ? 'disk' : 'image')
}

/** A master boot record. The boot sector of a FAT file system ends with the same two bytes. */
function hasPartitions(head: Buffer): boolean {
  if (head.length < 512 || head.readUInt16BE(510) !== 0x55aa) return false
  const entries = [446, 462, 478, 494].map(at => head.subarray(at, at + 16))
  const used = entries.filter(entry => entry.readUInt8(4) !== 0 && entry.readUInt32LE(12) > 0)
  return used.length > 0 && entries.every(entry => (entry.readUInt8(0) & 0x7f) === 0)
}

/** Errors: Failure when the file cannot be read. */
export async function headOf(path: string): Promise<Buffer> {
  try {
    const file = await open(path)
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
      return buffer.subarray(0, bytesRead)
    } finally {
      await file.close()
    }
  } catch (cause) {
    throw new Failure(EXIT.usage, `cannot read ${path}: ${messageOf(cause)}`, { cause })
  }
}

const WHY: Readonly<Record<Foreign | 'empty', string>> = {
  empty: 'is empty',
  ...{ xz: '', bzip2: '', lz4: '', zip: '', '7z': '' },
  tar: 'is a tar archive: give the image of a file system',
  cpio: 'is a cpio archive or a bundle: give the image of a file system',
  disk: 'is a whole disk with a partition table: give the image of one file system',
}

/**
 * The compression of the image at `path`, if any. Errors: Failure for what no slot can start from: an unknown compression, an
 * archive, a whole disk, an empty file; also inside zstd and gzip.
 */
export async function compressionOf(path: string): Promise<'zstd' | 'zlib' | undefined> {
  const head = await headOf(path)
  const form = formOf(head)
  if (form !== 'zstd' && form !== 'gzip') {
    refuse(path, form)
    return undefined
  }
  const inner = form === 'gzip' ? gunzipped(head) : await unpacked(path)
  refuse(`${path}, unpacked,`, formOf(inner))
  return form === 'gzip' ? 'zlib' : 'zstd'
}

function refuse(subject: string, form: Form): void {
  if (form === 'image') return
  if (form === 'zstd' || form === 'gzip') throw new Failure(EXIT.usage, `${subject} is compressed twice`)
  const why = WHY[form] || `is compressed with ${form}, which SWUpdate cannot unpack: use zstd or gzip`
  throw new Failure(EXIT.usage, `${subject} ${why}`)
}

/** Unpacks as much as `head` allows. */
function gunzipped(head: Buffer): Buffer {
  try {
    return gunzipSync(head, { finishFlush: constants.Z_SYNC_FLUSH })
  } catch (cause) {
    throw new Failure(EXIT.usage, `a gzip file that cannot be unpacked: ${messageOf(cause)}`, { cause })
  }
}

/** The first bytes that zstd(1) unpacks. */
function unpacked(path: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = spawn('zstd', ['-dcq', '--', path], { stdio: ['ignore', 'pipe', 'pipe'] })
    const parts: Buffer[] = []
    let size = 0
    let words = ''
    child.stdout.on('data', (chunk: Buffer) => {
      parts.push(chunk)
      size += chunk.length
      if (size >= HEAD_BYTES) child.kill()
    })
    child.stderr.on('data', chunk => {
      words += chunk
    })
    child.once('error', cause => reject(new Failure(EXIT.usage, `zstd is not installed: ${cause.message}`, { cause })))
    child.once('close', code => {
      if (size >= HEAD_BYTES || code === 0) return resolve(Buffer.concat(parts).subarray(0, HEAD_BYTES))
      reject(new Failure(EXIT.usage, `${path} cannot be unpacked: ${words.trim().split('\n').at(-1)}`))
    })
  })
}
