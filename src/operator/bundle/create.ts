import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { EXIT, Failure } from '../failure.ts'
import { runProgram } from '../program.ts'
import { measured, type Payload, packBundle, readable, type Signer } from './pack.ts'
import { type ImageEntry, type SlotName, type SwDescription, writeSwDescription } from './sw-description.ts'

/** Where the image of a slot is, and where SWUpdate is to write it. */
export interface SlotSource {
  /** Path of the image. One that is compressed with zstd or gzip already is recognized by its first bytes. */
  readonly image: string
  readonly device: string
}

export interface BundleSource extends Omit<SwDescription, 'slots'> {
  /** The same image for both slots is stored once. */
  readonly slots: Partial<Readonly<Record<SlotName, SlotSource>>>
  /** Level of zstd(1) to compress images with that are not compressed yet. */
  readonly zstd?: number
}

export interface BundleSummary {
  readonly path: string
  readonly sizeInBytes: number
  /** Hexadecimal. */
  readonly sha256: string
  readonly version: string
  readonly images: readonly string[]
}

/** An image, in the form in which it lies in the bundle. */
interface Image extends Payload {
  readonly compressed?: 'zstd' | 'zlib'
}

/** Writes a signed bundle for slots: compresses its images, says which goes where, packs them. Errors: Failure. */
export async function createBundle(path: string, source: BundleSource, signer: Signer): Promise<BundleSummary> {
  if (!source.slots.a && !source.slots.b) throw new Failure(EXIT.usage, 'a bundle needs an image for slot a or slot b')
  if (source.hardware.length === 0) {
    throw new Failure(EXIT.usage, 'a bundle needs a hardware revision: SWUpdate refuses one that fits no board')
  }
  const dir = await mkdtemp(join(tmpdir(), 'bundle-'))
  try {
    const payloads = new Map<string, Image>()
    for (const { image } of Object.values(source.slots)) {
      if (!payloads.has(image)) payloads.set(image, await imageOf(image, [...payloads.values()], dir, source.zstd))
    }
    const description = writeSwDescription({ ...source, slots: entriesOf(source.slots, payloads) })
    const { size, sha256 } = await packBundle(path, description, [...payloads.values()], signer)
    const images = [...payloads.values()].map(({ name }) => name)
    return { path, sizeInBytes: size, sha256, version: source.version, images }
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

function entriesOf(slots: BundleSource['slots'], payloads: ReadonlyMap<string, Image>): SwDescription['slots'] {
  const entries = (['a', 'b'] as const).flatMap(slot => {
    const wanted = slots[slot]
    const payload = wanted && payloads.get(wanted.image)
    if (!payload) return []
    const { name: fileName, sha256, compressed } = payload
    const entry: ImageEntry = { fileName, sha256, device: wanted.device, ...(compressed ? { compressed } : {}) }
    return [[slot, [entry]] as const]
  })
  return Object.fromEntries(entries)
}

async function imageOf(
  image: string,
  others: readonly Image[],
  dir: string,
  level: number | undefined,
): Promise<Image> {
  await readable(image)
  const found = await compressionOf(image)
  let path = image
  let name = basename(image)
  if (!found && level !== undefined) {
    name = `${name}.zst`
    path = join(dir, `${others.length}.zst`)
    // Two threads and two hundred give the same bytes.
    await runProgram(['zstd', '-q', '-f', '-T2', `-${level}`, image, '-o', path])
  }
  if (others.some(other => other.name === name)) name = `${others.length}-${name}`
  const compressed = found ?? (level === undefined ? undefined : 'zstd')
  return { ...(await measured(path, name)), ...(compressed ? { compressed } : {}) }
}

async function compressionOf(image: string): Promise<'zstd' | 'zlib' | undefined> {
  const file = await open(image)
  try {
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0)
    if (buffer.equals(Buffer.from([0x28, 0xb5, 0x2f, 0xfd]))) return 'zstd'
    return buffer[0] === 0x1f && buffer[1] === 0x8b ? 'zlib' : undefined
  } finally {
    await file.close()
  }
}
