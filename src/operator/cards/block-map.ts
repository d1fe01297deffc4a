import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { BLOCK } from './base-image.ts'

/** Blocks of an image that must be written, in the format of bmaptool(1), version 2.0. Numbers of blocks, both inclusive. */
export interface Range {
  readonly first: number
  readonly last: number
  /** SHA-256 in hexadecimal. */
  readonly sha256: string
}

/** The ranges of a block map; undefined when it is not one for an image of this size. Pure. */
export function readBlockMap(text: string, imageBytes: number): readonly Range[] | undefined {
  const value = (name: string): string => new RegExp(`<${name}>\\s*(\\w+)\\s*</${name}>`).exec(text)?.[1] ?? ''
  if (Number(value('ImageSize')) !== imageBytes || Number(value('BlockSize')) !== BLOCK) return undefined
  if (value('ChecksumType') !== 'sha256') return undefined
  const found = text.matchAll(/<Range chksum="([0-9a-f]{64})">\s*(\d+)(?:-(\d+))?\s*<\/Range>/g)
  return [...found].map(([, sha256 = '', first, last]) => ({
    ...{ sha256, first: Number(first), last: Number(last ?? first) },
  }))
}

/** The file that bmaptool reads. Pure. */
export function blockMapText(imageBytes: number, ranges: readonly Range[]): string {
  const mapped = ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0)
  const text = (checksum: string): string =>
    [
      '<?xml version="1.0" ?>',
      '<bmap version="2.0">',
      `    <ImageSize> ${imageBytes} </ImageSize>`,
      `    <BlockSize> ${BLOCK} </BlockSize>`,
      `    <BlocksCount> ${Math.ceil(imageBytes / BLOCK)} </BlocksCount>`,
      `    <MappedBlocksCount> ${mapped} </MappedBlocksCount>`,
      '    <ChecksumType> sha256 </ChecksumType>',
      `    <BmapFileChecksum> ${checksum} </BmapFileChecksum>`,
      '    <BlockMap>',
      ...ranges.map(({ first, last, sha256 }) => {
        const blocks = first === last ? `${first}` : `${first}-${last}`
        return `        <Range chksum="${sha256}"> ${blocks} </Range>`
      }),
      '    </BlockMap>',
      '</bmap>',
      '',
    ].join('\n')
  // The checksum is that of the file with zeros in its place.
  const zeros = text('0'.repeat(64))
  return text(createHash('sha256').update(zeros).digest('hex'))
}

/** The ranges of an image in which `changed` blocks are others than in the image that `ranges` describe. */
export async function changedRanges(
  ranges: readonly Range[],
  changed: readonly number[],
  image: FileHandle,
): Promise<readonly Range[]> {
  const inside = (block: number): Range | undefined => ranges.find(({ first, last }) => block >= first && block <= last)
  const touched = new Set(changed.map(inside))
  const outside = runsOf(changed.filter(block => inside(block) === undefined))
  const again = [...outside, ...ranges.filter(range => touched.has(range))]
  const summed = await Promise.all(again.map(async range => ({ ...range, sha256: await hashOf(image, range) })))
  return [...ranges.filter(range => !touched.has(range)), ...summed].sort((one, two) => one.first - two.first)
}

/** Neighbours as one run. `blocks` ascend. Pure. */
export function runsOf(blocks: readonly number[]): readonly Pick<Range, 'first' | 'last'>[] {
  const runs: { first: number; last: number }[] = []
  for (const block of blocks) {
    const run = runs.at(-1)
    if (run?.last === block - 1) run.last = block
    else runs.push({ first: block, last: block })
  }
  return runs
}

const PIECE = 256

async function hashOf(image: FileHandle, { first, last }: Pick<Range, 'first' | 'last'>): Promise<string> {
  const hash = createHash('sha256')
  for (let block = first; block <= last; block += PIECE) {
    const length = Math.min(PIECE, last - block + 1) * BLOCK
    const { bytesRead, buffer } = await image.read(Buffer.alloc(length), 0, length, block * BLOCK)
    hash.update(buffer.subarray(0, bytesRead))
  }
  return hash.digest('hex')
}
