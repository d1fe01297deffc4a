/** The image that a bundle brings, as far as its first bytes tell. */
export interface DeclaredImage {
  readonly name: string
  /** Offset of its file in the bundle. */
  readonly first: number
  /** What lies in the bundle is not what will lie in the slot. */
  readonly packed: boolean
  /** Once it is in the slot, in bytes. */
  readonly bytes: number
}

/** Where the head of a bundle must have ended: an `sw-description` with its signature takes a few kilobytes. */
export const MAX_HEAD_BYTES = 262_144

const HEADER_BYTES = 110

/**
 * Reads the head of a bundle: a cpio archive, form `newc`, that begins with `sw-description` and its signature. `more`: not
 * enough bytes yet. Undefined: the size cannot be known from here, because there are several images, or the only one is
 * packed without its size. Nothing of this is trusted, only used to say no early.
 */
export function declaredImage(head: Buffer): DeclaredImage | 'more' | undefined {
  let description = ''
  for (let at = 0; ; ) {
    if (head.length < at + HEADER_BYTES) return 'more'
    if (!/^07070[12]$/.test(head.toString('latin1', at, at + 6))) return undefined
    const size = field(head, at, 6)
    const nameBytes = field(head, at, 11)
    if (Number.isNaN(size) || !(nameBytes > 1 && nameBytes < 1024)) return undefined
    const data = padded(at + HEADER_BYTES + nameBytes)
    if (head.length < data) return 'more'
    const name = head.toString('latin1', at + HEADER_BYTES, at + HEADER_BYTES + nameBytes - 1)
    if (name !== 'sw-description' && name !== 'sw-description.sig')
      return imageOf({ name, size, first: data }, description, head.subarray(data))
    if (data + size > MAX_HEAD_BYTES) return undefined
    if (head.length < data + size) return 'more'
    if (name === 'sw-description') description = head.toString('utf8', data, data + size)
    at = padded(data + size)
  }
}

interface Member {
  readonly name: string
  readonly size: number
  readonly first: number
}

function imageOf({ name, size, first }: Member, description: string, data: Buffer): DeclaredImage | 'more' | undefined {
  const files = new Set([...description.matchAll(/\bfilename\s*[=:]\s*"([^"]*)"/g)].map(([, file]) => file))
  if (files.size !== 1 || !files.has(name)) return undefined
  const packed = new Set([...description.matchAll(/\bcompressed\s*[=:]\s*"?(\w+)/g)].map(([, how]) => how))
  if (packed.size === 0) return { name, first, packed: false, bytes: size }
  if (packed.size > 1 || !packed.has('zstd')) return undefined
  if (data.length < 18) return 'more'
  const bytes = zstdContentSize(data)
  return bytes === undefined ? undefined : { name, first, packed: true, bytes }
}

/** RFC 8878, chapter 3.1.1.1; optional there. */
function zstdContentSize(frame: Buffer): number | undefined {
  if (frame.readUInt32LE(0) !== 0xfd2fb528) return undefined
  const descriptor = frame.readUInt8(4)
  const single = (descriptor & 0x20) !== 0
  const at = 5 + (single ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]!
  switch (descriptor >> 6) {
    case 0:
      return single ? frame.readUInt8(at) : undefined
    case 1:
      return frame.readUInt16LE(at) + 256
    case 2:
      return frame.readUInt32LE(at)
    default:
      return Number(frame.readBigUInt64LE(at))
  }
}

/** Eight hexadecimal digits each, after the magic. */
function field(head: Buffer, at: number, index: number): number {
  const text = head.toString('latin1', at + 6 + index * 8, at + 14 + index * 8)
  return /^[\da-f]{8}$/i.test(text) ? Number.parseInt(text, 16) : Number.NaN
}

const padded = (offset: number): number => Math.ceil(offset / 4) * 4
