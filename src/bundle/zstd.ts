/** This many bytes of a frame are enough to find its content size. */
export const ZSTD_HEAD_BYTES = 18

/** The unpacked size of a zstd frame in bytes, if its header has it (RFC 8878, section 3.1.1.1). */
export function zstdContentSize(frame: Buffer): number | undefined {
  if (frame.length < ZSTD_HEAD_BYTES || frame.readUInt32LE(0) !== 0xfd2fb528) return undefined
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
