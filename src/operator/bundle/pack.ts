import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { runProgram } from '../program.ts'
import { type CpioEntry, checksumOf, cpioHeader, cpioPadding, cpioTrailer, MAX_FILE_BYTES } from './cpio.ts'
import { certificateIn, checkKey, signatureFault } from './signature.ts'

/** PEM files. The certificate needs the extended key usage `emailProtection`, or none. */
export interface Signer {
  readonly certificate: string
  readonly key: string
  /** What the devices verify with (`swupdate -k`), if not the certificate itself. */
  readonly root?: string
}

/** A file and its entry in the bundle. */
export interface Payload extends CpioEntry {
  readonly path: string
  /** Hexadecimal. */
  readonly sha256: string
}

/**
 * Writes a signed bundle: `description` (the text of sw-description), its signature, and the payloads, in the order in which
 * SWUpdate reads them. The same payloads give the same bytes, except for the time in the signature. Errors: Failure.
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

/** The file as payload `name`. Errors: Failure when it is too large for a bundle. */
export async function measured(path: string, name: string): Promise<Payload> {
  const hash = createHash('sha256')
  let size = 0
  let checksum = 0
  await checkSize(path)
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    hash.update(chunk)
    size += chunk.length
    checksum = checksumOf(chunk, checksum)
  }
  return { path, name, size, checksum, sha256: hash.digest('hex') }
}

/** Errors: Failure when the file is too large for a bundle. */
export async function checkSize(path: string): Promise<void> {
  const { size } = await stat(path)
  if (size > MAX_FILE_BYTES) throw new Failure(EXIT.usage, `${path} is larger than 4 GiB, which a bundle cannot hold`)
}

/** Errors: Failure, also when no device would accept the signature. */
async function sign(file: string, { certificate, key, root = certificate }: Signer): Promise<void> {
  for (const needed of [certificate, key]) await pem(needed)
  await checkKey(key, await certificateIn(certificate), certificate)
  await runProgram([
    ...(['openssl', 'cms', '-sign', '-in', file, '-out', `${file}.sig`, '-signer', certificate] as const),
    ...['-inkey', key, '-outform', 'DER', '-nosmimecap', '-binary', '-md', 'sha256'],
  ])
  const fault = await signatureFault(await readFile(file), await readFile(`${file}.sig`), root)
  if (fault === undefined) return
  throw new Failure(EXIT.usage, `a device that verifies with ${root} would refuse this signature: ${fault}`)
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

/** openssl needs minutes to find that a large file is neither key nor certificate. */
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

/** Errors: Failure when the file does not exist. */
export async function readable(path: string): Promise<void> {
  const found = await stat(path).catch(cause => {
    throw new Failure(EXIT.usage, `cannot read ${path}: ${messageOf(cause)}`, { cause })
  })
  if (!found.isFile()) throw new Failure(EXIT.usage, `${path} is not a file`)
}
