import { EXIT_USAGE } from '../../src/cli/command-line.ts'
import { UsageError } from '../../src/domain/errors.ts'

/** From now on an error ends the program with one line for the user; a bug of ours prints its stack. */
export function failInOneLine(program: string): void {
  process.once('uncaughtException', error => {
    if (isMistake(error)) {
      // The advice that `parseArgs` adds is about itself.
      const why = error instanceof UsageError ? error.message : error.message.split('. ')[0]
      process.stderr.write(`${program}: ${why}; see --help\n`)
      process.exit(EXIT_USAGE)
    }
    const isOurs = error instanceof TypeError || error instanceof ReferenceError
    process.stderr.write(`${program}: ${isOurs && !('code' in error) ? error.stack : error.message}\n`)
    process.exit(1)
  })
}

/** A mistake on the command line, found by us or by `parseArgs`. */
const isMistake = (error: Error): boolean =>
  error instanceof UsageError || String((error as NodeJS.ErrnoException).code).startsWith('ERR_PARSE_ARGS_')
