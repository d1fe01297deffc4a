import { createHash } from 'node:crypto'
import type { Allowance } from '../../bundle/allowance.ts'
import { MAX_DESCRIPTION_BYTES } from '../../bundle/libconfig.ts'
import { EXIT, Failure } from '../failure.ts'
import { AgentVerdict } from './agent-verdict.ts'
import { contentOf, type DescribedContent, type ListedFile } from './content.ts'
import { checksumOf, readCpio } from './cpio.ts'
import { formOf, HEAD_BYTES } from './forms.ts'
import { certificateIn, signatureFault } from './signature.ts'

export interface BundleContent extends DescribedContent {
  readonly path: string
  readonly sizeInBytes: number
  /** SHA-256 of the whole bundle; every hash here is hexadecimal. */
  readonly sha256: string
  readonly files: readonly ListedFile[]
  readonly signature: 'missing' | 'not checked' | 'good' | 'bad'
  /** What is wrong; empty for a valid bundle. */
  readonly findings: readonly string[]
}

export interface ReadOptions {
  /** PEM file; if given, the signature is verified too. */
  readonly certificate?: string | undefined
  /** What `swupdate -e` selects on the devices; default: the agent's. */
  readonly selections?: readonly string[] | undefined
  /** What their configuration allows in a bundle; default: nothing. */
  readonly allow?: readonly Allowance[] | undefined
}

/** The agent's defaults for slots a and b. */
const SELECTIONS = ['stable,a', 'stable,b']
/** Limit for description and signature, in bytes. */
const MAX_HEAD_BYTES = MAX_DESCRIPTION_BYTES

/** Reads the whole bundle. Errors: Failure when it cannot be read. */
export async function readBundle(path: string, options: ReadOptions = {}): Promise<BundleContent> {
  const { certificate, selections = SELECTIONS, allow = [] } = options
  if (certificate !== undefined) await certificateIn(certificate)
  const findings: string[] = []
  const whole = createHash('sha256')
  let sizeInBytes = 0
  const fleet = { selections, allow: new Set(allow) }
  const verdict = new AgentVerdict(fleet)
  const countAll = (chunk: Buffer): void => {
    verdict.push(chunk)
    whole.update(chunk)
    sizeInBytes += chunk.length
  }
  const files: ListedFile[] = []
  const heads = new Map<string, Buffer>()
  for await (const { name, size, checksum, hasChecksum, content } of readCpio(path, countAll)) {
    const hash = createHash('sha256')
    const kept: Buffer[] = []
    const isHead = name.startsWith('sw-description')
    if (isHead && size > MAX_HEAD_BYTES) {
      throw new Failure(EXIT.failed, `${path}: ${name} has ${size} bytes, more than ${MAX_HEAD_BYTES}`)
    }
    let sum = 0
    let first: Buffer = Buffer.alloc(0)
    for await (const chunk of content) {
      hash.update(chunk)
      sum = checksumOf(chunk, sum)
      if (first.length < HEAD_BYTES) first = Buffer.concat([first, chunk.subarray(0, HEAD_BYTES - first.length)])
      if (isHead) kept.push(chunk)
    }
    if (hasChecksum && sum !== checksum) findings.push(`${name}: its checksum in the archive is wrong`)
    if (files.some(each => each.name === name)) findings.push(`${name} is in the bundle twice`)
    files.push({ name, sizeInBytes: size, sha256: hash.digest('hex'), form: formOf(first) })
    if (isHead) heads.set(name, Buffer.concat(kept))
  }
  const description = heads.get('sw-description')
  if (!description) throw new Failure(EXIT.failed, `${path} is not a bundle: it has no sw-description`)
  findings.push(...order(files))
  const content = contentOf(description, files, fleet)
  const signature = await checked(description, heads.get('sw-description.sig'), certificate, findings)
  return {
    ...{ path, sizeInBytes, sha256: whole.digest('hex') },
    ...content,
    ...{ files, signature, findings: [...findings, ...content.findings, ...verdict.end()] },
  }
}

function order([first, second]: readonly ListedFile[]): string[] {
  if (first?.name !== 'sw-description') return ['sw-description is not the first file']
  return second?.name === 'sw-description.sig' ? [] : ['sw-description.sig is not the second file']
}

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
  const fault = await signatureFault(description, signature, certificate)
  if (fault === undefined) return 'good'
  findings.push(`the signature does not verify with ${certificate}: ${fault}`)
  return 'bad'
}
