// More than 250 lines: the only place that builds adapters, with a line for each setting that it hands on.
import { existsSync } from 'node:fs'
import { uptime } from 'node:os'
import { join } from 'node:path'
import { NoSlots } from './adapters/boot/no-slots.ts'
import { UbootEnv } from './adapters/boot/uboot-env.ts'
import { type Onboarding, REGISTRATION_LIMIT } from './adapters/dps/onboarding.ts'
import { FlightRecord, flightFiles } from './adapters/files/flight-record.ts'
import { FolderContent } from './adapters/files/folder-content.ts'
import { FileJournal } from './adapters/files/journal.ts'
import { FileKeyStore } from './adapters/files/key-store.ts'
import { TriedFile } from './adapters/files/tried-file.ts'
import { FileWorkFolder } from './adapters/files/work-folder.ts'
import { FileWorkNotes } from './adapters/files/work-notes.ts'
import { buttonLine, watchButton } from './adapters/gpio/button.ts'
import { openLights } from './adapters/gpio/lights.ts'
import { HttpContent } from './adapters/http/content.ts'
import { ConnectionStringIdentity } from './adapters/identity/connection-string.ts'
import { SlotLeftovers } from './adapters/slot/leftovers.ts'
import { StepService } from './adapters/steps/step-service.ts'
import { confinement } from './adapters/swupdate/confine.ts'
import { Swupdate } from './adapters/swupdate/swupdate.ts'
import { addressNews } from './adapters/system/addresses.ts'
import { systemClock } from './adapters/system/clock.ts'
import { SystemConditions } from './adapters/system/conditions.ts'
import { SystemHost } from './adapters/system/host.ts'
import { SystemGates } from './adapters/system/local-gates.ts'
import { TimeFloor } from './adapters/system/time-floor.ts'
import { version } from './cli/version.ts'
import { agentOf, type Config, downloadsFolder, identityFolder, journalFile, keyStoreFile } from './config/config.ts'
import { identitySettings } from './config/identity.ts'
import { HELD_TOO_LONG } from './config/sections/button.ts'
import { rangesOf } from './config/sections/content.ts'
import { lightsOf } from './config/sections/leds.ts'
import { DEFAULT_PROVISIONING_HOST } from './config/sections/provisioning.ts'
import { devicesOf, selectionsOf } from './config/sections/slots.ts'
import { Hosts } from './domain/hosts.ts'
import { gateSettingsOf, scheduleFrom } from './gates/settings.ts'
import { IMAGES_ONLY } from './handlers/capabilities.ts'
import type { Look } from './handlers/read-steps-on.ts'
import { Presses } from './lights/button.ts'
import { LightPlayer } from './lights/player.ts'
import type { Events } from './ports/events.ts'
import type { Hub } from './ports/hub.ts'
import type { Identity } from './ports/identity.ts'
import type { Log } from './ports/log.ts'
import type { Ports } from './ports/ports.ts'
import { CONTRACTS } from './sources/contracts.ts'
import { firmwareReporter } from './sources/firmware-update/report.ts'
import { watchFolder } from './sources/local/folder-watch.ts'
import { type LocalInstalls, LocalSide } from './sources/local/local-side.ts'
import { localReporter } from './sources/local/report.ts'
import type { OnceOrigins } from './sources/once-source.ts'
import { anchorsOf } from './trust/anchors.ts'
import { FIRMWARE_HOSTS } from './trust/firmware-call.ts'
import type { Terms } from './trust/terms.ts'
import type { AgentOptions } from './workflow/options.ts'
import { LAST_LOOK } from './workflow/trial-health.ts'

/** In milliseconds: below the life of a SAS token, so that a reconnect of ours always comes before a silent renewal. */
const CONNECTION_LIFETIME = 20 * 3600_000
const TOKEN_SECONDS = 24 * 3600
const ANSWER_TIMEOUT = 15_000
/** All short calls together take less. */
const SILENT_AT_MOST = 600_000
/** `limits.seconds` of the step service is at most a day, for each of a few programs. */
const STEP_AT_MOST = 4 * 86_400_000

