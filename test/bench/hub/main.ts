import { writeSync } from 'node:fs'
import { InvalidArgumentError } from 'commander'
import { execa } from 'execa'
import { commandLine } from '../../../src/cli/command-line.ts'
import { type BenchHub, startHub } from './hub.ts'

/** The hub as a program: runs until Ctrl-C, or while one command runs that believes it talks to the cloud. */

interface Options {
  readonly state: string
  readonly mqttPort?: number
  readonly restPort?: number
  readonly device: readonly string[]
  readonly verbose?: true
}

const port = (text: string) => {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0 || value > 65_535) throw new InvalidArgumentError('a port is 0 to 65535')
  return value
}

const program = commandLine(
  'bench-hub',
  'A local stand-in for Azure IoT Hub. With a command after --, runs it against the hub and ends with it.',
)
  .option('--state <folder>', 'where devices, keys and certificates live', 'bench-state')
  .option('--mqtt-port <port>', 'default: as last time, or any free one', port)
  .option('--rest-port <port>', 'default: as last time, or any free one', port)
  .option(
    '--device <id>',
    'register this device if it is new; may be repeated',
    (id, all: string[]) => [...all, id],
    [],
  )
  .option('--verbose', 'say who connects and why connections end')
  .argument('[command...]')
  .action(run)

async function run([command, ...args]: string[], options: Options): Promise<void> {
  const { state: stateDir, mqttPort, restPort } = options
  const hub = await startHub({
    stateDir,
    ...(mqttPort !== undefined && { mqttPort }),
    ...(restPort !== undefined && { restPort }),
    ...(options.verbose && { log: line => writeSync(2, `${line}\n`) }),
  })
  try {
    for (const id of options.device) if (!hub.hasDevice(id)) hub.createDevice(id)
    if (command === undefined) {
      const told = new Promise(resolve => process.once('SIGINT', resolve).once('SIGTERM', resolve))
      describe(hub, options.device)
      await told
    } else {
      const { exitCode } = await execa(command, args, { stdio: 'inherit', reject: false, env: hub.childEnvironment() })
      process.exitCode = exitCode ?? 1
    }
  } finally {
    await hub.stop()
  }
}

function describe(hub: BenchHub, ids: readonly string[]): void {
  console.log(`MQTT on port ${hub.mqttPort}, REST on port ${hub.restPort}, CA in ${hub.caFile}`)
  console.log(`service: ${hub.serviceConnectionString}`)
  for (const id of ids) console.log(`device:  ${hub.deviceConnectionString(id)}`)
  console.log(`programs with connection strings of the cloud: PI_ADU_BENCH=${hub.benchFile}`)
}

await program.parseAsync()
