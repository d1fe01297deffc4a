import { join } from 'node:path'
import { systemClock } from './adapters/clock.ts'
import { SystemHost } from './adapters/host.ts'
import { HttpContent } from './adapters/http.ts'
import { IotHub } from './adapters/iot-hub.ts'
import { FileJournal } from './adapters/journal.ts'
import { FileKeyStore } from './adapters/key-store.ts'
import { openLeds } from './adapters/leds.ts'
import { SlotLeftovers } from './adapters/leftovers.ts'
import { Swupdate } from './adapters/swupdate.ts'
import { TimeFloor } from './adapters/time-floor.ts'
import { UbootEnv } from './adapters/uboot-env.ts'
import type { AgentOptions } from './agent.ts'
import { type Config, DEFAULT_DOWNLOAD_MINUTES, journalFile, keyStoreFile } from './config.ts'
import { ConfigError } from './domain/errors.ts'
import { secretsOf } from './domain/redact.ts'
import type { Log, Ports } from './ports.ts'
import { MIN_KEY_BITS, rsaKey } from './trust/keys.ts'
import type { Terms } from './trust/order.ts'
import type { Anchors } from './trust/root-key-package.ts'
import { PRODUCTION_ROOT_KEYS, type RootKey } from './trust/root-keys.ts'
import { version } from './version.ts'
import { MODEL_ID } from './workflow/report.ts'

/** In milliseconds: below the life of a SAS token, so that a reconnect of ours always comes before a silent renewal. */
const CONNECTION_LIFETIME = 20 * 3600_000
const TOKEN_SECONDS = 24 * 3600
const ANSWER_TIMEOUT = 15_000

/** What looks at the device only, and is safe beside a running agent as long as nothing is written. */
export function localPorts(config: Config, log: Log): Pick<Ports, 'boot' | 'journal' | 'host'> {
  const { bootState, health, host, kernelCommandLine, versionFile } = config.piAdu
  return {
    boot: new UbootEnv({ kernelCommandLine, ...bootState }),
    journal: new FileJournal(journalFile(config), log),
    host: new SystemHost(
      {
        manufacturer: config.manufacturer,
        model: config.model,
        versionFile,
        rebootCommand: host.rebootCommand,
        failedUnits: health.failedUnits,
        checksFolder: health.checksFolder,
        checkTimeout: health.checkTimeoutSeconds * 1000,
      },
      log,
    ),
  }
}

/** The adapters of a real device, as the configuration wants them. */
export async function portsOf(config: Config, log: Log, time: TimeFloor): Promise<Ports> {
  const { slots, swupdate, hub, content, leds } = config.piAdu
  const agent = main(config)
  const device = { a: slots.a?.device ?? '/dev/pi-adu/a', b: slots.b?.device ?? '/dev/pi-adu/b' }
  return {
    ...localPorts(config, log),
    hub: new IotHub({
      connectionString: agent.connectionSource.connectionData,
      modelId: MODEL_ID,
      productInfo: `pi-adu-agent/${version()}`,
      ca: config.hubCa,
      keepAliveSeconds: hub.keepAliveSeconds,
      tokenSeconds: TOKEN_SECONDS,
      answerTimeout: ANSWER_TIMEOUT,
      time,
    }),
    leftovers: new SlotLeftovers({ file: join(config.dataFolder, 'leftover'), device }, log),
    keyStore: new FileKeyStore(keyStoreFile(config)),
    content: new HttpContent({ ca: config.contentCa, ...config.proxies, stall: content.stallSeconds * 1000 }),
    installer: new Swupdate(
      {
        certificate: swupdate.certificate,
        hardware: swupdate.hardware,
        selection: { a: slots.a?.selection ?? 'stable,a', b: slots.b?.selection ?? 'stable,b' },
        device,
        compare: slots.compareBeforeWrite,
      },
      log,
    ),
    indicator: await openLeds({ green: leds.green, red: leds.red, activeLow: leds.activeLow }, log),
    clock: systemClock,
    log,
  }
}

export function optionsOf(config: Config, log: Log, time: TimeFloor): AgentOptions {
  const { trust, hub, content, health, host, firmwareUpdate, reboot } = config.piAdu
  const { manufacturer, model, additionalDeviceProperties: additional } = main(config)
  for (const { kid } of trust.rootKeys) log.warn('trust.extra-root-key', { kid })
  const fetch = {
    rangeBytes: content.rangeBytes ?? 1 << 20,
    mostRangeBytes: content.rangeBytes ?? 16 << 20,
    bytesPerSecond: content.maxBytesPerSecond,
    timeout: (config.downloadTimeoutInMinutes || DEFAULT_DOWNLOAD_MINUTES) * 60_000,
  }
  return {
    twin: {
      device: {
        manufacturer,
        model,
        additional,
        compatPropertyNames: config.compatPropertyNames,
        agentVersion: version(),
      },
      trust: { anchors: anchorsOf(trust.rootKeys), ...termsOf(config), fetch, onTime: at => time.raise(at) },
      connectionLifetime: CONNECTION_LIFETIME,
      spread: hub.spreadSeconds * 1000,
    },
    fetch,
    downgrade: trust,
    trial: { timeout: health.timeoutSeconds * 1000, retry: health.retrySeconds * 1000 },
    rebootPatience: host.rebootPatienceSeconds * 1000,
    methods: { firmwareUpdate, reboot },
    firmware: {
      stage: firmwareUpdate.stageSeconds * 1000,
      progress: { percent: firmwareUpdate.progressPercent, every: firmwareUpdate.progressSeconds * 1000 },
    },
  }
}

/** What this machine knows about the time; says so when the clock is certainly wrong. */
export function timeFloorOf(config: Config, log: Log): TimeFloor {
  const time = new TimeFloor(join(config.dataFolder, 'clock'), process.argv[1] ?? '', log)
  if (time.behind() > 0) log.warn('clock.behind', { why: time.explain('the clock is wrong') })
  return time
}

/** What no log may show. */
export const secretsIn = (config: Config): readonly string[] =>
  config.agents.flatMap(({ connectionSource }) => secretsOf(connectionSource.connectionData))

/** What deployments must be meant for. */
export function termsOf(config: Config): Omit<Terms, 'ring'> {
  const { manufacturer, model, additionalDeviceProperties } = main(config)
  const properties = { manufacturer, model, ...additionalDeviceProperties }
  return { compatibility: config.piAdu.trust.compatibility, properties }
}

/** Errors: ConfigError for a key that could never verify anything. */
export function anchorsOf(configured: readonly RootKey[]): Anchors {
  for (const { kid, n, e } of configured) {
    if (!rsaKey(n, e)) throw new ConfigError(`root key ${kid}: n and e are no RSA key of at least ${MIN_KEY_BITS} bits`)
  }
  return { builtIn: PRODUCTION_ROOT_KEYS, configured }
}

/** Only the first entry is used (protocol, chapter 7.1). */
function main({ agents }: Config): Config['agents'][number] {
  const [first] = agents
  if (!first) throw new Error('a checked configuration has an agent')
  return first
}