/** What looks at the device only, and is safe beside a running agent as long as nothing is written. */
export function localPorts(config: Config, log: Log): Pick<Ports, 'boot' | 'journal' | 'host' | 'flight'> {
  const { bootState, flightFolder, health, host, kernelCommandLine, versionFile } = config.piAdu
  const flight = new FlightRecord(flightFiles(config.dataFolder, flightFolder), log)
  return {
    flight,
    boot: config.hasSlots ? new UbootEnv({ kernelCommandLine, ...bootState }) : new NoSlots(),
    journal: new FileJournal(journalFile(config), log),
    host: new SystemHost(
      {
        manufacturer: config.manufacturer,
        model: config.model,
        // An ordinary Debian need not have one.
        versionFile: config.hasSlots || existsSync(versionFile) ? versionFile : undefined,
        kernelCommandLine,
        rebootCommand: host.rebootCommand,
        failedUnits: health.failedUnits,
        checksFolder: health.checksFolder,
        checkTimeout: health.checkTimeoutSeconds * 1000,
        onCheck: (name, isGood) => flight.checked(name, isGood),
      },
      log,
    ),
  }
}

/** As whom the device connects, with only the code that this kind of identity needs. `onboarding`: undefined where nothing may be registered. */
export async function identityOf(
  config: Config,
  log: Log,
  events: Pick<Events, 'tell'>,
  onboarding?: Onboarding,
): Promise<Identity> {
  const settings = identitySettings(config)
  if (settings.kind === 'connectionString') return new ConnectionStringIdentity(() => settings.connection)
  if (settings.kind === 'identityService') {
    const { ServiceIdentity } = await import('./adapters/identity/identity-service.ts')
    return new ServiceIdentity(settings.folder)
  }
  if (settings.kind === 'certificate') {
    const { CertificateIdentity } = await import('./adapters/identity/certificate-identity.ts')
    return new CertificateIdentity(settings.connection, settings.files, log)
  }
  const { section, key, files } = settings
  const { idScope, host = DEFAULT_PROVISIONING_HOST, registrationId, issueCertificate } = section
  const { identityFromService } = await import('./adapters/identity/from-service.ts')
  const folder = identityFolder(config)
  const wanted = {
    idScope,
    host,
    key,
    files,
    registrationId,
    onboarding,
    issueCertificate: issueCertificate === true,
    folder,
  }
  return identityFromService(wanted, systemClock, log, events)
}

/** The way to the provisioning service; undefined without the section. */
async function onboardingOf(config: Config, time: TimeFloor): Promise<Onboarding | undefined> {
  const { piAdu, provisioningCa: ca, iotHubProtocol: protocol, proxies } = config
  const { idScope, host = DEFAULT_PROVISIONING_HOST, payload } = piAdu.provisioning ?? {}
  if (idScope === undefined) return undefined
  const { DpsClient } = await import('./adapters/dps/dps-client.ts')
  return new DpsClient({ host, idScope, payload, ca, protocol, proxies, time })
}

/** The SDK is most of this program, and few commands need it. */
const loadHub = () => import('./adapters/iot-hub/iot-hub.ts')

/** Begins to load what the hub needs: a start loads it while other programs are waited for. A failure shows where it is used. */
export function preloadHub(): void {
  loadHub().catch(() => {})
}

/** The hub as the configuration says, with the device's identity; nothing is connected yet. */
export async function hubOf(
  config: Config,
  identity: Identity,
  time: Pick<TimeFloor, 'behind' | 'explain' | 'seen'>,
  quiet = false,
): Promise<Hub> {
  const { IotHub } = await loadHub()
  return new IotHub({
    identity,
    modelId: CONTRACTS[config.piAdu.contract].modelId,
    productInfo: `pi-adu-agent/${version()}`,
    ca: config.hubCa,
    protocol: config.iotHubProtocol,
    proxies: config.proxies,
    keepAliveSeconds: config.piAdu.hub.keepAliveSeconds,
    tokenSeconds: TOKEN_SECONDS,
    answerTimeout: ANSWER_TIMEOUT,
    quiet,
    time,
  })
}

/** The gates that are opened and closed at the device. */
export const localGatesOf = ({ piAdu }: Config, time: TimeFloor): SystemGates =>
  new SystemGates({ ...piAdu.gates, time })

