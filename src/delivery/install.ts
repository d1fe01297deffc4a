import { createHash } from 'node:crypto'
import type { Phase } from '../domain/attempt.ts'
import type { FirmwareUpdate } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import type { SlotName } from '../domain/slot.ts'
import type { SystemUpdate } from '../domain/system-update.ts'
import { webUrl } from '../domain/web-url.ts'
import { type Leftover, noLeftovers } from '../ports/leftovers.ts'
import type { Ports } from '../ports/ports.ts'
import { type ExpectedFile, withholdEnd, withholdSelfSigned } from '../trust/withheld-end.ts'
import { type FetchOptions, fetchFile } from './fetch.ts'
import { throttled } from './throttle.ts'

/** Between two progress lines, in milliseconds. */
const PROGRESS_EVERY = 500

/** After these errors the content of the slot cannot be trusted. */
const isUnbelievable = (code: string): boolean =>
  code === 'FILE_HASH' || code === 'SWUPDATE_FAILED' || code.startsWith('BUNDLE_')

/** Errors of SWUpdate and the slot. All others are failures of the download. */
const APPLY: ReadonlySet<string> = new Set([
  'SWUPDATE_FAILED',
  'SWUPDATE_STALLED',
  'CHILD_KILLED',
  'SLOT',
  'SLOT_IN_USE',
  'INTERNAL',
])

/** The phase in which an installation failed. A slot that is too small is found during the download. */
export const phaseOf = ({ code }: AgentError): Phase =>
  APPLY.has(code) || code.startsWith('BUNDLE_') ? 'apply' : 'download'

export interface Installation {
  readonly update: (SystemUpdate & { readonly url: string }) | FirmwareUpdate
  readonly into: SlotName
  /** The lowest version that the bundle may have. */
  readonly lowest?: string
}

/**
 * Streams content → withheld end → installer: the image is stored only in the slot. Resolves when `into` holds the whole,
 * verified bundle. After an abort `into` may be half written. Never touches the boot state.
 */
export async function install(
  ports: Pick<Ports, 'content' | 'installer' | 'leftovers' | 'clock' | 'log' | 'events'>,
  { update, into, lowest }: Installation,
  options: FetchOptions,
  progress: (done: number, size: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log, events } = ports
  const file = 'bundle' in update ? update.bundle : expected(update)
  const origin = update.local ? 'local' : 'bundle' in update ? 'twin' : 'method'
  let size = file.sizeInBytes
  const begun = clock.monotonic()
  const { fileName } = file
  events.tell({ event: 'install.begin', slot: into, file: fileName, ...(size === undefined ? {} : { size }) })
  const onSize = (known: number): void => {
    size = known
  }
  const { bytesPerSecond } = options
  // Without a hash the leftovers could not be verified.
  const { sha256 = Buffer.alloc(0) } = file
  const leftovers = file.sha256 ? ports.leftovers : noLeftovers
  for (let left = await leftovers.find(sha256, into); ; left = undefined) {
    try {
      await run(left)
      break
    } catch (error) {
      if (!(error instanceof AgentError) || !isUnbelievable(error.code)) throw error
      // The slot holds what was downloaded, and that was wrong.
      await leftovers.forget()
      if (!left || error.code === 'SWUPDATE_FAILED') throw error
      log.warn('install.leftover-wrong', { first: left.first, end: left.end })
    }
  }
  const ms = Math.round(clock.monotonic() - begun)
  events.tell({ event: 'install.end', slot: into, ms, ...(size === undefined ? {} : { bytes: size }) })

  async function run(from: Leftover | undefined): Promise<void> {
    const source = from ? pieced(from) : fetched({})
    const hash = createHash('sha256')
    const digest = (): Buffer => hash.copy().digest()
    const noted = leftovers.noting(source, sha256, into, digest)
    const bytes = counted(noted, done => {
      events.tell({ event: 'install.progress', bytes: done, ...(size === undefined ? {} : { of: size }) })
      if (size !== undefined) progress(done, size)
    })
    const bundle = 'bundle' in update ? withholdEnd(bytes, update.bundle, hash) : withholdSelfSigned(bytes, file, hash)
    await ports.installer.install(bundle, into, signal, lowest)
  }

  function fetched(part: { from?: number; upTo?: number }): AsyncIterable<Buffer> {
    const bytes = fetchFile(ports, { url: update.url, origin, size, onSize, ...part }, options, signal)
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
    events.tell({ event: 'install.resumed', first, end, bytes: at - first })
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

/** The file as the request describes it. The name is for people only, and has no query, which may hold secrets. */
function expected({ url, local, sha256, sizeInBytes }: FirmwareUpdate): ExpectedFile {
  const onDevice = local && url.startsWith('file:') ? url.split('/').at(-1) : undefined
  return {
    fileName: onDevice || webUrl(url).url?.fileName || 'bundle',
    ...(sizeInBytes === undefined ? {} : { sizeInBytes }),
    ...(sha256 === undefined ? {} : { sha256: Buffer.from(sha256, 'hex') }),
  }
}
