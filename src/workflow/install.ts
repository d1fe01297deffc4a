import { createHash } from 'node:crypto'
import type { FirmwareUpdate, SystemUpdate, Verified } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import type { SlotName } from '../domain/slot.ts'
import type { Leftover, Ports } from '../ports.ts'
import { type ExpectedFile, gate, gateSelfSigned } from '../trust/gate.ts'
import { type FetchOptions, fetchFile } from './fetch.ts'
import { throttled } from './throttle.ts'

/** Between two progress lines, in milliseconds. */
const PROGRESS_EVERY = 500

/** What the slot has is then not to be built upon. */
const UNBELIEVABLE: ReadonlySet<string> = new Set(['FILE_HASH', 'SWUPDATE_FAILED'])

export interface Installation {
  readonly update: Verified<SystemUpdate> | FirmwareUpdate
  readonly into: SlotName
  /** No bundle that calls itself older. */
  readonly lowest?: string
}

/**
 * Content → gate → installer, one chunk at a time: nothing of the image is kept anywhere but in the slot. Resolves when
 * `into` holds the whole, right bundle. Abort leaves `into` half written, and the boot state alone.
 */
export async function install(
  ports: Pick<Ports, 'content' | 'installer' | 'leftovers' | 'clock' | 'log'>,
  { update, into, lowest }: Installation,
  options: FetchOptions,
  progress: (done: number, size: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log } = ports
  const file = 'bundle' in update ? update.bundle : expected(update)
  let size = file.sizeInBytes
  const begun = clock.monotonic()
  log.info('install.begin', { slot: into, file: file.fileName, size })
  const onSize = (known: number): void => {
    size = known
  }
  const { bytesPerSecond } = options
  const leftovers = file.sha256 && ports.leftovers
  const left = file.sha256 && (await leftovers?.find(file.sha256, into))
  try {
    await run(left)
  } catch (error) {
    if (!(error instanceof AgentError) || !UNBELIEVABLE.has(error.code)) throw error
    // What is in the slot is what once came, and that was wrong.
    await leftovers?.forget()
    if (!left || error.code !== 'FILE_HASH') throw error
    log.warn('install.leftover-wrong', { first: left.first, end: left.end })
    await run(undefined)
  }
  log.info('install.end', { slot: into, bytes: size, ms: Math.round(clock.monotonic() - begun) })

  async function run(from: Leftover | undefined): Promise<void> {
    const source = from ? pieced(from) : fetched({})
    const hash = createHash('sha256')
    const digest = (): Buffer => hash.copy().digest()
    const noted = leftovers && file.sha256 ? leftovers.noting(source, file.sha256, into, digest) : source
    const bytes = counted(noted, done => {
      log.debug('install.progress', { bytes: done, of: size })
      if (size !== undefined) progress(done, size)
    })
    const bundle = 'bundle' in update ? gate(bytes, update.bundle, hash) : gateSelfSigned(bytes, file, hash)
    await ports.installer.install(bundle, into, signal, lowest)
  }

  function fetched(part: { from?: number; upTo?: number }): AsyncIterable<Buffer> {
    const bytes = fetchFile(ports, { url: update.url, size, onSize, ...part }, options, signal)
    return bytesPerSecond === undefined ? bytes : throttled(bytes, bytesPerSecond, clock, signal)
  }

  /** The middle from the slot, the rest from the network. */
  async function* pieced({ first, end, bytes }: Leftover): AsyncGenerator<Buffer> {
    const head: Buffer[] = []
    for await (const piece of fetched({ upTo: first })) {
      head.push(Buffer.from(piece))
      yield piece
    }
    let at = first
    for await (const piece of bytes(Buffer.concat(head))) {
      at += piece.length
      yield piece
    }
    log.info('install.resumed', { first, end, bytes: at - first })
    yield* fetched({ from: at })
  }

  async function* counted(source: AsyncIterable<Buffer>, tell: (done: number) => void): AsyncGenerator<Buffer> {
    let done = 0
    let told = begun
    for await (const chunk of source) {
      yield chunk
      done += chunk.length
      if (clock.monotonic() - told < PROGRESS_EVERY) continue
      told = clock.monotonic()
      tell(done)
    }
    tell(done)
  }
}

/** What the call of the method told about its file. The name is for people only: a URL may carry secrets after it. */
function expected({ url, sha256, sizeInBytes }: FirmwareUpdate): ExpectedFile {
  return {
    fileName: new URL(url).pathname.split('/').at(-1) || 'bundle',
    ...(sizeInBytes === undefined ? {} : { sizeInBytes }),
    ...(sha256 === undefined ? {} : { sha256: Buffer.from(sha256, 'hex') }),
  }
}
