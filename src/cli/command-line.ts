import { Command } from 'commander'
import { version } from './version.ts'

/** EX_USAGE of sysexits(3): a mistake on the command line, or in a file that it names. */
export const EXIT_USAGE = 64

/**
 * A command line that follows this repository's convention: `--help` (`-h`) and `--version` (`-V`) exit with 0. A mistake exits with
 * 64 and one line on stderr, before anything is done.
 */
export function commandLine(name: string, description: string): Command {
  const prefix = `${name.replace(/^.*\//, '')}: `
  const oneLine = (text: string): string =>
    `${text
      .replace(/^error: /, prefix)
      .trimEnd()
      .replaceAll('\n', ' ')}\n`
  const program = new Command(name).description(description).version(version())
  // `--version` behind a command is that command's own.
  program.enablePositionalOptions()
  program.exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : EXIT_USAGE))
  program.configureOutput({ outputError: (text, write) => write(oneLine(text)) })
  return program
}
