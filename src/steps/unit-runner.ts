import { randomBytes } from 'node:crypto'
import { programs } from '../adapters/system/exec.ts'
import { ProcessError } from '../domain/errors.ts'
import type { Runner } from '../ports/runner.ts'

/**
 * Runs a program of the owner in a transient unit of its own: this service has neither devices nor network, and a program that lists
 * components needs them.
 */
export const unitRunner: Runner = {
  run: (argv, options) => named(argv, programs.run(inUnit(argv, options.timeout), options)),
  runQuietly: (argv, options) => named(argv, programs.runQuietly(inUnit(argv, options.timeout), options)),
}

/** systemd ends the unit at the time limit, in whatever state its systemd-run is then. */
function inUnit(argv: readonly string[], timeout: number | undefined): readonly [string, ...string[]] {
  const seconds = timeout === undefined ? 'infinity' : String(Math.ceil(timeout / 1000))
  return [
    'systemd-run',
    ...['--quiet', '--pipe', '--wait', '--collect', '--no-ask-password', '--service-type=exec'],
    // The service ends units of this name when it ends.
    `--unit=pi-adu-step-list-${randomBytes(6).toString('hex')}.service`,
    ...['Description=List the components of this device', `RuntimeMaxSec=${seconds}`, 'KillSignal=SIGKILL'].map(
      asOption,
    ),
    ...['MemoryMax=256M', 'TasksMax=64', 'PrivateTmp=yes', 'ProtectSystem=full', 'ProtectHome=yes'].map(asOption),
    '--',
    ...argv.map(word => word.replaceAll('$', '$$$$')),
  ]
}

const asOption = (property: string): string => `--property=${property}`

/** The reason names the program, and not systemd-run. */
async function named<T>([program]: readonly string[], running: Promise<T>): Promise<T> {
  try {
    return await running
  } catch (error) {
    if (!(error instanceof ProcessError) || program === undefined) throw error
    const message = error.message.replace(/^systemd-run (?=failed|did|was|printed)/, `${program} `)
    throw new ProcessError(error.code, message, [program], error.exitCode, error.signal, { cause: error })
  }
}
