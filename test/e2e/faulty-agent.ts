// The agent with its real adapters, every effect of which is counted, and one of which goes wrong as planned:
//   EFFECTS_DIR=DIR node faulty-agent.js run --config FILE
// A power cut ends everything that runs on the device, its bootloader included.
import { dirname } from 'node:path'
import { leanMqtt } from '../../src/adapters/iot-hub/lean-mqtt.ts'
import { jsonLog } from '../../src/adapters/system/log.ts'
import { localGatesOf, optionsOf, portsOf, timeFloorOf } from '../../src/compose.ts'
import { readConfig } from '../../src/config/config.ts'
import { Publisher } from '../../src/control/publisher.ts'
import { messageOf } from '../../src/domain/errors.ts'
import { Agent } from '../../src/workflow/agent.ts'
import { deviceFolder } from '../bench/workbench/device-folder.ts'
import { readPower } from '../bench/workbench/power-file.ts'
import { isAlive, killAtOnce } from '../bench/workbench/processes.ts'
import { Effects } from './effects.ts'

const file = process.argv[process.argv.indexOf('--config') + 1]!
const power = (await readPower(deviceFolder(dirname(file))))!
const effects = new Effects(process.env.EFFECTS_DIR!, () => {
  // All others at once, before anything is waited for, then this process.
  void killAtOnce(power.mark, isAlive(power.bootloader) ? power.bootloader : undefined)
  process.kill(process.pid, 'SIGKILL')
})

class Stopped extends Error {}

const log = jsonLog(false)
const config = await readConfig(file)
leanMqtt()
const stop = new AbortController()
for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort(new Stopped(name)))
const time = timeFloorOf(config, log)
const publisher = new Publisher(log)
const ports = effects.watch(await portsOf(config, log, publisher, time, localGatesOf(config, time), () => {}))
log.info('agent.started', { pid: process.pid })
try {
  await new Agent(ports, await optionsOf(config, log, time)).run(stop.signal)
} catch (error) {
  if (error instanceof Stopped) log.info('agent.stopped', { signal: error.message })
  else log.error('agent.crashed', { why: messageOf(error), stack: error instanceof Error ? error.stack : undefined })
  process.exit(error instanceof Stopped ? 0 : 70)
}
