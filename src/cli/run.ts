import { existsSync } from 'node:fs'
import { uptime } from 'node:os'
import { AgentState } from '../adapters/files/agent-state.ts'
import { lockDataFolder } from '../adapters/files/data-lock.ts'
import { leanMqtt } from '../adapters/iot-hub/lean-mqtt.ts'
import { RememberingJournal } from '../adapters/slot/slot-memory.ts'
import { bootloaderBuilt } from '../adapters/system/eeprom.ts'
import { jsonLog } from '../adapters/system/log.ts'
import { tellSystemd } from '../adapters/system/systemd.ts'
import {
  listenToButton,
  localGatesOf,
  localOriginOf,
  optionsOf,
  playerOf,
  portsOf,
  preloadHub,
  timeFloorOf,
} from '../compose.ts'
import { type Config, secretsIn, slotMemoryFile } from '../config/config.ts'
import { Publisher } from '../control/publisher.ts'
import { Requests } from '../control/requests.ts'
import { serveControl } from '../control/server.ts'
import { eepromFlaw } from '../domain/eeprom.ts'
import { messageOf } from '../domain/errors.ts'
import type { Log } from '../ports/log.ts'
import { afterMemory } from '../view/changes.ts'
import { type AgentView, JUST_STARTED } from '../view/view.ts'
import { Agent } from '../workflow/agent.ts'
import { AgentRestart } from '../workflow/perform/restart-agent.ts'
import { readConfigOrShow } from './refusal.ts'
import { logCollectionOf, ownReporterOf } from './twin-parts.ts'
import { version } from './version.ts'

export interface RunOptions {
  readonly config: string
  /** Puts journald priorities in front of log lines. */
  readonly journald: boolean
  /** A file with the image's note, if provisioning refused the owner's files. */
  readonly refused: string
}

/** EX_SOFTWARE of sysexits(3): a bug in the agent. */
const EXIT_SOFTWARE = 70

class Stopped extends Error {}

/** `pi-adu run`: runs the agent until a signal stops it. */
export async function run({ config: file, journald, refused }: RunOptions): Promise<void> {
  const config = await readConfigOrShow(file)
  const log = jsonLog(journald, secretsIn(config))
  preloadHub()
  await lockDataFolder(config.dataFolder)
  for (const why of config.warnings) log.warn('config.ignored', { why })
  leanMqtt()
  const stop = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort(new Stopped(name)))
  // Thrown where nothing could catch it. The note about the current work stays, see CrashGuard.
  process.once('uncaughtException', error => {
    log.error('agent.crashed', { why: messageOf(error), stack: error.stack })
    process.exit(EXIT_SOFTWARE)
  })
  const time = timeFloorOf(config, log)
  const publisher = new Publisher(log, {
    secrets: secretsIn(config),
    first: startOf(existsSync(refused)),
    facts: () => ({ time: { trusted: time.behind() === 0 } }),
  })
  const gates = localGatesOf(config, time)
  const made = await portsOf(config, log, publisher, time, gates, () => agent.beat())
  const journal = new RememberingJournal(made.journal, made.boot, slotMemoryFile(config), log, memory =>
    publisher.change(view => afterMemory(view, memory)),
  )
  const own = await ownReporterOf(config, log)
  const logs = logCollectionOf(file, config, log, stop.signal)
  const options = await optionsOf(config, log, time)
  const local = localOriginOf(config, made)
  const twin = { ...options.twin, parts: [own, logs] }
  const agent: Agent = new Agent({ ...made, journal }, { ...options, twin, once: local.once })
  publisher.watch({ onView: view => own.show(view) })
  const engine = {
    wake: () => agent.wake(),
    ask: agent.ask.bind(agent),
    install: (target: string) => local.install(target),
  }
  const requests = new Requests(gates, publisher, engine, log)
  const [unwatch, built] = await Promise.all([show(file, config, publisher, requests, log), bootloaderBuilt()])
  publisher.tell({ event: 'agent.started', version: version(), system: await made.host.version(), pid: process.pid })
  const flaw = built === undefined ? undefined : eepromFlaw(built)
  if (flaw !== undefined) log.warn('eeprom.faulty', { why: flaw })
  void journal.begin(made.host)
  // A fault in it is one of the agent.
  local.watch(stop.signal).catch(error => stop.abort(error))
  const hush = tellSystemd(log, () => agent.stuck)
  try {
    await agent.run(stop.signal)
  } catch (error) {
    if (!(error instanceof Stopped || error instanceof AgentRestart)) throw error
    publisher.tell({ event: 'agent.stopped', signal: error.message })
    await logs.end()
  } finally {
    hush()
    unwatch()
  }
}

/** The view before anything has happened. */
function startOf(configRefused: boolean): Partial<AgentView> {
  const since = uptime()
  const hub = { connected: false, since, why: JUST_STARTED }
  return { agent: { version: version(), pid: process.pid, since }, phase: 'starting', hub, configRefused }
}

/** Starts everything that shows the agent's view or takes orders: lights, state file, control socket, local page, button. Returns a function that ends it. */
async function show(
  file: string,
  config: Config,
  publisher: Publisher,
  requests: Requests,
  log: Log,
): Promise<() => void> {
  const { controlSocket, stateFile } = config.piAdu
  const lights = await playerOf(config, log, publisher)
  // Also after an error that nobody caught.
  process.once('exit', () => lights.end())
  const state = new AgentState(stateFile, log)
  const onView = (view: AgentView): void => {
    lights.see(view)
    state.show(view)
  }
  const close = await serveControl(controlSocket, publisher, requests, log)
  publisher.watch({ onView })
  onView(publisher.view)
  // Whoever presses a button does not go away.
  const { signal } = new AbortController()
  const { address } = config.piAdu.page
  // Only who wants the page loads it.
  const endPage =
    address === undefined
      ? () => {}
      : await (await import('./page.ts')).openPage(file, config, address, publisher, requests, log)
  const unlisten = await listenToButton(config, log, order => void requests.answer(order, signal))
  return () => {
    close()
    endPage()
    unlisten()
    state.end()
    lights.end()
  }
}
