import type { SystemUpdate, Verified } from '../domain/deployment.ts'
import type { SlotName } from '../domain/slot.ts'
import type { Ports } from '../ports.ts'
import { gate } from '../trust/gate.ts'
import { type FetchOptions, fetchFile } from './fetch.ts'

/** Between two progress lines, in milliseconds. */
const PROGRESS_EVERY = 500

/**
 * Content → gate → installer, one chunk at a time: nothing of the image is kept anywhere but in the slot. Resolves when
 * `into` holds the whole, right bundle. Abort leaves `into` half written, and the boot state alone.
 */
export async function install(
  ports: Pick<Ports, 'content' | 'installer' | 'clock' | 'log'>,
  { bundle, url }: Verified<SystemUpdate>,
  into: SlotName,
  options: FetchOptions,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log } = ports
  const size = bundle.sizeInBytes
  const begun = clock.monotonic()
  log.info('install.begin', { slot: into, file: bundle.fileName, size })
  const bytes = counted(fetchFile(ports, { url, size }, options, signal), done => {
    log.debug('install.progress', { bytes: done, of: size })
  })
  await ports.installer.install(gate(bytes, bundle), into, signal)
  log.info('install.end', { slot: into, bytes: size, ms: Math.round(clock.monotonic() - begun) })

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
