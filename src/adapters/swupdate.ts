import { constants, open } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { AgentError, ProcessError } from '../domain/errors.ts'
import type { SlotName } from '../domain/slot.ts'
import type { Installer, Log } from '../ports.ts'
import { expiry, untilValid } from './certificate-clock.ts'
import { describe, type Ending, EXEC, loadExeca, run } from './exec.ts'

export interface SwupdateOptions {
  /** PEM file; the bundle's `sw-description` must be signed by it (SWUpdate, `-k`). */
  readonly certificate: string
  /** `board:revision` (`-H`); without it SWUpdate reads /etc/hwrevision. */
  readonly hardware: string | undefined
  /** What `-e` selects in `sw-description` for each slot. */
  readonly selection: Readonly<Record<SlotName, string>>
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
    try {
      const fifo = join(folder, 'bundle')
      await run(['mkfifo', '-m', '600', fifo], { signal, code: 'WORK_FOLDER' })
      await this.#stream(bundle, { fifo, folder, into, lowest }, signal)
    } finally {
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
    bundle: AsyncIterable<Buffer>,
    { fifo, folder, into, lowest }: { fifo: string; folder: string; into: SlotName; lowest: string | undefined },
    signal: AbortSignal,
  ) {
    const args = this.#arguments(into, fifo, lowest)
    const execa = await loadExeca()
    const child = execa('swupdate', args, {
      ...EXEC,
      env: { ...EXEC.env, TMPDIR: folder },
      cancelSignal: signal,
      stdin: 'ignore',
      all: true,
      buffer: false,
    })
    const ended = new AbortController()
    const errors: string[] = []
    const lines = this.#readLines(child.iterable({ from: 'all' }), errors)
    const result = child.finally(() => ended.abort())
    const rest = bundle[Symbol.asyncIterator]()
    try {
      await feed(rest, fifo, ended.signal)
      const end = await result
      await lines
      signal.throwIfAborted()
      if (end.failed) {
        const hint = await expiry(this.#options.certificate)
        throw failure(end, errors, this.#options.selection[into], ['swupdate', ...args], hint)
      }
      // It may have ended before the bundle did: only the gate's last word makes the bundle a good one.
      while (!(await rest.next()).done);
    } catch (error) {
      child.kill('SIGTERM')
      await result
      await lines
      signal.throwIfAborted()
      throw error
    } finally {
      await rest.return?.()
    }
  }

  /** SWUpdate's own words go to the log; its errors are kept for the report. */
  async #readLines(lines: AsyncIterable<unknown>, errors: string[]): Promise<void> {
    for await (const line of lines) {
      const match = /^\[(\w+) *\] : (.*)$/.exec(String(line))
      const text = match?.[2] ?? String(line)
      if (match?.[1] === 'ERROR') {
        const bare = text
          .replace(/^SWUPDATE failed \[\d+\] /, '')
          .replace(/^ERROR *(\S+ )?: /, '')
          .trim()
        errors.push(bare.slice(0, 200))
        this.#log.warn('swupdate', { line: bare })
      } else if (match?.[1] !== 'TRACE' && match?.[1] !== 'DEBUG' && !text.includes('print_registered_handlers')) {
        this.#log.debug('swupdate', { line: text.trim() })
      }
    }
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

/** Writes `bundle` to the FIFO, to its end or until nobody reads any more. */
async function feed(bundle: AsyncIterator<Buffer>, fifo: string, readerGone: AbortSignal): Promise<void> {
  const fd = await openForWriting(fifo, readerGone)
  if (fd === undefined) return
  const socket = new Socket({ fd, readable: false, writable: true })
  // A reader that refuses the bundle closes early; its exit code says why.
  socket.on('error', () => {})
  const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
  try {
    while (!socket.destroyed && !readerGone.aborted) {
      const { done, value } = await bundle.next()
      if (done) {
        socket.end()
        return
      }
      if (!socket.write(value)) await drained(socket, readerGone)
    }
    socket.destroy()
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    await closed
  }
}

const drained = (socket: Socket, readerGone: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    const done = (): void => {
      socket.off('drain', done).off('close', done)
      readerGone.removeEventListener('abort', done)
      resolve()
    }
    if (socket.destroyed || readerGone.aborted) return resolve()
    socket.on('drain', done).on('close', done)
    readerGone.addEventListener('abort', done)
  })

const openFile = promisify(open)

/** Without blocking a thread on a reader that may never come (fifo(7): ENXIO while nobody reads). */
async function openForWriting(fifo: string, readerGone: AbortSignal): Promise<number | undefined> {
  while (!readerGone.aborted) {
    try {
      return await openFile(fifo, constants.O_WRONLY | constants.O_NONBLOCK)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENXIO') throw error
      await sleep(5)
    }
  }
  return undefined
}
