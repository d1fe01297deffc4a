import { type FileHandle, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AgentError, ProcessError } from '../domain/errors.ts'
import type { SlotName } from '../domain/slot.ts'
import type { Installer, Log } from '../ports.ts'
import type { BundleStream } from './bundle-stream.ts'
import { expiry, untilValid } from './certificate-clock.ts'
import { describe, type Ending, EXEC, loadExeca, run } from './exec.ts'
import { openSlot, preflight, syncSlot } from './slot-device.ts'
import { comparingInlet, directInlet, type Inlet, type InletOptions } from './slot-inlet.ts'
import { CONTROL_SOCKET, ControlSocket } from './swupdate-socket.ts'

export interface SwupdateOptions {
  /** PEM file; the bundle's `sw-description` must be signed by it (SWUpdate, `-k`). */
  readonly certificate: string
  /** `board:revision` (`-H`); without it SWUpdate reads /etc/hwrevision. */
  readonly hardware: string | undefined
  /** What `-e` selects in `sw-description` for each slot. */
  readonly selection: Readonly<Record<SlotName, string>>
  /** Block device or file of each slot; may be missing on a board that names its slots otherwise. */
  readonly device: Readonly<Record<SlotName, string>>
  /** Whether what a slot holds already is left alone; unless told, where it is a block device. */
  readonly compare: boolean | undefined
}

/** Milliseconds. */
const EXITS_WITHIN = 1_000

/** The lines that SWUpdate prints for every failure, and that say nothing. */
const EMPTY_PHRASES =
  /^(SWUpdate \*failed\* !|Image invalid or corrupted\. Not installing \.\.\.|Installation failed !)$/

/** Installer over the real program: bytes → control socket of a `swupdate` of its own. */
export class Swupdate implements Installer {
  readonly #options: SwupdateOptions
  readonly #log: Log

  constructor(options: SwupdateOptions, log: Log) {
    this.#options = options
    this.#log = log
  }

  async install(bundle: AsyncIterable<Buffer>, into: SlotName, signal: AbortSignal, lowest?: string): Promise<void> {
    await untilValid(this.#options.certificate, this.#log, signal)
    // Own folder: SWUpdate puts its sockets there too, and those in /tmp are open to every local user.
    const folder = await mkdtemp(join(tmpdir(), 'pi-adu-')).catch(cause => {
      throw new AgentError('WORK_FOLDER', `no folder for the installation in ${tmpdir()}: ${cause.message}`, { cause })
    })
    const device = this.#options.device[into]
    const rest = early(preflight(bundle, device))
    let slot: FileHandle | undefined
    let inlet: Inlet | undefined
    try {
      slot = await openSlot(device)
      inlet = await this.#inlet({ folder, slot: into, device }, slot, signal)
      await this.#stream(rest, inlet, { folder, into, lowest }, signal)
      await this.#sync(into, slot, signal)
    } finally {
      await rest.return?.()
      await inlet?.end().catch(() => {})
      await slot?.close()
      await rm(folder, { recursive: true, force: true })
    }
  }

  async #inlet(options: InletOptions, slot: FileHandle | undefined, signal: AbortSignal): Promise<Inlet> {
    const compare = slot && (this.#options.compare ?? (await slot.stat()).isBlockDevice())
    return compare ? comparingInlet(options, this.#log, signal) : directInlet(options)
  }

  #arguments(into: SlotName, lowest: string | undefined): string[] {
    const { certificate, hardware, selection } = this.#options
    const board = hardware === undefined ? [] : ['-H', hardware]
    // -M and -m: no marks of its own in the bootloader environment, the agent alone writes that.
    const fixed = ['-v', '-M', '-m', '-k', certificate, '-e', selection[into]]
    // -N compares the version that sw-description claims, which CMS signs: an older one is refused here a second time.
    return [...fixed, ...board, ...(lowest === undefined ? [] : ['-N', lowest])]
  }

  async #stream(
    rest: Early,
    inlet: Inlet,
    { folder, into, lowest }: { folder: string; into: SlotName; lowest: string | undefined },
    signal: AbortSignal,
  ) {
    const args = this.#arguments(into, lowest)
    const execa = await loadExeca()
    const child = execa('swupdate', args, {
      ...EXEC,
      // What systemd tells the agent is not for SWUpdate.
      env: { ...EXEC.env, TMPDIR: '.', RUNTIME_DIRECTORY: '.', NOTIFY_SOCKET: undefined },
      // Bundles name the slot relative to it.
      cwd: folder,
      cancelSignal: AbortSignal.any([signal, inlet.failed]),
      // A process group of its own, see `endGroup`.
      detached: true,
      stdin: 'ignore',
      all: true,
      buffer: false,
    })
    rest.begin()
    child.once('exit', () => endGroup(child.pid))
    const gone = new AbortController()
    const errors: string[] = []
    const lines = this.#readLines(child.iterable({ from: 'all' }), errors)
    const result = child.finally(() => gone.abort())
    const control = new ControlSocket(join(socketFolder(folder), CONTROL_SOCKET), gone.signal)
    let stream: BundleStream | undefined
    let refused = false
    let stopped = false
    let failed: { why: unknown } | undefined
    const stop = async (): Promise<void> => {
      // The end of a program is told a moment after that of its sockets.
      if (control.silent) await sleep(EXITS_WITHIN, undefined, { signal: gone.signal }).catch(() => {})
      stopped ||= !gone.signal.aborted
      child.kill('SIGTERM')
    }
    try {
      stream = await control.install()
      const installed = control.installed(stream.ended).then(yes => {
        refused = !yes
      })
      // A write that waits for it comes to its end with it.
      installed.then(() => (refused ? stop() : undefined), stop)
      await feed(rest, stream)
      await installed
      // It may have come to its end before the bundle did: only the gate's last word makes the bundle a good one.
      while (!(refused || (await rest.next()).done));
    } catch (why) {
      failed = { why }
    }
    await stop()
    const end = await result
    await lines
    await stream?.close()
    signal.throwIfAborted()
    await inlet.end()
    // Its reason comes first: it may have refused long before the network failed.
    if (refused || !stopped) {
      const hint = await expiry(this.#options.certificate)
      throw failure(stopped ? undefined : end, errors, this.#options.selection[into], ['swupdate', ...args], hint)
    }
    if (failed) throw failed.why
  }

  /**
   * SWUpdate ends with the image in the page cache: activated then, a slot would start with holes in it after a power cut.
   * fsync of the slot is enough, and waits for nobody else's writes; sync(1) is only for a slot whose device is not there
   * to be asked.
   */
  async #sync(into: SlotName, slot: FileHandle | undefined, signal: AbortSignal): Promise<void> {
    const device = this.#options.device[into]
    if (slot) return syncSlot(slot, device)
    this.#log.warn('slot.unknown', { slot: into, device })
    await run(['sync'], { signal, code: 'SLOT' })
  }

  /** SWUpdate's own words go to the log; its errors are kept for the report. */
  async #readLines(lines: AsyncIterable<unknown>, errors: string[]): Promise<void> {
    for await (const line of lines) {
      const match = /^\[(\w+) *\] : (.*)$/.exec(String(line))
      const text = match?.[2] ?? String(line)
      // Said as a mere trace; its error names no cause.
      if (/instead of sw-description\.sig/.test(text)) errors.push('the bundle is not signed: no sw-description.sig')
      if (match?.[1] === 'ERROR') {
        const bare = text
          .replace(/^SWUPDATE failed \[\d+\] /, '')
          .replace(/^ERROR *(\S+ )?: /, '')
          // Function and line, in SWUpdate since 2024.
          .replace(/^\w+ : \d+ : /, '')
          .trim()
        errors.push(bare.slice(0, 200))
        this.#log.warn('swupdate', { line: bare })
      } else if (match?.[1] !== 'TRACE' && match?.[1] !== 'DEBUG' && !text.includes('print_registered_handlers')) {
        this.#log.debug('swupdate', { line: text.trim() })
      }
    }
  }
}

