import { existsSync } from 'node:fs'
import { leanMqtt } from './adapters/lean-mqtt.ts'
import { jsonLog } from './adapters/log.ts'
import { tellSystemd } from './adapters/systemd.ts'
import { Agent } from './agent.ts'
import { optionsOf, portsOf, secretsIn, timeFloorOf } from './compose.ts'
import { readConfigOrShow } from './refusal.ts'
import { version } from './version.ts'

export interface RunOptions {
  readonly config: string
  /** Journald priorities in front of log lines. */
  readonly journald: boolean
  /** The image leaves a note here when it has refused what the owner brought. */
  readonly refused: string
}

class Stopped extends Error {}

/** `pi-adu run`: the agent, until it is told to stop. */
export async function run({ config: file, journald, refused }: RunOptions): Promise<void> {
  const config = await readConfigOrShow(file)
  const log = jsonLog(journald, secretsIn(config))
  leanMqtt()
  const stop = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort(new Stopped(name)))
  const time = timeFloorOf(config, log)
  const ports = await portsOf(config, log, time)
  const agent = new Agent(ports, { ...optionsOf(config, log, time), configRefused: existsSync(refused) })
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