/** The adapters of a real device, as the configuration wants them. `onWait`: called by one that rightly waits for long. */
export async function portsOf(
  config: Config,
  log: Log,
  events: Events,
  time: TimeFloor,
  gates: SystemGates,
  onWait: () => void,
): Promise<Ports> {
  const { slots, swupdate, bundle, content, firmwareUpdate } = config.piAdu
  const device = devicesOf(slots)
  const keyStore = new FileKeyStore(keyStoreFile(config))
  const identity = await identityOf(config, log, events, await onboardingOf(config, time))
  const [hub, confine] = await Promise.all([hubOf(config, identity, time), confinement(swupdate.confine, log)])
  return {
    ...localPorts(config, log),
    conditions: new SystemConditions({ ...config.piAdu.gates, time, held: () => gates.held }),
    hub,
    workNotes: new FileWorkNotes(join(config.dataFolder, 'work.json'), config.piAdu.kernelCommandLine, log),
    steps: new StepService({ socket: config.piAdu.steps.socket, keyStore, clock: systemClock }),
    workFolder: new FileWorkFolder(downloadsFolder(config), log),
    leftovers: new SlotLeftovers({ file: join(config.dataFolder, 'leftover'), device }, log),
    keyStore,
    content: new FolderContent(
      new HttpContent(
        {
          ca: config.contentCa,
          ...config.proxies,
          stall: content.stallSeconds * 1000,
          hosts: {
            twin: twinHosts(config),
            method: new Hosts(FIRMWARE_HOSTS, firmwareUpdate.allowedHosts),
            local: localHosts(config),
          },
        },
        log,
      ),
      content.stallSeconds * 1000,
    ),
    installer: new Swupdate(
      {
        certificate: swupdate.certificate,
        hardware: swupdate.hardware,
        selection: selectionsOf(slots),
        device,
        compare: slots.compareBeforeWrite,
        keyFile: swupdate.keyFile,
        writable: swupdate.writable,
        confine,
        allow: bundle.allow,
        onWait,
        stall: swupdate.stallSeconds * 1000,
      },
      log,
    ),
    clock: systemClock,
    events,
    log,
  }
}

/** The lights of this board. */
export async function playerOf({ piAdu: { leds, gates } }: Config, log: Log, events: Events): Promise<LightPlayer> {
  const off = leds.off.length > 0 ? await scheduleFrom(leds.off, gates.timeZone) : undefined
  return new LightPlayer(await openLights(lightsOf(leds), log), systemClock, events, { off, uptime })
}

/** What a button orders; the same as over the control socket. */
type Order =
  | { readonly do: Exclude<Config['piAdu']['button']['short'], 'identify' | 'none'> }
  | { readonly do: 'identify'; readonly seconds: number }

/** Seconds in which the lights say that a press was long enough; and in which they show the device. */
const [NOTICED, IDENTIFIED] = [3, 60]

/** Listens to the button of this board, if there is one. Returns a function that ends it. */
export async function listenToButton({ piAdu }: Config, log: Log, order: (order: Order) => void): Promise<() => void> {
  const { gpio, short, long, longSeconds, ...rest } = piAdu.button
  const line = gpio === undefined ? undefined : await buttonLine({ gpio, ...rest }, log)
  if (!line) return () => {}
  const ordering = (what: typeof short) => () => {
    if (what === 'identify') order({ do: what, seconds: IDENTIFIED })
    else if (what !== 'none') order({ do: what })
  }
  const options = {
    ...{ long: longSeconds * 1000, tooLong: HELD_TOO_LONG * 1000 },
    onShort: ordering(short),
    onHeld: () => long !== 'none' && order({ do: 'identify', seconds: NOTICED }),
    onLong: ordering(long),
  }
  return watchButton(line, isPressed => new Presses(isPressed, systemClock, options), log)
}

