import { constants } from 'node:fs'
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AgentError, ProcessError } from '../domain/errors.ts'
import type { SlotName } from '../domain/slot.ts'
import type { Installer, Log } from '../ports.ts'
import { expiry, untilValid } from './certificate-clock.ts'
import { describe, type Ending, EXEC, loadExeca, run } from './exec.ts'
import { openSlot, preflight, syncSlot } from './slot-device.ts'

export interface SwupdateOptions {
  /** PEM file; the bundle's `sw-description` must be signed by it (SWUpdate, `-k`). */
  readonly certificate: string
  /** `board:revision` (`-H`); without it SWUpdate reads /etc/hwrevision. */
  readonly hardware: string | undefined
  /** What `-e` selects in `sw-description` for each slot. */
  readonly selection: Readonly<Record<SlotName, string>>
  /** Block device or file of each slot; may be missing on a board that names its slots otherwise. */
  readonly device: Readonly<Record<SlotName, string>>
}

/** The lines that SWUpdate prints for every failure, and that say nothing. */
const EMPTY_PHRASES =
  /^(SWUpdate \*failed\* !|Image invalid or corrupted\. Not installing \.\.\.|Installation failed !)$/

/** Installer over the real program: bytes → FIFO → `swupdate -i`. */
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
    const rest = startedEarly(preflight(bundle, device))
    let slot: FileHandle | undefined
    try {
      slot = await openSlot(device)
      const fifo = join(folder, 'bundle')
      await run(['mkfifo', '-m', '600', fifo], { signal, code: 'WORK_FOLDER' })
      await this.#stream(rest, { fifo, folder, into, lowest }, signal)
      await this.#sync(into, slot, signal)
    } finally {
      await rest.return?.()
      await slot?.close()
      await rm(folder, { recursive: true, force: true })
    }
  }

  #arguments(into: SlotName, fifo: string, lowest: string | undefined): string[] {
    const { certificate, hardware, selection } = this.#options
    const board = hardware === undefined ? [] : ['-H', hardware]
    // -M and -m: no marks of its own in the bootloader environment, the agent alone writes that.
    const fixed = ['-v', '-M', '-m', '-k', certificate, '-e', selection[into]]
    // -N compares the version that sw-description claims, which CMS signs: an older one is refused here a second time.
    return [...fixed, ...board, ...(lowest === undefined ? [] : ['-N', lowest]), '-i', fifo]
  }

  async #stream(
    rest: AsyncIterator<Buffer>,
    { fifo, folder, into, lowest }: { fifo: string; folder: string; into: SlotName; lowest: string | undefined },
    signal: AbortSignal,
  ) {
    const args = this.#arguments(into, fifo, lowest)
    const execa = await loadExeca()
    const child = execa('swupdate', args, {
      ...EXEC,
      env: { ...EXEC.env, TMPDIR: folder },
      cancelSignal: signal,
      // A process group of its own, see `endGroup`.
      detached: true,
      stdin: 'ignore',
      all: true,
      buffer: false,
    })
    child.once('exit', () => endGroup(child.pid))
    const ended = new AbortController()
    const said = { errors: [] as string[], end: new AbortController() }
    const lines = this.#readLines(child.iterable({ from: 'all' }), said)
    const { errors } = said
    const result = child.finally(() => ended.abort())
    const failed = async (end: Ending): Promise<ProcessError> => {
      const hint = await expiry(this.#options.certificate)
      return failure(end, errors, this.#options.selection[into], ['swupdate', ...args], hint)
    }
    try {
      await feed(rest, fifo, ended.signal, AbortSignal.any([ended.signal, said.end.signal]))
      const end = await result
      await lines
      signal.throwIfAborted()
      if (end.failed) throw await failed(end)
      // It may have ended before the bundle did: only the gate's last word makes the bundle a good one.
      while (!(await rest.next()).done);
    } catch (error) {
      // It may have ended long before the network did, and then its reason is the first one.
      const refused = ended.signal.aborted
      child.kill('SIGTERM')
      const end = await result
      await lines
      signal.throwIfAborted()
      if (refused && end.failed) throw await failed(end)
      throw error
    }
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
  async #readLines(lines: AsyncIterable<unknown>, said: { errors: string[]; end: AbortController }): Promise<void> {
    let verdict = false
    for await (const line of lines) {
      const match = /^\[(\w+) *\] : (.*)$/.exec(String(line))
      const text = match?.[2] ?? String(line)
      if (/^SWUPDATE (successful|failed)/i.test(text)) verdict = true
      else if (verdict && text.includes('Waiting for requests')) said.end.abort()
      // Said as a mere trace; its error names no cause.
      if (/instead of sw-description\.sig/.test(text))
        said.errors.push('the bundle is not signed: no sw-description.sig')
      if (match?.[1] === 'ERROR') {
        const bare = text
          .replace(/^SWUPDATE failed \[\d+\] /, '')
          .replace(/^ERROR *(\S+ )?: /, '')
          // Function and line, in SWUpdate since 2024.
          .replace(/^\w+ : \d+ : /, '')
          .trim()
        said.errors.push(bare.slice(0, 200))
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

function failure(
  end: Ending,
  errors: readonly string[],
  selection: string,
  argv: readonly string[],
  hint: string,
): ProcessError {
  // What follows this line are its consequences, and would lead astray.
  const said = errors.includes('Found nothing to install')
    ? `sw-description has nothing for the selection ${selection}`
    : [...new Set(errors.filter(line => !EMPTY_PHRASES.test(line)))].join(' | ')
  const code = end.signal === undefined ? 'SWUPDATE_FAILED' : 'CHILD_KILLED'
  return new ProcessError(
    code,
    `swupdate ${describe(end)}${said && `: ${said}`}${hint}`,
    argv,
    end.exitCode,
    end.signal,
  )
}

/** The first bytes may come while SWUpdate starts. */
function startedEarly(bundle: AsyncIterator<Buffer>): AsyncIterator<Buffer> {
  let first: Promise<IteratorResult<Buffer>> | undefined = bundle.next()
  first.catch(() => {})
  return {
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

/** SWUpdate looks once a second whether it is done; if it is when the bundle ends, it ends at once. In milliseconds. */
const DONE_WITHIN = 1_000

/** Writes `bundle` to the FIFO, to its end or until nobody reads any more; closes it when `done` says that the reader has all. */
async function feed(
  bundle: AsyncIterator<Buffer>,
  fifo: string,
  readerGone: AbortSignal,
  done: AbortSignal,
): Promise<void> {
  const file = await openForWriting(fifo, readerGone)
  if (!file) return
  // While a piece is on its way, the next one is fetched and hashed; it is a copy, as the piece itself is gone by then.
  let own = Buffer.alloc(0)
  let writing: Promise<void> | undefined
  try {
    for (let next = await bundle.next(); !next.done; next = await bundle.next()) {
      await writing
      if (readerGone.aborted) return
      if (own.length < next.value.length) own = Buffer.allocUnsafeSlow(next.value.length)
      writing = writeWhole(file, own.subarray(0, next.value.copy(own)))
      writing.catch(() => {})
    }
    await writing
    await sleep(DONE_WITHIN, undefined, { signal: done }).catch(() => {})
  } catch (error) {
    // A reader that refuses the bundle closes early; its exit code says why.
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error
  } finally {
    await writing?.catch(() => {})
    await file.close()
  }
}

/** Waits in a thread for the reader, a whole piece at a time: a non-blocking pipe wakes us up for each 64 KiB. */
async function writeWhole(file: FileHandle, piece: Buffer): Promise<void> {
  for (let written = 0; written < piece.length; ) written += (await file.write(piece, written)).bytesWritten
}

/** Without a thread that waits for a reader which may never come (fifo(7): ENXIO while nobody reads). */
async function openForWriting(fifo: string, readerGone: AbortSignal): Promise<FileHandle | undefined> {
  while (!readerGone.aborted) {
    try {
      const probe = await open(fifo, constants.O_WRONLY | constants.O_NONBLOCK)
      try {
        return await openBlocking(fifo, readerGone)
      } finally {
        await probe.close()
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENXIO') throw error
      await sleep(5)
    }
  }
  return undefined
}

/** There is a reader; should it go before the second open, somebody else has to read for a moment. */
async function openBlocking(fifo: string, readerGone: AbortSignal): Promise<FileHandle> {
  let over = false
  const rescue = async (): Promise<void> => {
    for (; !over; await sleep(5)) await (await open(fifo, constants.O_RDONLY | constants.O_NONBLOCK)).close()
  }
  readerGone.addEventListener('abort', rescue, { once: true })
  if (readerGone.aborted) void rescue()
  try {
    return await open(fifo, constants.O_WRONLY)
  } finally {
    over = true
    readerGone.removeEventListener('abort', rescue)
  }
}
