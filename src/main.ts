#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { leanMqtt } from './adapters/lean-mqtt.ts'
import { jsonLog } from './adapters/log.ts'
import { Agent } from './agent.ts'
import { optionsOf, portsOf, version } from './compose.ts'
import { readConfig } from './config.ts'
import { ConfigError, messageOf } from './domain/errors.ts'

/** sysexits(3), as systemd shows them. */
const EXIT = { usage: 64, software: 70, config: 78 } as const

class Stopped extends Error {}

async function runAgent({ config: file, journald }: { config: string; journald: boolean }): Promise<void> {
  const log = jsonLog(journald)
  const config = await readConfig(file)
  leanMqtt()
  const stop = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort(new Stopped(name)))
  const ports = await portsOf(config, log)
  const agent = new Agent(ports, optionsOf(config, log))
  log.info('agent.started', { version: version(), system: await ports.host.version(), pid: process.pid })
  try {
    await agent.run(stop.signal)
  } catch (error) {
    if (!(error instanceof Stopped)) throw error
    log.info('agent.stopped', { signal: error.message })
  }
}

const program = new Command('pi-adu')
  .description('Update agent for Raspberry Pi: A/B system updates through Azure Device Update for IoT Hub and SWUpdate')
  .version(version())
  .exitOverride()

program
  .command('run')
  .description('run the agent until it is stopped')
  .option('--config <file>', 'configuration file', '/etc/adu/du-config.json')
  .option('--journald', 'put journald priorities in front of log lines', false)
  .action(runAgent)

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : EXIT.usage
  } else if (error instanceof ConfigError) {
    process.stderr.write(`pi-adu: ${error.message}\n`)
    process.exitCode = EXIT.config
  } else {
    const stack = error instanceof Error ? error.stack : undefined
    jsonLog(process.argv.includes('--journald')).error('agent.crashed', { why: messageOf(error), stack })
    process.exitCode = EXIT.software
  }
}
// The SDK leaves timers behind that would keep a stopped agent alive.
if (process.exitCode !== undefined || process.argv[2] === 'run') process.exit()
