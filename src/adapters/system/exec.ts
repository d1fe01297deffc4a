import { ProcessError } from '../../domain/errors.ts'
import type { CommandLine, Runner, RunOptions } from '../../ports/runner.ts'
import { describe, Program, Tail } from './program.ts'

/** Bytes; no program whose output we read prints more. */
const MAX_OUTPUT = 1_000_000

/** Bytes of output that are kept to find the reason of a failure. */
const MAX_SAID = 64_000

/** Characters of a reason in a message. */
const MAX_REASON = 500

/** See Runner. */
export async function run(argv: CommandLine, options: RunOptions): Promise<string> {
  const { stdout, dropped } = await watch(argv, options, MAX_OUTPUT)
  if (!dropped) return stdout.replace(/\n$/, '')
  throw new ProcessError(options.code, `${argv[0]} printed more than ${MAX_OUTPUT} bytes`, argv)
}

/** See Runner. */
export async function runQuietly(argv: CommandLine, options: RunOptions): Promise<void> {
  await watch(argv, options, MAX_SAID)
}

/** The programs of this machine. */
export const programs: Runner = { run, runQuietly }

async function watch(argv: CommandLine, options: RunOptions, most: number) {
  const { signal, timeout, code } = options
  signal.throwIfAborted()
  const program = new Program(argv, options)
  const [stdout, stderr] = [new Tail(most), new Tail(MAX_SAID)]
  program.onOutput(stdout.add, stderr.add)
  const ending = await program.ended
  signal.throwIfAborted()
  if (ending.exitCode === 0 && !ending.timedOut) return { stdout: stdout.text(), dropped: stdout.dropped }
  const said = lastLines(stderr.text().trim() || stdout.text().slice(-MAX_SAID).trim(), 3).slice(-MAX_REASON)
  const message = `${argv[0]} ${describe(ending, timeout)}${said && `: ${said}`}`
  throw new ProcessError(code, message, argv, ending.exitCode, ending.signal, { cause: ending.cause })
}

const lastLines = (text: string, count: number): string => text.split('\n').slice(-count).join(' | ')
