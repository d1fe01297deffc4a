import { type ChildProcess, spawn } from 'node:child_process'
import { messageOf } from '../../domain/errors.ts'
import type { CommandLine, ProgramOptions } from '../../ports/runner.ts'

export interface StreamOptions extends ProgramOptions {
  /** The caller reads `stdout` at its own pace, to the end. */
  readonly readSlowly?: boolean
  /** Open files for its stdout and stderr, which are then not read here. */
  readonly outputs?: readonly [stdout: number, stderr: number]
}

export interface Ending {
  readonly exitCode?: number | undefined
  readonly signal?: string | undefined
  readonly timedOut?: boolean
  /** It did not end after SIGKILL: the kernel holds it, for example because a disk does not answer. */
  readonly stuck?: boolean
  readonly cause?: unknown
  readonly code?: string | undefined
}

/** Between SIGTERM and SIGKILL, in milliseconds. */
export const KILL_GRACE = 5_000

/** How long we wait for the end after SIGKILL, in milliseconds. */
const KILLED_WITHIN = 2_000

/** How long its pipes are read after the main process has ended, in milliseconds: a process that left the group may hold them open. */
const PIPES_WITHIN = 250

/** As `PIPES_WITHIN`, with `readSlowly`. */
const SLOW_PIPES_WITHIN = 600_000

/**
 * One program with a timeout: no shell, messages in English, never left behind. It runs in its own process group, and the whole
 * group is stopped (SIGTERM, grace, SIGKILL). It counts as ended when its main process has ended, even if others still hold its
 * pipes; the rest of the group is then killed.
 */
export class Program {
  readonly #child: ChildProcess
  readonly #leavesOthers: boolean
  readonly #pipesWithin: number
  #timedOut = false
  #over = false
  #killer: NodeJS.Timeout | undefined
  #end: (ending: Ending) => void = () => {}
  /** Never rejects. */
  readonly ended: Promise<Ending>

  constructor([program, ...args]: CommandLine, options: StreamOptions) {
    const { signal, timeout, env, cwd, input, pass = [], leavesOthers = false, readSlowly } = options
    const [stdout, stderr] = options.outputs ?? (['pipe', 'pipe'] as const)
    this.#leavesOthers = leavesOthers
    this.#pipesWithin = readSlowly ? SLOW_PIPES_WITHIN : PIPES_WITHIN
    const child = spawn(program, args, {
      env: { ...process.env, LC_ALL: 'C', ...env },
      ...(cwd === undefined ? {} : { cwd }),
      stdio: [input === undefined ? 'ignore' : 'pipe', stdout, stderr, ...pass],
      detached: true,
    })
    this.#child = child
    const stop = (): void => this.stop()
    const leave = (): void => this.#signal('SIGKILL')
    const late = (): void => {
      this.#timedOut = true
      this.stop()
    }
    const timer = timeout === undefined ? undefined : setTimeout(late, timeout)
    signal.addEventListener('abort', stop, { once: true })
    process.once('exit', leave)
    // A program that ends without reading its input is judged by its exit code.
    child.stdin?.on('error', () => {}).end(input)
    this.ended = new Promise<Ending>(resolve => {
      this.#end = resolve
      child.once('exit', (status, name) => this.#exited({ exitCode: status ?? undefined, signal: name ?? undefined }))
      child.once('error', (cause: NodeJS.ErrnoException) => resolve({ cause, code: cause.code }))
    }).then(ending => {
      this.#over = true
      clearTimeout(timer)
      clearTimeout(this.#killer)
      signal.removeEventListener('abort', stop)
      process.off('exit', leave)
      child.stdin?.destroy()
      child.stdout?.destroy()
      child.stderr?.destroy()
      return this.#timedOut ? { ...ending, timedOut: true } : ending
    })
    if (signal.aborted) this.stop()
  }

  /** Passes on stdout and stderr as they come. */
  onOutput(stdout: (piece: Buffer) => void, stderr: (piece: Buffer) => void): void {
    this.#child.stdout?.on('data', stdout)
    this.#child.stderr?.on('data', stderr)
  }

  /** Its stdout, at the pace of the reader. Only with `readSlowly`, and not together with `onOutput`. */
  get stdout(): AsyncIterable<Buffer> {
    this.#child.stderr?.resume()
    return untilItEnds(this.#child.stdout as AsyncIterable<Buffer>)
  }

  stop(): void {
    if (this.#over || this.#killer) return
    this.#signal('SIGTERM')
    this.#killer = setTimeout(() => {
      this.#signal('SIGKILL')
      this.#killer = setTimeout(() => this.#end({ stuck: true }), KILLED_WITHIN)
    }, KILL_GRACE)
  }

  #exited(ending: Ending): void {
    if (!this.#leavesOthers || this.#killer) this.#signal('SIGKILL')
    this.#over = true
    clearTimeout(this.#killer)
    const givenUp = setTimeout(() => this.#end(ending), this.#pipesWithin)
    this.#child.once('close', () => {
      clearTimeout(givenUp)
      this.#end(ending)
    })
  }

  /** To the whole group. */
  #signal(name: NodeJS.Signals): void {
    const { pid } = this.#child
    try {
      if (pid !== undefined) process.kill(-pid, name)
    } catch {
      // The whole group has ended.
    }
  }
}

/** A program that cannot be started breaks its stdout off. `ended` says why. */
async function* untilItEnds(stdout: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* stdout
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error
  }
}

/** Keeps the last `most` bytes. */
export class Tail {
  #pieces: Buffer[] = []
  #length = 0
  #dropped = false
  readonly #most: number

  constructor(most: number) {
    this.#most = most
  }

  get dropped(): boolean {
    return this.#dropped
  }

  readonly add = (piece: Buffer): void => {
    this.#pieces.push(piece)
    this.#length += piece.length
    if (this.#length <= 2 * this.#most) return
    this.#dropped = true
    this.#pieces = [Buffer.concat(this.#pieces).subarray(-this.#most)]
    this.#length = this.#most
  }

  text(): string {
    return Buffer.concat(this.#pieces).toString()
  }
}

/** Splits pieces into lines and calls `each` for every line. Of a very long line only the end is kept. */
export function byLine(each: (line: string) => void): { add(piece: Buffer): void; end(): void } {
  let rest = ''
  const decoder = new TextDecoder()
  return {
    add(piece) {
      const lines = (rest + decoder.decode(piece, { stream: true })).split('\n')
      rest = (lines.pop() ?? '').slice(-LONG_LINE)
      for (const line of lines) each(line)
    },
    end() {
      if (rest) each(rest)
      rest = ''
    },
  }
}

const LONG_LINE = 8192

/** How a program ended, in words: with an exit code, by a signal, at the timeout, or not started. */
export function describe({ exitCode, signal, timedOut, stuck, cause, code }: Ending, timeout?: number): string {
  if (timedOut)
    return `did not end within ${Math.round((timeout ?? 0) / 1000)} s${stuck ? ' and cannot be killed' : ''}`
  if (stuck) return 'cannot be killed'
  if (exitCode !== undefined) return `failed with exit code ${exitCode}`
  if (signal !== undefined) return `was killed by ${signal}`
  return code === 'ENOENT' ? 'is not installed' : `could not be started: ${messageOf(cause)}`
}