export async function optionsOf(config: Config, log: Log, time: TimeFloor): Promise<AgentOptions> {
  const { trust, hub, content, health, host, firmwareUpdate, reboot, swupdate, local } = config.piAdu
  const { manufacturer, model, additionalDeviceProperties: additional } = agentOf(config)
  for (const { kid } of trust.rootKeys) log.warn('trust.extra-root-key', { kid })
  const network = addressNews(systemClock)
  const fetch = {
    ...rangesOf(content),
    bytesPerSecond: content.maxBytesPerSecond,
    timeout: config.downloadTimeoutInMinutes * 60_000,
    network,
  }
  const contract = CONTRACTS[config.piAdu.contract]
  return {
    twin: {
      contract,
      device: {
        manufacturer,
        model,
        additional,
        compatPropertyNames: config.compatPropertyNames,
        agentVersion: version(),
      },
      trust: {
        anchors: anchorsOf(trust.rootKeys),
        ...termsOf(config),
        steps: { ...IMAGES_ONLY, images: config.hasSlots },
        look: lookOf(config),
        fetch,
        onTime: at => time.raise(at),
      },
      connectionLifetime: CONNECTION_LIFETIME,
      network,
      spread: hub.spreadSeconds * 1000,
    },
    fetch,
    downgrade: { ...trust, allowLocalDowngrade: local.allowDowngrade },
    gates: await gateSettingsOf(config.piAdu.gates),
    pulse: {
      limit: SILENT_AT_MOST,
      allowed: {
        'hub.connect': REGISTRATION_LIMIT + SILENT_AT_MOST,
        'content.get': content.stallSeconds * 1000 + SILENT_AT_MOST,
        // The step service ends its programs in time; the agent only waits.
        'steps.run': STEP_AT_MOST,
        'workFolder.write': content.stallSeconds * 1000 + SILENT_AT_MOST,
        // A stall of the network, then of SWUpdate, which the installer ends; or the write-back of all that a card has not taken yet.
        'installer.install':
          content.stallSeconds * 1000 + Math.max(swupdate.stallSeconds * 1000 + SILENT_AT_MOST, 3 * SILENT_AT_MOST),
        'host.findings': health.timeoutSeconds * 1000 + LAST_LOOK + SILENT_AT_MOST,
      },
    },
    trial: { timeout: health.timeoutSeconds * 1000, retry: health.retrySeconds * 1000 },
    rebootPatience: host.rebootPatienceSeconds * 1000,
    methods: { firmwareUpdate: { ...firmwareUpdate, enabled: firmwareUpdate.enabled && config.hasSlots }, reboot },
    reporters: {
      local: localReporter(contract.installed),
      deviceUpdate: contract.reporter,
      firmwareUpdate: firmwareReporter(firmwareUpdate.stageSeconds * 1000, {
        percent: firmwareUpdate.progressPercent,
        every: firmwareUpdate.progressSeconds * 1000,
      }),
    },
  }
}

/** What this machine knows about the time; says so when the clock is certainly wrong. */
export function timeFloorOf(config: Config, log: Log): TimeFloor {
  const time = new TimeFloor(join(config.dataFolder, 'clock'), process.argv[1] ?? '', log)
  if (time.behind() > 0) log.warn('clock.behind', { why: time.explain('the clock is wrong') })
  return time
}

/** What this device lets steps do that are not images. Loaded when a deployment has one. */
export const lookOf =
  ({ piAdu }: Config): Look =>
  async (components, signal) =>
    (await import('./steps/look.ts')).lookAt(piAdu.steps.settings)(components, signal)

/** What deployments must be meant for. */
export function termsOf(config: Config): Omit<Terms, 'ring'> {
  const { manufacturer, model, additionalDeviceProperties } = agentOf(config)
  const properties = { manufacturer, model, ...additionalDeviceProperties }
  const { compatibility, providers } = config.piAdu.trust
  return { compatibility, providers, properties, hosts: twinHosts(config) }
}

export interface LocalOrigin extends LocalInstalls {
  readonly once: OnceOrigins
  /** Installs what appears in the watched folder, if there is one, until `signal` aborts; rejects with its reason. */
  watch(signal: AbortSignal): Promise<void>
}

/** What somebody at the device brings. `install` may be called once the agent has been made with `once`. */
export function localOriginOf(config: Config, ports: Ports): LocalOrigin {
  const tried = new TriedFile(join(config.dataFolder, 'local-tried.json'), ports.log)
  const policy = { allowBundles: config.piAdu.local.allowBundles, hosts: localHosts(config) }
  let side: LocalSide | undefined
  const installs: LocalInstalls = {
    busy: () => (side ? side.busy() : STARTING),
    remember: async () => side?.remember(),
    forget: async () => side?.forget(),
    install: async (...given) => (await side?.install(...given)) ?? { is: 'refused', why: STARTING, code: '' },
  }
  const { folder } = config.piAdu.local
  return {
    ...installs,
    once: { local: loop => (side = new LocalSide({ ...ports, tried }, policy, loop)) },
    async watch(signal) {
      if (folder !== undefined) await watchFolder(folder, installs, ports, signal)
    },
  }
}

const STARTING = 'the agent is just starting'

const localHosts = ({ piAdu }: Config): Hosts => new Hosts('piAdu.local.allowedHosts', piAdu.local.allowedHosts)

const twinHosts = ({ piAdu }: Config): Hosts => new Hosts('piAdu.content.allowedHosts', piAdu.content.allowedHosts)
