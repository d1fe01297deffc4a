import { createHash } from 'node:crypto'
import { checksumOf, cpioHeader, cpioPadding, cpioTrailer } from '../../src/operator/bundle/cpio.ts'

export type Member = readonly [name: string, content: Buffer]

/** An archive as an author's tools make it. */
export function archiveOf(members: readonly Member[]): Buffer {
  const parts = members.flatMap(([name, content], index) => [
    cpioHeader({ name, size: content.length, checksum: checksumOf(content) }, index + 1),
    content,
    cpioPadding(content.length),
  ])
  const whole = Buffer.concat(parts)
  return Buffer.concat([whole, cpioTrailer(whole.length)])
}

/** Unsigned, which only SWUpdate would mind. */
export const bundleOf = (description: string, ...files: Member[]): Buffer =>
  archiveOf([['sw-description', Buffer.from(description)], ['sw-description.sig', Buffer.alloc(1500, 1)], ...files])

export const hashOf = (content: Buffer): string => createHash('sha256').update(content).digest('hex')

/** An entry of `images` for slot b. `more` comes behind the rest. */
export const imageOf = (name: string, content: Buffer, more = '', device = 'pi-adu/b'): string =>
  `{ filename = "${name}"; type = "raw"; device = "${device}"; installed-directly = true; sha256 = "${hashOf(content)}"; ${more}}`

/** `b`: what is in the selection stable,b. */
export const descriptionOf = (b: string): string =>
  `software = {\n  version = "2.0.0";\n  hardware-compatibility: [ "1.0" ];\n  stable = {\n    b = {\n${b}\n    };\n  };\n}\n`

/** In a buffer that is used over and over, as by the network: a piece is gone when the next is asked for. */
export async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  const piece = Buffer.alloc(size)
  for (let at = 0; at < bytes.length; at += size) {
    yield piece.fill(0).subarray(0, bytes.copy(piece, 0, at, at + size))
  }
}
