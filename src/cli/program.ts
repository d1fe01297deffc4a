import { type Command, InvalidArgumentError } from 'commander'
import { jsonLog } from '../adapters/system/log.ts'
import { UsageError } from '../domain/errors.ts'
import type { CheckOptions } from './check-config.ts'
import { commandLine } from './command-line.ts'
import type { ResetOptions } from './factory-reset.ts'
import type { IdentityOptions } from './identity.ts'
import type { LogsOptions } from './logs/command.ts'
import { addOrders } from './order/program.ts'
import type { PreseedOptions } from './preseed.ts'
import type { RunOptions } from './run.ts'
import type { StatusOptions } from './status/command.ts'
import type { VerifyOptions } from './verify/command.ts'

// Each command loads what it needs when it is called: a board spends seconds on what it loads.

const DEFAULT_CONFIG = '/etc/adu/du-config.json'

/** For an option that may be repeated. */
const appended = (value: string, more: readonly string[] = []): readonly string[] => [...more, value]

function mebibytes(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > 1000) throw new InvalidArgumentError('must be 1 to 1000')
  return value
}

/** The command line of `pi-adu`, which its man page is made from. */
export function agentProgram(): Command {
  const program = commandLine(
    'pi-adu',
    'Update agent for Raspberry Pi: A/B system updates through Azure Device Update for IoT Hub and SWUpdate',
  )

  program
    .command('run')
    .description('run the agent until it is stopped')
    .option('--config <file>', 'configuration file', DEFAULT_CONFIG)
    .option('--journald', 'put journald priorities in front of log lines', false)
    .option(
      '--refused <file>',
      'where the image notes that it refused a new configuration',
      '/run/pi-adu/config-refused',
    )
    .action(async (options: RunOptions) => (await import('./run.ts')).run(options))

  program
    .command('status')
    .description('show what this device runs, what starts next, and how the last deployment went')
    .option('--config <file>', 'configuration file', DEFAULT_CONFIG)
    .option('--last', 'only the last deployment: result, and how far each of its trial boots came', false)
    .option('--json', 'as one JSON object', false)
    .action(async (options: StatusOptions) => (await import('./status/command.ts')).showStatus(options))

  program
    .command('watch')
    .description('show what the agent does, live, until Ctrl-C; a line per event where the output is not a terminal')
    .option('--config <file>', 'configuration file', DEFAULT_CONFIG)
    .option('--json', 'the view and every event as JSON lines', false)
    .action(async (options: { config: string; json: boolean }) => (await import('./watch/command.ts')).watch(options))

  addOrders(program, DEFAULT_CONFIG)

  program
    .command('check-config')
    .description('say whether the agent would run with a configuration file')
    .option('--config <file>', 'configuration file', DEFAULT_CONFIG)
    .option('--light', 'show a refusal on the lights that the file names', false)
    .option('--show', 'print every setting with the value that applies; keys and passwords are masked', false)
    .option('--json', 'the same as one JSON object', false)
    .action(async (options: CheckOptions) => (await import('./check-config.ts')).checkConfig(options))

  program
    .command('identity')
    .description('show as whom this device connects: ids and thumbprints, never keys')
    .option('--config <file>', 'configuration file', DEFAULT_CONFIG)
    .option('--json', 'as one JSON object', false)
    .option('--register', 'order the agent to register at the provisioning service again', false)
    .action(async (options: IdentityOptions) => (await import('./identity.ts')).showIdentity(options))

  program
    .command('verify')
    .description('explain what the agent would do about a deployment, and why; touches nothing')
    .argument('[file]', 'a twin, a desired patch, or the deviceUpdate.service object, as JSON; - for stdin')
    .option('--config <file>', 'as this device would see it: its keys, properties, policy and stored root key package')
    .option('--root-key-package <file>', 'the root key package; without FILE it is verified alone')
    .option(
      '--detached-manifest <file>',
      'a file that a mini manifest or a reference step names; may be repeated',
      appended,
    )
    .option('--trust-test-keys <file>', 'further root keys, a JSON list of {kid, n, e}')
    .option('--device-properties <pairs>', 'what the device reports, like manufacturer=contoso,model=toaster')
    .option('--json', 'as one JSON object', false)
    .addHelpText('after', '\nExit code: 0 the agent would act, 2 it would not, 64 unusable input.')
    .action(async (file: string | undefined, options: VerifyOptions) => {
      const { verify } = await import('./verify/command.ts')
      process.exitCode = await verify(file, options, jsonLog(false))
    })

  program
    .command('doctor')
    .description('look at everything that an update needs, and say what to do about what is wrong')
    .option('--config <file>', 'configuration file', DEFAULT_CONFIG)
    .option('--json', 'as a JSON list', false)
    .addHelpText('after', '\nExit code: 0 nothing fails, 1 something does. Changes nothing.')
    .action(async (options: { config: string; json: boolean }) => (await import('./doctor/command.ts')).doctor(options))

  program
    .command('logs')
    .description(
      "print the agent's log, or write a support bundle with everything that helps to understand this device",
    )
    .option('--since <time>', 'only what is newer, as journalctl takes it: "2026-11-26 14:00", "-2h"')
    .option(
      '--bundle <file.tar.gz>',
      'write a support bundle: logs, state, settings, doctor; without keys; - for stdout',
    )
    .option('--limit <MiB>', 'size of what is in the bundle before compression; the rest is left out', mebibytes, 100)
    .option('--config <file>', 'configuration file', DEFAULT_CONFIG)
    .action(async (options: LogsOptions) => (await import('./logs/command.ts')).logs(options))

  program
    .command('explain')
    .description('say in words what a result code means and what to do about it')
    .argument('<code or text...>', 'a code, a line of the log, a report, or words to search for')
    .option('--json', 'as a JSON list', false)
    .action(async (words: readonly string[], { json }: { json: boolean }) => {
      const result = (await import('../explain/command.ts')).explain(words, json)
      if ('why' in result) throw new UsageError(result.why)
      process.stdout.write(result.text)
    })

  program
    .command('preseed')
    .description('say what the image would take of the files for network and first start on a boot partition')
    .option('--boot <folder>', 'the boot partition', '/boot/firmware')
    .option('--output <folder>', 'write what is taken into this private folder')
    .option('--regulatory <file>', 'which countries there are for WLAN', '/usr/lib/firmware/regulatory.db')
    .action(async (options: PreseedOptions) => (await import('./preseed.ts')).preseed(options))

  program
    .command('factory-reset')
    .description('restart with an empty data partition: only identity, keys and network stay; on the image, as root')
    .option('--all', 'identity, keys and network go too', false)
    .option('--yes', 'do not ask', false)
    .action(async (options: ResetOptions) => (await import('./factory-reset.ts')).factoryReset(options))
  return program
}
