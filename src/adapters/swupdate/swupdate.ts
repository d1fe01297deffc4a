import { type FileHandle, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Allowance } from '../../bundle/allowance.ts'
import { INLET } from '../../bundle/policy.ts'
import { AgentError, ProcessError } from '../../domain/errors.ts'
import type { SlotName } from '../../domain/slot.ts'
import type { Installer } from '../../ports/installer.ts'
import type { Log } from '../../ports/log.ts'
import { claimSlot, syncSlot } from '../slot/slot-device.ts'
import { comparingInlet, directInlet, type Inlet, type InletOptions } from '../slot/slot-inlet.ts'
import { type Storage, systemStorage } from '../slot/storage.ts'
import { describe, Program } from '../system/program.ts'
import { admissible, unwritten } from './admissible.ts'
import type { BundleStream } from './bundle-stream.ts'
import { expiry, untilValid } from './certificate-clock.ts'
import { type Confine, programFile } from './confine.ts'
import { ControlSocket } from './control-socket.ts'
import { type Early, early, feed } from './feed.ts'
import { providerOptions } from './provider.ts'
import { SHARED, SocketPlace } from './socket-place.ts'
import { StallWatch } from './stall.ts'
import { failure, type Words, wordReader } from './words.ts'

export interface SwupdateOptions {
  /** PEM file; the bundle's `sw-description` must be signed by it (SWUpdate, `-k`). */
  readonly certificate: string
  /** `board:revision` (`-H`); without it SWUpdate reads /etc/hwrevision. */
  readonly hardware: string | undefined
  /** What `-e` selects in `sw-description` for each slot. */
  readonly selection: Readonly<Record<SlotName, string>>
  /** Block device or file of each slot; may be missing on a board with other slot names. */
  readonly device: Readonly<Record<SlotName, string>>
  /** Whether to skip writing what a slot holds already. Default: for block devices. */
  readonly compare: boolean | undefined
  /** `AES key, vector` (`-K`), for encrypted images. Read by SWUpdate only. */
  readonly keyFile: string | undefined
  readonly confine: Confine
  /** Further files and folders that SWUpdate may write, for bundles that `allow` permits. */
  readonly writable: readonly string[]
  /** What bundles may contain in addition to the slot's image. */
  readonly allow: readonly Allowance[]
  /** Called from time to time while waiting for the clock, which may take days. */
  readonly onWait?: () => void
  /** Milliseconds that SWUpdate may neither take a byte, write one nor say anything while the agent waits for it. */
  readonly stall: number
}

/** SWUpdate's own settings files; most devices have none. */
const SETTINGS = ['/etc/hwrevision', '/etc/sw-versions', '/etc/swupdate.cfg']

/** Milliseconds. */
const EXITS_WITHIN = 1_000

/** Variables for the agent only: from systemd, and proxies, which may contain a password. */
const NOT_FOR_SWUPDATE = Object.fromEntries(
  ['NOTIFY_SOCKET', 'JOURNAL_STREAM', 'WATCHDOG_USEC', 'WATCHDOG_PID', 'CREDENTIALS_DIRECTORY', 'STATE_DIRECTORY']
    .concat(['http_proxy', 'https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'])
    .map(name => [name, undefined]),
)

interface Run extends Target {
  readonly encrypted: boolean
  readonly lowest: string | undefined
  /** What is being written, for the sentences. */
  readonly file: () => string | undefined
}

interface Target {
  readonly folder: string
  readonly into: SlotName
  /** SWUpdate opens the device of the slot. */
  readonly direct: boolean
}

/** Installer over the real program: bytes → control socket of a `swupdate` process of its own. */
export class Swupdate implements Installer {
  readonly #options: SwupdateOptions
  readonly #log: Log
  readonly #storage: Storage

  constructor(options: SwupdateOptions, log: Log, storage = systemStorage) {
    this.#options = options
    this.#log = log
    this.#storage = storage
  }

