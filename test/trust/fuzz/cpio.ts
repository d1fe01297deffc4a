import { checksumOf, cpioHeader, cpioPadding, cpioTrailer } from '../../../src/operator/bundle/cpio.ts'

/** An archive as a text of one character for each byte. */
export function cpio(files: readonly (readonly [name: string, content: string])[]): string {
  const parts = files.flatMap(([name, content], index) => {
    const bytes = Buffer.from(content)
    return [
      cpioHeader({ name, size: bytes.length, checksum: checksumOf(bytes) }, index),
      bytes,
      cpioPadding(bytes.length),
    ]
  })
  const whole = Buffer.concat(parts)
  return Buffer.concat([whole, cpioTrailer(whole.length)]).toString('latin1')
}
