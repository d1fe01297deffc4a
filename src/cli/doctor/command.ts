import { isLocked } from '../../adapters/files/data-lock.ts'
import { leanMqtt } from '../../adapters/iot-hub/lean-mqtt.ts'
import { systemStorage } from '../../adapters/slot/storage.ts'
import { programs } from '../../adapters/system/exec.ts'
import type { TimeFloor } from '../../adapters/system/time-floor.ts'
import { hubOf, identityOf, localPorts, timeFloorOf } from '../../compose.ts'
import type { Config } from '../../config/config.ts'
import { lightsOf } from '../../config/sections/leds.ts'
import { devicesOf } from '../../config/sections/slots.ts'
import { askForView, ControlError } from '../../control/client.ts'
import { AgentError, ConfigError, messageOf } from '../../domain/errors.ts'
import { redact } from '../../domain/redact.ts'
import { jsonText } from '../../domain/terminal.ts'
import type { Hub } from '../../ports/hub.ts'
import type { Identity } from '../../ports/identity.ts'
import { SILENT } from '../../ports/log.ts'
import { readCheckedConfig } from '../refusal.ts'
import { type Finding, fail, ok, skip, warn } from './finding.ts'
import { deviceCertificate } from './identity.ts'
import { checksFolder, clock, dataFolder, eeprom, lights, power, temperature, versionFile } from './machine.ts'
import { hubName, login, running, wlan } from './network.ts'
import { steps } from './steps.ts'
import { findingsText } from './text.ts'
import { bootState, certificate, confined, slots, swupdate } from './update.ts'

/**
 * `pi-adu doctor`: checks everything that an update needs, and says how to fix what is wrong. Changes nothing; works with or
 * without a running agent. Exit code 1 when a check fails.
 */
export async function doctor({ config: file, json }: { config: string; json: boolean }): Promise<void> {
  const findings: Finding[] = []
  for await (const finding of examine(file)) {
    findings.push(finding)
    if (!json) process.stdout.write(findingsText([finding]))
  }
  if (json) process.stdout.write(`${jsonText(findings)}\n`)
  process.exitCode = findings.some(({ is }) => is === 'fail') ? 1 : 0
}

/** Quick checks come first: a network failure may take a minute. */
export async function* examine(file: string): AsyncGenerator<Finding> {
  const config = await readCheckedConfig(file).catch(error => {
    if (error instanceof ConfigError) return error
    throw error
  })
  if (config instanceof ConfigError) {
    yield fail('configuration', redact(config.message), 'Correct the file; pi-adu check-config looks at it alone.')
    yield await temperature()
    return yield await power()
  }
  for (const why of config.warnings) yield warn('configuration', why, 'Remove or correct the setting.')
  if (config.warnings.length === 0) yield ok('configuration', file)
  const time = timeFloorOf(config, SILENT)
  yield clock(time)
  yield await dataFolder(config.dataFolder)
  yield await temperature()
  yield await power()
  yield await eeprom()
  yield* await wlan(programs)
  const { leds, versionFile: version } = config.piAdu
  yield await lights(lightsOf(leds))
  if (config.hasSlots) yield await versionFile(version)
  yield* installation(config)
  const found = await steps(config.piAdu.steps)
  if (found) yield found
  // Without slots there is no trial that could fail.
  if (config.hasSlots) yield* health(config)
  yield* await deviceCertificate(config)
  const view = await askForView(config.piAdu.controlSocket).catch(error => {
    if (error instanceof ControlError) return error
    throw error
  })
  // The socket may be missing though an agent runs: it could not be made, or the setting has changed since.
  const isAbsent = view instanceof ControlError && view.kind === 'absent'
  const isRunning = !isAbsent || (await isLocked(config.dataFolder))
  // Registers nothing: only the agent does that, and it would be billed.
  const identity = await identityOf(config, SILENT, { tell() {} })
  try {
    const { hub, gateway = hub } = await identity.get(NEVER)
    yield await hubName(gateway.replace(/:\d+$/, ''), config.proxies.httpsProxy !== undefined)
  } catch (error) {
    yield fail('identity', messageOf(error), 'Start the agent, which registers the device.')
    if (!isRunning) return
  }
  leanMqtt()
  if (!(view instanceof ControlError)) yield running(view)
  else if (isRunning)
    yield skip('hub', isAbsent ? 'an agent runs, and has no control socket to be asked on' : view.message)
  else yield await login(await readOnlyHub(config, identity, time))
}

/** Connects without a trace on the device: its files belong to the agent's user, and root's would stop the agent. */
function readOnlyHub(config: Config, identity: Identity, time: TimeFloor): Promise<Hub> {
  const lookedAt: Identity = {
    get: signal => identity.get(signal),
    tried: async () => {},
    ordered: async () => undefined,
  }
  const clock = { behind: () => time.behind(), explain: (text: string) => time.explain(text), seen: async () => {} }
  return hubOf(config, lookedAt, clock, true)
}

async function* installation(config: Config): AsyncGenerator<Finding> {
  const { slots: section, swupdate: settings } = config.piAdu
  if (!config.hasSlots) {
    yield ok(
      'slots',
      'none: this device takes packages and scripts, no images; images need piAdu.slots and a boot state',
    )
    return
  }
  const { boot } = localPorts(config, SILENT)
  const [finding, state] = await bootState(boot)
  yield finding
  yield await slots(devicesOf(section), state?.booted, systemStorage)
  yield await swupdate()
  yield await certificate(settings.certificate)
  yield await confined(settings.confine)
}

/** The findings that would make a new system fall back, if this were its trial. */
async function* health(config: Config): AsyncGenerator<Finding> {
  const { checksFolder: folder, checkTimeoutSeconds } = config.piAdu.health
  const missing = await checksFolder(folder)
  if (missing?.is === 'fail') return yield missing
  const { host } = localPorts(config, SILENT)
  try {
    const findings = await host.findings(NEVER, [], 2000 * checkTimeoutSeconds)
    for (const each of findings) yield warn('health', each, 'Fix it: a new system with this falls back.')
    if (findings.length === 0) yield missing ?? ok('health', 'no unit has failed, and all your checks pass')
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    yield skip('health', error.message)
  }
}

const NEVER = new AbortController().signal
