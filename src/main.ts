#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { leanMqtt } from './adapters/lean-mqtt.ts'
import { jsonLog } from './adapters/log.ts'
import { tellSystemd } from './adapters/systemd.ts'
import { Agent } from './agent.ts'
import { localPorts, optionsOf, portsOf, secretsIn, timeFloorOf, version } from './compose.ts'
import { readConfig } from './config.ts'
import { AgentError, ConfigError, messageOf } from './domain/errors.ts'
import { redact } from './domain/redact.ts'
import { describeStatus } from './status.ts'
import { UsageError } from './verify.ts'
import { type VerifyOptions, verify } from './verify-command.ts'

const DEFAULT_CONFIG = '/etc/adu/du-config.json'

/** sysexits(3), as systemd shows them. */
const EXIT = { usage: 64, software: 70, config: 78 } as const

class Stopped extends Error {}

async function runAgent({ config: file, journald }: { config: string; journald: boolean }): Promise<void> {
  const config = await readConfig(file)
  const log = jsonLog(journald, secretsIn(config))
  leanMqtt()
  const stop = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort(new Stopped(name)))
  const time = timeFloorOf(config, log)
  const ports = await portsOf(config, log, time)
  const agent = new Agent(ports, optionsOf(config, log, time))
  log.info('agent.started', { version: version(), system: await ports.host.version(), pid: process.pid })
  const hush = tellSystemd(log)
  try {
    await agent.run(stop.signal)
  } catch (error) {
    if (!(error instanceof Stopped)) throw error
    log.info('agent.stopped', { signal: error.message })
  } finally {
    hush()
  }
}

async function showStatus({ config: file, json }: { config: string; json: boolean }): Promise<void> {
  const { boot, host, journal } = localPorts(await readConfig(file), jsonLog(false))
  const status = {
    version: await host.version(),
    boot: await boot.read(new AbortController().signal),
    attempt: await journal.read(),
  }
  process.stdout.write(json ? `${JSON.stringify(status)}\n` : describeStatus(status))
}

const program = new Command('pi-adu')
  .description('Update agent for Raspberry Pi: A/B system updates through Azure Device Update for IoT Hub and SWUpdate')
  .version(version())
  .exitOverride()

program
  .command('run')
  .description('run the agent until it is stopped')
  .option('--config <file>', 'configuration file', DEFAULT_CONFIG)
  .option('--journald', 'put journald priorities in front of log lines', false)
  .action(runAgent)

program
  .command('status')
  .description('show what this device runs, what starts next, and how the last deployment went')
  .option('--config <file>', 'configuration file', DEFAULT_CONFIG)
  .option('--json', 'as one JSON object', false)
  .action(showStatus)

program
  .command('check-config')
  .description('say whether the agent would run with a configuration file')
  .option('--config <file>', 'configuration file', DEFAULT_CONFIG)
  .action(async ({ config }: { config: string }) => void (await readConfig(config)))

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
    process.stderr.write(`pi-adu: ${redact(error.message)}\n`)
    process.exitCode = EXIT.config
  } else {
    const stack = error instanceof Error ? error.stack : undefined
    jsonLog(process.argv.includes('--journald')).error('agent.crashed', { why: messageOf(error), stack })
    process.exitCode = EXIT.software
  }
}
// The SDK leaves timers behind that would keep a stopped agent alive.
if (process.exitCode !== undefined || process.argv[2] === 'run') process.exit()
