#!/usr/bin/env node
import { jsonLog } from './adapters/system/log.ts'
import { EXIT_USAGE } from './cli/command-line.ts'
import { agentProgram } from './cli/program.ts'
import { AgentError, ConfigError, InUseError, messageOf, UsageError, WrongUserError } from './domain/errors.ts'
import { redact } from './domain/redact.ts'
import { onOneLine } from './domain/terminal.ts'

/** sysexits(3), as systemd shows them; `unread` as a shell has it for SIGPIPE. */
const EXIT = { unread: 141, usage: EXIT_USAGE, software: 70, inUse: 75, wrongUser: 77, config: 78 } as const

const program = agentProgram()

// Whoever reads may have seen enough (`| head`). The agent writes no output, and `watch` puts the terminal in order first.
if (!['run', 'watch'].includes(process.argv[2] ?? '')) {
  process.stdout.on('error', () => process.exit(EXIT.unread))
}
try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof UsageError) {
    process.stderr.write(`pi-adu: ${onOneLine(error.message)}\n`)
    process.exitCode = EXIT.usage
  } else if (error instanceof AgentError && process.argv[2] !== 'run') {
    process.stderr.write(`pi-adu: ${onOneLine(error.message)}\n`)
    process.exitCode = EXIT.software
  } else if (error instanceof ConfigError || error instanceof InUseError || error instanceof WrongUserError) {
    // As an error for journald, which is then also heard on the console.
    const priority = process.argv.includes('--journald') ? '<3>' : ''
    process.stderr.write(`${priority}pi-adu: ${onOneLine(redact(error.message))}\n`)
    process.exitCode = { ConfigError: EXIT.config, InUseError: EXIT.inUse, WrongUserError: EXIT.wrongUser }[error.name]
  } else {
    const stack = error instanceof Error ? error.stack : undefined
    jsonLog(process.argv.includes('--journald')).error('agent.crashed', { why: messageOf(error), stack })
    process.exitCode = EXIT.software
  }
}
// The SDK leaves timers behind that would keep a stopped agent alive.
if (process.exitCode !== undefined || process.argv[2] === 'run') process.exit()
