import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, Program } from '../../adapters/system/program.ts'
import { AgentError } from '../../domain/errors.ts'

/** Milliseconds; a slow network slows the program down. */
const PATIENCE = 3600_000

/**
 * Writes the support bundle to `out`, as it is made. `pi-adu logs` makes it, in a process of its own: what it loads and leaves behind
 * in memory ends with it, and so would a fault. Errors: AgentError LOGS_BUNDLE; the error of `out`. `most`: MiB before compression.
 */
export async function writeBundle(configFile: string, most: number, out: Writable, signal: AbortSignal): Promise<void> {
  const [node, script = ''] = process.argv as [string, string?]
  const flags = ['logs', '--config', configFile, '--bundle', '-', '--limit', String(most)]
  const program = new Program([node, ...process.execArgv, script, ...flags], {
    ...{ signal, timeout: PATIENCE, readSlowly: true },
  })
  try {
    await pipeline(whole(program), out)
  } finally {
    program.stop()
  }
}

/** Fails at its end if the program does, so that a part is never taken for the whole. */
async function* whole(program: Program): AsyncGenerator<Buffer> {
  yield* program.stdout
  const ending = await program.ended
  if (ending.exitCode !== 0)
    throw new AgentError('LOGS_BUNDLE', `the support bundle cannot be made: pi-adu logs ${describe(ending, PATIENCE)}`)
}
