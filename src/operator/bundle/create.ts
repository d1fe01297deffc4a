import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { type ImageEntry, type SwDescription, writeSwDescription } from '../../bundle/write-description.ts'
import { UsageError } from '../../domain/errors.ts'
import type { SlotName } from '../../domain/slot.ts'
import { EXIT, Failure } from '../failure.ts'
import { runProgram } from '../program.ts'
import { encryptFile, type ImageKey } from './encrypt.ts'
import { compressionOf } from './forms.ts'
import { checkSize, measured, type Payload, packBundle, readable, type Signer } from './pack.ts'

/** The image of a slot, and where SWUpdate writes it. */
export interface SlotSource {
  /** Path of the image. Its first bytes show whether it is compressed with zstd or gzip already. */
  readonly image: string
  readonly device: string
}

export interface BundleSource extends Omit<SwDescription, 'slots'> {
  /** An image for both slots is stored once. */
  readonly slots: Partial<Readonly<Record<SlotName, SlotSource>>>
  /** zstd(1) level for images that are not compressed yet. */
  readonly zstd?: number
  /** Encrypts the images. */
  readonly key?: ImageKey
}

export interface BundleSummary {
  readonly path: string
  readonly sizeInBytes: number
  /** Hexadecimal. */
  readonly sha256: string
  readonly version: string
  readonly images: readonly string[]
}

/** An image in the form that the bundle holds. */
interface Image extends Payload {
  readonly compressed?: 'zstd' | 'zlib'
  readonly ivt?: string
}

/** Writes a signed bundle: compresses the images, describes where each goes, packs them. Errors: Failure. */
export async function createBundle(path: string, source: BundleSource, signer: Signer): Promise<BundleSummary> {
  if (!source.slots.a && !source.slots.b) throw new Failure(EXIT.usage, 'a bundle needs an image for slot a or slot b')
  if (source.slots.a && source.slots.a.device === source.slots.b?.device) {
    throw new Failure(
      EXIT.usage,
      `both slots have the device ${source.slots.a.device}: one of them is the running system`,
    )
  }
  if (source.hardware.length === 0) {
    throw new Failure(EXIT.usage, 'a bundle needs a hardware revision: SWUpdate refuses one that fits no board')
  }
  const dir = await mkdtemp(join(tmpdir(), 'bundle-'))
  try {
    const payloads = new Map<string, Image>()
    for (const { image } of Object.values(source.slots)) {
      if (!payloads.has(image)) payloads.set(image, await imageOf(image, [...payloads.values()], dir, source))
    }
    const description = writeSwDescription({ ...source, slots: entriesOf(source.slots, payloads) })
    const { size, sha256 } = await packBundle(path, description, [...payloads.values()], signer)
    const images = [...payloads.values()].map(({ name }) => name)
    return { path, sizeInBytes: size, sha256, version: source.version, images }
  } catch (error) {
    if (error instanceof UsageError) throw new Failure(EXIT.usage, error.message, { cause: error })
    throw error
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

function entriesOf(slots: BundleSource['slots'], payloads: ReadonlyMap<string, Image>): SwDescription['slots'] {
  const entries = (['a', 'b'] as const).flatMap(slot => {
    const wanted = slots[slot]
    const payload = wanted && payloads.get(wanted.image)
    if (!payload) return []
    const { name: fileName, sha256, compressed, ivt } = payload
    const more = { ...(compressed ? { compressed } : {}), ...(ivt ? { ivt } : {}) }
    const entry: ImageEntry = { fileName, sha256, device: wanted.device, ...more }
    return [[slot, [entry]] as const]
  })
  return Object.fromEntries(entries)
}

async function imageOf(
  image: string,
  others: readonly Image[],
  dir: string,
  { zstd: level, key }: BundleSource,
): Promise<Image> {
  await readable(image)
  const found = await compressionOf(image)
  const compress = !found && level !== undefined
  let path = image
  let name = basename(image)
  // Checked before hours of compression and hashing. An image that is compressed here may become small enough.
  if (!compress) await checkSize(image)
  if (compress) {
    name = `${name}.zst`
    path = join(dir, `${others.length}.zst`)
    // The number of threads does not change the bytes.
    await runProgram(['zstd', '-q', '-f', '-T2', `-${level}`, image, '-o', path])
  }
  let ivt: string | undefined
  if (key) {
    const plain = path
    name = `${name}.enc`
    path = join(dir, `${others.length}.enc`)
    ivt = await encryptFile(plain, path, key)
  }
  if (others.some(other => other.name === name)) name = `${others.length}-${name}`
  const compressed = found ?? (level === undefined ? undefined : 'zstd')
  return { ...(await measured(path, name)), ...(compressed ? { compressed } : {}), ...(ivt ? { ivt } : {}) }
}