  async install(bundle: AsyncIterable<Buffer>, into: SlotName, signal: AbortSignal, lowest?: string): Promise<void> {
    await untilValid(this.#options.certificate, this.#log, signal, this.#options.onWait)
    // A private folder: SWUpdate puts its sockets there, and in /tmp every local user could open them.
    const folder = await mkdtemp(join(tmpdir(), 'pi-adu-')).catch(cause => {
      throw new AgentError('WORK_FOLDER', `no folder for the installation in ${tmpdir()}: ${cause.message}`, { cause })
    })
    const device = this.#options.device[into]
    const { pieces, contents, file } = await admissible(bundle, into, this.#options)
    const rest = early(pieces)
    let slot: FileHandle | undefined
    let inlet: Inlet | undefined
    try {
      slot = await claimSlot(device, this.#storage)
      if (!slot) {
        const check = `check piAdu.slots.${into}.device in du-config.json`
        throw new AgentError('SLOT', `the slot ${device} does not exist, so nothing was written: ${check}`)
      }
      inlet = await this.#inlet({ folder, slot: into, device }, slot, signal)
      // SWUpdate does not start before the description is accepted.
      await rest.begin()
      const { direct = false, encrypted = false } = contents() ?? {}
      const run = { folder, into, direct: direct || inlet.direct, encrypted, lowest, file }
      await this.#stream(rest, inlet, run, signal)
      // SWUpdate ends while the image is still in the page cache. A slot activated now could have holes after a power cut.
      await syncSlot(slot, device)
      if (!(await inlet.used())) throw unwritten(into)
    } finally {
      await rest.return?.()
      await inlet?.end().catch(() => {})
      await slot?.close()
      await rm(folder, { recursive: true, force: true })
    }
  }

  async #inlet(options: InletOptions, slot: FileHandle, signal: AbortSignal): Promise<Inlet> {
    const compare = this.#options.compare ?? (await slot.stat()).isBlockDevice()
    return compare ? comparingInlet(options, this.#log, signal) : directInlet(options)
  }

  #arguments(into: SlotName, lowest: string | undefined): string[] {
    const { certificate, hardware, keyFile, selection } = this.#options
    const board = hardware === undefined ? [] : ['-H', hardware]
    const key = keyFile === undefined ? [] : ['-K', keyFile]
    // -M and -m: no markers in the bootloader environment, which only the agent writes.
    const fixed = ['-v', '-M', '-m', '-k', certificate, '-e', selection[into]]
    // -N compares the version in the signed sw-description, so an older one is refused a second time.
    return [...fixed, ...board, ...key, ...(lowest === undefined ? [] : ['-N', lowest])]
  }

  /** SWUpdate may open only what it needs; the slot only if it writes that itself. */
  #confined(argv: readonly [string, ...string[]], { folder, into, direct }: Target) {
    const { certificate, confine, device, keyFile, writable } = this.#options
    return confine(argv, {
      run: [argv[0]],
      read: [certificate, ...(keyFile === undefined ? [] : [keyFile]), ...SETTINGS],
      write: direct ? [device[into]] : [],
      own: [folder, SHARED, ...writable],
    })
  }

  async #stream(
    rest: Early,
    inlet: Inlet,
    { folder, into, direct, encrypted, lowest, file }: Run,
    signal: AbortSignal,
  ) {
    const program = await programFile('swupdate')
    if (program === undefined) throw new ProcessError('SWUPDATE_FAILED', 'swupdate is not installed', ['swupdate'])
    const args = [...this.#arguments(into, lowest), ...(await providerOptions(program))]
    const argv = this.#confined([program, ...args], { folder, into, direct })
    const place = await SocketPlace.for(folder)
    const stall = new StallWatch(this.#options.stall, inlet.position, () => this.#stalled(into, file()))
    // SWUpdate sometimes leaves behind a helper process that blocks for ever (measured: 4 of about 1,150 installations on a
    // busy machine). It ends with the process group.
    const swupdate = new Program(argv, {
      env: { ...NOT_FOR_SWUPDATE, TMPDIR: '.', RUNTIME_DIRECTORY: '.' },
      // Bundles name the slot relative to this folder.
      cwd: folder,
      signal: AbortSignal.any([signal, inlet.failed, stall.signal]),
    })
    const gone = new AbortController()
    const errors: string[] = []
    const [out, err] = [0, 1].map(() => wordReader(errors, this.#log, line => place.read(line))) as [Words, Words]
    swupdate.onOutput(out.add, err.add)
    const result = swupdate.ended.finally(() => gone.abort())
    const control = new ControlSocket(place, gone.signal)
    let stream: BundleStream | undefined
    let refused = false
    let stopped = false
    let failed: { why: unknown } | undefined
    const stop = async (): Promise<void> => {
      // A program's end is reported a moment after that of its sockets.
      if (control.silent) await sleep(EXITS_WITHIN, undefined, { signal: gone.signal }).catch(() => {})
      stopped ||= !gone.signal.aborted
      swupdate.stop()
    }
    try {
      stream = await control.install()
      const installed = control
        .installed(stream.ended, () => stall.beat())
        .then(yes => {
          refused = !yes
        })
      // A write that waits for SWUpdate ends with it.
      installed.then(() => (refused ? stop() : undefined), stop)
      await feed(rest, stream, stall)
      await stall.during(installed)
      // SWUpdate may finish before the bundle does; the bundle is good only after its last byte was verified.
      while (!(refused || (await rest.next()).done));
    } catch (why) {
      const silent = why instanceof AgentError && why.code === 'SWUPDATE_STALLED'
      failed = { why: silent ? new AgentError(why.code, why.message + wasWriting(into, file())) : why }
    }
    await stop()
    const end = await result
    stall.end()
    out.end()
    err.end()
    // If the kernel holds SWUpdate, a write to it may never return.
    if (end.stuck) throw new AgentError('SWUPDATE_STALLED', `swupdate ${describe(end)}${wasWriting(into, file())}`)
    await stream?.close()
    signal.throwIfAborted()
    await inlet.end()
    stall.signal.throwIfAborted()
    // SWUpdate's reason comes first, because it may have refused long before the network failed.
    if (refused || !stopped) {
      const isSignature = errors.some(line => /signature|verif/i.test(line))
      const hint = isSignature ? await expiry(this.#options.certificate) : ''
      const { selection, device, keyFile } = this.#options
      const context = { argv: ['swupdate', ...args], selection: selection[into], inlet: INLET[into] }
      throw failure(stopped ? undefined : end, errors, { ...context, device: device[into], keyFile, encrypted }, hint)
    }
    if (failed) throw failed.why
  }

  #stalled(into: SlotName, file: string | undefined): AgentError {
    const { device, stall } = this.#options
    const limit = `${stall / 1000} s (piAdu.swupdate.stallSeconds)`
    const what = `swupdate took nothing, wrote nothing and said nothing for ${limit}${wasWriting(into, file)}`
    return new AgentError('SWUPDATE_STALLED', `${what}, so it was ended: check the storage ${device[into]}`)
  }
}

const wasWriting = (into: SlotName, file: string | undefined): string =>
  ` while ${file ?? 'sw-description'} was being written to slot ${into}`
