import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { AgentError } from '../../domain/errors.ts'
import { readAptManifest } from '../../handlers/apt/apt-manifest.ts'
import { type ReadOptions, readBundle } from '../bundle/show.ts'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { readInput } from '../input.ts'
import type { Finding } from './check.ts'

/** What a step uses a file as. */
export type Role = 'bundle' | 'apt' | 'script' | 'plain'

export interface Content {
  readonly sizeInBytes: number
  /** Base64. */
  readonly sha256: string
  /** Of a bundle, `version` in `sw-description`; of an APT manifest, `name-version`, the usual `installedCriteria`. */
  readonly names?: string
  /** What is wrong inside. */
  readonly faults: readonly Pick<Finding, 'level' | 'message'>[]
}

/** Reads each payload file once in each role. */
export class Contents {
  readonly #options: ReadOptions
  readonly #known = new Map<string, Promise<Content>>()

  constructor(options: ReadOptions) {
    this.#options = options
  }

  /** Errors: Failure when the file cannot be read. */
  of(path: string, role: Role): Promise<Content> {
    const key = `${role} ${path}`
    const content = this.#known.get(key) ?? this.#read(path, role)
    this.#known.set(key, content)
    return content
  }

  async #read(path: string, role: Role): Promise<Content> {
    if (role === 'bundle') return bundleContent(path, this.#options)
    const measured = await measure(path)
    if (role === 'apt') return { ...measured, ...(await aptContent(path)) }
    return { ...measured, faults: role === 'script' ? await scriptFaults(path) : [] }
  }
}

async function bundleContent(path: string, options: ReadOptions): Promise<Content> {
  const bundle = await readBundle(path, options).catch((cause: unknown) => {
    if (cause instanceof Failure && cause.exitCode === EXIT.failed) return cause
    throw cause
  })
  if (bundle instanceof Failure) return { ...(await measure(path)), faults: [error(bundle.message)] }
  const sha256 = Buffer.from(bundle.sha256, 'hex').toString('base64')
  return { sizeInBytes: bundle.sizeInBytes, sha256, names: bundle.version, faults: bundle.findings.map(error) }
}

async function measure(path: string) {
  const hash = createHash('sha256')
  try {
    if (!(await stat(path)).isFile()) throw new Error('it is not a file')
    let sizeInBytes = 0
    for await (const chunk of createReadStream(path)) {
      hash.update(chunk)
      sizeInBytes += chunk.length
    }
    return { sizeInBytes, sha256: hash.digest('base64') }
  } catch (cause) {
    throw new Failure(EXIT.usage, `cannot read ${path}: ${messageOf(cause)}`, { cause })
  }
}

async function aptContent(path: string): Promise<Pick<Content, 'names' | 'faults'>> {
  try {
    const { name, version } = readAptManifest(await readInput(path))
    return { names: `${name}-${version}`, faults: [] }
  } catch (cause) {
    if (!(cause instanceof AgentError)) throw cause
    return { faults: [error(`${basename(path)}: ${cause.message}`)] }
  }
}

/** What keeps the kernel from starting it. */
async function scriptFaults(path: string): Promise<Content['faults']> {
  const file = await open(path)
  const { buffer, bytesRead } = await file.read(Buffer.alloc(256), 0, 256, 0).finally(() => file.close())
  const [first = ''] = buffer.subarray(0, bytesRead).toString('latin1').split('\n')
  if (first.startsWith('\x7fELF')) return []
  const name = basename(path)
  if (!first.startsWith('#!')) return [error(`${name} has no first line like "#!/bin/sh": no device can start it`)]
  if (!first.endsWith('\r')) return []
  return [error(`${name} ends its first line with CR LF, as Windows does: no device can start it`)]
}

const error = (message: string): Pick<Finding, 'level' | 'message'> => ({ level: 'error', message })