/**
 * SWUpdate starts a helper process, and sometimes ends without it: the helper then blocks for ever in a message to its own
 * socket that nobody reads any more, and keeps our pipe open, which would never come to its end (measured: 4 of about 1,150
 * installations, on a busy machine; none of 1,600 since).
 */
function endGroup(leader: number | undefined): void {
  try {
    if (leader !== undefined) process.kill(-leader, 'SIGKILL')
  } catch {
    // Nobody is left, as it should be.
  }
}

/** `end`: when it ended by itself, which it never does when all is well. */
function failure(
  end: Ending | undefined,
  errors: readonly string[],
  selection: string,
  argv: readonly string[],
  hint: string,
): ProcessError {
  // What follows this line are its consequences, and would lead astray.
  const said = errors.includes('Found nothing to install')
    ? `sw-description has nothing for the selection ${selection}`
    : [...new Set(errors.filter(line => !EMPTY_PHRASES.test(line)))].join(' | ')
  const code = end?.signal === undefined ? 'SWUPDATE_FAILED' : 'CHILD_KILLED'
  const how = end ? describe(end) : 'failed'
  return new ProcessError(code, `swupdate ${how}${said && `: ${said}`}${hint}`, argv, end?.exitCode ?? 1, end?.signal)
}

/** What is read once SWUpdate has begun to start: the first bytes then come in the meantime. */
interface Early extends AsyncIterator<Buffer> {
  begin(): void
}

function early(bundle: AsyncIterator<Buffer>): Early {
  let first: Promise<IteratorResult<Buffer>> | undefined
  return {
    begin() {
      first = bundle.next()
      first.catch(() => {})
    },
    next() {
      const next = first ?? bundle.next()
      first = undefined
      return next
    },
    async return() {
      await bundle.return?.()
      return { done: true, value: undefined }
    },
  }
}

/** Writes `bundle`, to its end or until SWUpdate reads no further. The next piece is asked for when this one is with the kernel. */
async function feed(bundle: AsyncIterator<Buffer>, stream: BundleStream): Promise<void> {
  for (let next = await bundle.next(); !next.done; next = await bundle.next()) {
    if (!(await stream.write(next.value))) return
  }
  stream.end()
}

/** unix(7): the longest path of a socket. */
const SOCKET_PATH = 107

/** `folder` as a socket in it can be reached. */
function socketFolder(folder: string): string {
  return join(folder, CONTROL_SOCKET).length > SOCKET_PATH ? relative('', folder) : folder
}
