import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, open, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { runProgram } from '../program.ts'
import { type CpioEntry, checksumOf, cpioHeader, cpioPadding, cpioTrailer, MAX_FILE_BYTES } from './cpio.ts'
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

/** PEM files. A device verifies with the certificate, which needs the extended key usage `emailProtection`. */
export interface Signer {
  readonly certificate: string
  readonly key: string
}

export interface BundleSummary {
  readonly path: string
  readonly sizeInBytes: number
  /** Hexadecimal. */
  readonly sha256: string
  readonly version: string
  readonly images: readonly string[]
}

interface Payload extends CpioEntry {
  readonly path: string
  readonly sha256: string
  readonly compressed?: 'zstd' | 'zlib'
}

/**
 * Writes a signed bundle: `sw-description`, its signature, the images, in the order that SWUpdate reads them. The same
 * source gives the same bytes, but for the signature, which carries the time. Errors: Failure.
 */
export async function createBundle(path: string, source: BundleSource, signer: Signer): Promise<BundleSummary> {
  if (!source.slots.a && !source.slots.b) throw new Failure(EXIT.usage, 'a bundle needs an image for slot a or slot b')
  if (source.hardware.length === 0) {
    throw new Failure(EXIT.usage, 'a bundle needs a hardware revision: SWUpdate refuses one that fits no board')
  }
  const dir = await mkdtemp(join(tmpdir(), 'bundle-'))
  const unfinished = `${path}.${process.pid}.new`
  try {
    const payloads = new Map<string, Payload>()
    for (const { image } of Object.values(source.slots)) {
      if (!payloads.has(image)) payloads.set(image, await payloadOf(image, [...payloads.values()], dir, source.zstd))
    }
    const text = writeSwDescription({ ...source, slots: entriesOf(source.slots, payloads) })
    const description = join(dir, 'sw-description')
    await writeFile(description, text)
    await sign(description, signer)
    const heads = await Promise.all(
      ['sw-description', 'sw-description.sig'].map(name => measured(join(dir, name), name)),
    )
    const files = [...heads, ...payloads.values()]
    await pipeline(Readable.from(archive(files), { objectMode: false }), createWriteStream(unfinished))
    const { size, sha256 } = await measured(unfinished, path)
    await rename(unfinished, path)
    const images = [...payloads.values()].map(({ name }) => name)
    return { path, sizeInBytes: size, sha256, version: source.version, images }
  } catch (error) {
    if (error instanceof Failure || !(error as NodeJS.ErrnoException).code) throw error
    throw new Failure(EXIT.unavailable, `cannot write ${path}: ${messageOf(error)}`, { cause: error })
  } finally {
    await rm(dir, { recursive: true, force: true })
    await rm(unfinished, { force: true })
  }
}

async function sign(file: string, { certificate, key }: Signer): Promise<void> {
  for (const needed of [certificate, key]) await pem(needed)
  await runProgram([
    ...(['openssl', 'cms', '-sign', '-in', file, '-out', `${file}.sig`, '-signer', certificate] as const),
    ...['-inkey', key, '-outform', 'DER', '-nosmimecap', '-binary', '-md', 'sha256'],
  ])
}

function entriesOf(slots: BundleSource['slots'], payloads: ReadonlyMap<string, Payload>): SwDescription['slots'] {
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

async function payloadOf(
  image: string,
  others: readonly Payload[],
  dir: string,
  level: number | undefined,
): Promise<Payload> {
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

async function measured(path: string, name: string): Promise<Payload> {
  const hash = createHash('sha256')
  let size = 0
  let checksum = 0
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    hash.update(chunk)
    size += chunk.length
    checksum = checksumOf(chunk, checksum)
  }
  if (size > MAX_FILE_BYTES) throw new Failure(EXIT.usage, `${path} is larger than 4 GiB, which a bundle cannot hold`)
  return { path, name, size, checksum, sha256: hash.digest('hex') }
}

async function* archive(files: readonly Payload[]): AsyncGenerator<Buffer> {
  let written = 0
  for (const [index, file] of files.entries()) {
    const header = cpioHeader(file, index + 1)
    yield header
    yield* createReadStream(file.path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>
    const end = cpioPadding(file.size)
    yield end
    written += header.length + file.size + end.length
  }
  yield cpioTrailer(written)
}

/** openssl takes minutes to find out that a large file is neither. */
async function pem(path: string): Promise<void> {
  await readable(path)
  const head = Buffer.alloc(65_536)
  const file = await open(path)
  try {
    await file.read(head)
  } finally {
    await file.close()
  }
  if (!head.includes('-----BEGIN ')) throw new Failure(EXIT.usage, `${path} is not a PEM file`)
}

async function readable(path: string): Promise<void> {
  const found = await stat(path).catch(cause => {
    throw new Failure(EXIT.usage, `cannot read ${path}: ${messageOf(cause)}`, { cause })
  })
  if (!found.isFile()) throw new Failure(EXIT.usage, `${path} is not a file`)
}
