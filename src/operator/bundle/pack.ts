import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, open, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { runProgram } from '../program.ts'
import { type CpioEntry, checksumOf, cpioHeader, cpioPadding, cpioTrailer, MAX_FILE_BYTES } from './cpio.ts'

/** PEM files. A device verifies with the certificate, which needs the extended key usage `emailProtection`. */
export interface Signer {
  readonly certificate: string
  readonly key: string
}

/** A file, and what a bundle says of it. */
export interface Payload extends CpioEntry {
  readonly path: string
  /** Hexadecimal. */
  readonly sha256: string
}

/**
 * Writes a signed bundle: `description`, which is the text of sw-description, its signature, the payloads, in the order that
 * SWUpdate reads them. The same payloads give the same bytes, but for the signature, which carries the time. Errors: Failure.
 */
export async function packBundle(
  path: string,
  description: string,
  payloads: readonly Payload[],
  signer: Signer,
): Promise<Payload> {
  const dir = await mkdtemp(join(tmpdir(), 'bundle-'))
  const unfinished = `${path}.${process.pid}.new`
  try {
    const list = join(dir, 'sw-description')
    await writeFile(list, description)
    await sign(list, signer)
    const heads = await Promise.all(
      ['sw-description', 'sw-description.sig'].map(name => measured(join(dir, name), name)),
    )
    await pipeline(
      Readable.from(archive([...heads, ...payloads]), { objectMode: false }),
      createWriteStream(unfinished),
    )
    const whole = await measured(unfinished, path)
    await rename(unfinished, path)
    return whole
  } catch (error) {
    if (error instanceof Failure || !(error as NodeJS.ErrnoException).code) throw error
    throw new Failure(EXIT.unavailable, `cannot write ${path}: ${messageOf(error)}`, { cause: error })
  } finally {
    await rm(dir, { recursive: true, force: true })
    await rm(unfinished, { force: true })
  }
}

/** The file as the payload `name`. Errors: Failure when it is larger than a bundle can hold. */
export async function measured(path: string, name: string): Promise<Payload> {
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

async function sign(file: string, { certificate, key }: Signer): Promise<void> {
  for (const needed of [certificate, key]) await pem(needed)
  await runProgram([
    ...(['openssl', 'cms', '-sign', '-in', file, '-out', `${file}.sig`, '-signer', certificate] as const),
    ...['-inkey', key, '-outform', 'DER', '-nosmimecap', '-binary', '-md', 'sha256'],
  ])
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

/** Errors: Failure when there is no such file. */
export async function readable(path: string): Promise<void> {
  const found = await stat(path).catch(cause => {
    throw new Failure(EXIT.usage, `cannot read ${path}: ${messageOf(cause)}`, { cause })
  })
  if (!found.isFile()) throw new Failure(EXIT.usage, `${path} is not a file`)
}
