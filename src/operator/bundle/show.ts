import { createHash } from 'node:crypto'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { runProgram } from '../program.ts'
import { checksumOf, readCpio } from './cpio.ts'
import { type Config, parseLibconfig } from './libconfig.ts'

/** One use of a file: what for, and where it goes. */
export interface ListedImage {
  /** Path in `sw-description`, such as `stable.a.images`. */
  readonly selection: string
  readonly fileName: string
  readonly device?: string
  readonly type?: string
  readonly compressed?: string
  readonly sha256?: string
}

export interface ListedFile {
  readonly name: string
  readonly sizeInBytes: number
  readonly sha256: string
}

export interface BundleContent {
  readonly path: string
  readonly sizeInBytes: number
  /** Of the bundle as a whole, base64: as an import manifest wants it. */
  readonly sha256: string
  readonly version: string
  readonly description?: string
  readonly hardware: readonly string[]
  readonly files: readonly ListedFile[]
  readonly images: readonly ListedImage[]
  readonly signature: 'missing' | 'not checked' | 'good' | 'bad'
  /** What is wrong; empty when the bundle is in order. */
  readonly findings: readonly string[]
}

/** Enough for any list of images. */
const MAX_DESCRIPTION_BYTES = 4 << 20

/** Reads the whole bundle; with `certificate` (PEM file) its signature is verified too. Errors: Failure where it cannot be read. */
export async function readBundle(path: string, certificate?: string): Promise<BundleContent> {
  const findings: string[] = []
  const whole = createHash('sha256')
  let sizeInBytes = 0
  const countAll = (chunk: Buffer): void => {
    whole.update(chunk)
    sizeInBytes += chunk.length
  }
  const files: ListedFile[] = []
  const heads = new Map<string, Buffer>()
  for await (const { name, size, checksum, hasChecksum, content } of readCpio(path, countAll)) {
    const hash = createHash('sha256')
    const kept: Buffer[] = []
    const keep = name.startsWith('sw-description') && size <= MAX_DESCRIPTION_BYTES
    let sum = 0
    for await (const chunk of content) {
      hash.update(chunk)
      sum = checksumOf(chunk, sum)
      if (keep) kept.push(chunk)
    }
    if (hasChecksum && sum !== checksum) findings.push(`${name}: its checksum in the archive is wrong`)
    if (files.some(each => each.name === name)) findings.push(`${name} is in the bundle twice`)
    files.push({ name, sizeInBytes: size, sha256: hash.digest('hex') })
    if (keep) heads.set(name, Buffer.concat(kept))
  }
  const description = heads.get('sw-description')
  if (!description) throw new Failure(EXIT.failed, `${path} is not a bundle: it has no sw-description`)
  if (files[0]?.name !== 'sw-description') findings.push('sw-description is not the first file')
  const { version, words, hardware, images } = contentOf(description.toString())
  if (hardware.length === 0) findings.push('hardware-compatibility is missing: SWUpdate refuses the bundle')
  findings.push(...missing(images, files))
  const signature = await checked(description, heads.get('sw-description.sig'), certificate, findings)
  return {
    path,
    sizeInBytes,
    sha256: whole.digest('base64'),
    version,
    ...(words === undefined ? {} : { description: words }),
    hardware,
    files,
    images,
    signature,
    findings,
  }
}

function missing(images: readonly ListedImage[], files: readonly ListedFile[]): string[] {
  if (images.length === 0) return ['sw-description lists no image']
  return images.flatMap(({ fileName, sha256, selection }) => {
    const file = files.find(each => each.name === fileName)
    if (!file) return [`${fileName} (${selection}) is not in the bundle`]
    if (sha256 === undefined) return [`${fileName} (${selection}) has no sha256`]
    return sha256.toLowerCase() === file.sha256 ? [] : [`${fileName} (${selection}): its sha256 is another one`]
  })
}

interface Description {
  readonly version: string
  readonly words: string | undefined
  readonly hardware: readonly string[]
  readonly images: readonly ListedImage[]
}

function contentOf(text: string): Description {
  const json = text.trimStart().startsWith('{')
  const all = json ? parseJson(text) : parseLibconfig(text)
  const software = isGroup(all) && isGroup(all.software) ? all.software : undefined
  if (!software) throw new Failure(EXIT.failed, 'sw-description has no group "software"')
  const hardware = software['hardware-compatibility']
  return {
    version: typeof software.version === 'string' ? software.version : '',
    words: typeof software.description === 'string' ? software.description : undefined,
    hardware: Array.isArray(hardware) ? hardware.filter(each => typeof each === 'string') : [],
    images: imagesOf(software, []),
  }
}

/** Wherever they are: SWUpdate lets selections, modes and boards be nested. */
function imagesOf(group: { readonly [name: string]: Config }, path: readonly string[]): ListedImage[] {
  return Object.entries(group).flatMap(([name, value]) => {
    const here = [...path, name]
    if (isGroup(value)) return imagesOf(value, here)
    if ((name !== 'images' && name !== 'files' && name !== 'scripts') || !Array.isArray(value)) return []
    return value.filter(isGroup).map(entry => ({ selection: here.join('.'), ...textsOf(entry) }))
  })
}

function textsOf(entry: { readonly [name: string]: Config }): Omit<ListedImage, 'selection'> {
  const text = (name: string) => (typeof entry[name] === 'string' ? { [name]: entry[name] } : {})
  const fileName = typeof entry.filename === 'string' ? entry.filename : ''
  return { fileName, ...text('device'), ...text('type'), ...text('compressed'), ...text('sha256') }
}

function parseJson(text: string): Config {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Failure(EXIT.failed, `sw-description is neither libconfig nor JSON: ${messageOf(cause)}`, { cause })
  }
}

const isGroup = (value: Config | undefined): value is { readonly [name: string]: Config } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

async function checked(
  description: Buffer,
  signature: Buffer | undefined,
  certificate: string | undefined,
  findings: string[],
): Promise<BundleContent['signature']> {
  if (!signature) {
    findings.push('sw-description.sig is missing: the bundle is not signed')
    return 'missing'
  }
  if (certificate === undefined) return 'not checked'
  await stat(certificate).catch(cause => {
    throw new Failure(EXIT.usage, `cannot read ${certificate}: ${messageOf(cause)}`, { cause })
  })
  const dir = await mkdtemp(join(tmpdir(), 'bundle-'))
  try {
    const [text, sig] = [join(dir, 'sw-description'), join(dir, 'sw-description.sig')]
    await writeFile(text, description)
    await writeFile(sig, signature)
    await runProgram([
      ...(['openssl', 'cms', '-verify', '-binary', '-inform', 'DER', '-in', sig, '-content', text] as const),
      ...['-CAfile', certificate, '-out', '/dev/null'],
    ])
    return 'good'
  } catch (error) {
    if (!(error instanceof Failure) || error.exitCode !== EXIT.failed) throw error
    const why = /reason\(\d+\)|[^:|]*$/.exec(error.message)?.[0].trim() ?? ''
    findings.push(`the signature does not verify with ${certificate}: ${why}`)
    return 'bad'
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}
