#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { jsonLog } from './adapters/log.ts'
import { AgentError, ConfigError, messageOf, UsageError } from './domain/errors.ts'
import { redact } from './domain/redact.ts'
import type { RunOptions } from './run-command.ts'
import type { VerifyOptions } from './verify-command.ts'
import { version } from './version.ts'

// Each command loads what it needs when it is called: a board spends seconds on what it loads.

const DEFAULT_CONFIG = '/etc/adu/du-config.json'

/** sysexits(3), as systemd shows them. */
const EXIT = { usage: 64, software: 70, config: 78 } as const

const program = new Command('pi-adu')
  .description('Update agent for Raspberry Pi: A/B system updates through Azure Device Update for IoT Hub and SWUpdate')
  .version(version())
  .exitOverride()

program
  .command('run')
  .description('run the agent until it is stopped')
  .option('--config <file>', 'configuration file', DEFAULT_CONFIG)
  .option('--journald', 'put journald priorities in front of log lines', false)
  .option('--refused <file>', 'where the image notes that it refused a new configuration', '/run/pi-adu/config-refused')
  .action(async (options: RunOptions) => (await import('./run-command.ts')).run(options))

program
  .command('status')
  .description('show what this device runs, what starts next, and how the last deployment went')
  .option('--config <file>', 'configuration file', DEFAULT_CONFIG)
  .option('--json', 'as one JSON object', false)
  .action(async (options: { config: string; json: boolean }) =>
    (await import('./status-command.ts')).showStatus(options),
  )

program
  .command('check-config')
  .description('say whether the agent would run with a configuration file')
  .option('--config <file>', 'configuration file', DEFAULT_CONFIG)
  .option('--light', 'show a refusal on the lights that the file names', false)
  .action(async ({ config, light }: { config: string; light: boolean }) => {
    if (light) await (await import('./refusal.ts')).readConfigOrShow(config)
    else await (await import('./config.ts')).readConfig(config)
  })

program
  .command('verify')
  .description('explain what the agent would do about a deployment, and why; touches nothing')
  .argument('[file]', 'a twin, a desired patch, or the deviceUpdate.service object, as JSON; - for stdin')
  .option('--config <file>', 'as this device would see it: its keys, properties, policy and stored root key package')
  .option('--root-key-package <file>', 'the root key package; without FILE it is verified alone')
  .option('--detached-manifest <file>', 'the file that a mini manifest names')
  .option('--trust-test-keys <file>', 'further root keys, a JSON list of {kid, n, e}')
  .option('--device-properties <pairs>', 'what the device reports, like manufacturer=contoso,model=toaster')
  .option('--json', 'as one JSON object', false)
  .addHelpText('after', '\nExit code: 0 the agent would act, 2 it would not, 64 unusable input.')
  .action(async (file: string | undefined, options: VerifyOptions) => {
    const { verify } = await import('./verify-command.ts')
    process.exitCode = await verify(file, options, jsonLog(false))
  })

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : EXIT.usage
  } else if (error instanceof UsageError) {
    process.stderr.write(`pi-adu: ${error.message}\n`)
    process.exitCode = EXIT.usage
  } else if (error instanceof AgentError && process.argv[2] !== 'run') {
    process.stderr.write(`pi-adu: ${error.message}\n`)
    process.exitCode = EXIT.software
  } else if (error instanceof ConfigError) {
    // As an error for journald, which is then also heard on the console.
    const priority = process.argv.includes('--journald') ? '<3>' : ''
    process.stderr.write(`${priority}pi-adu: ${redact(error.message)}\n`)
    process.exitCode = EXIT.config
  } else {
    const stack = error instanceof Error ? error.stack : undefined
    jsonLog(process.argv.includes('--journald')).error('agent.crashed', { why: messageOf(error), stack })
    process.exitCode = EXIT.software
  }
}
// The SDK leaves timers behind that would keep a stopped agent alive.
if (process.exitCode !== undefined || process.argv[2] === 'run') process.exit()
