import { X509Certificate } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openProvisioning } from '../dps/dps.ts'
import { openBlobs } from './blobs.ts'
import { BENCH_HOST, ensureCertificates, GUEST_VIEW, PROVISIONING_HOSTS } from './certs.ts'
import { deviceJson, twinJson } from './device-json.ts'
import { type DeviceCounters, Devices } from './devices.ts'
import { Events, type HubEvent, type HubListener, type WaitOptions } from './events.ts'
import { concerns, type Fault, Faults } from './faults.ts'
import { FileUploads } from './file-upload.ts'
import { moduleId, namesOf } from './ids.ts'
import { Jobs } from './jobs.ts'
import type { Json, JsonObject } from './json.ts'
import { type MethodAnswer, Methods } from './methods.ts'
import { mqttOverWebSocket, startMqttServer } from './mqtt-server.ts'
import { newKey, newPolicyKeys, type PolicyName } from './policies.ts'
import { preloadEnvironment } from './preload.ts'
import { queryRoutes } from './query-routes.ts'
import { startRestServer } from './rest-server.ts'
import { deviceRoutes, faultRoutes } from './routes.ts'
import { createSas } from './sas.ts'
import { Store } from './store.ts'

export type { Fault, HubEvent, HubListener, Json, JsonObject, MethodAnswer, WaitOptions }

export interface HubOptions {
  /** Where certificates, keys, devices and ports live; made if absent. One hub at a time. */
  readonly stateDir: string
  /** Absent: the port of the last run in this folder, else any free one. 0: any free one. */
  readonly mqttPort?: number
  readonly restPort?: number
  readonly log?: (line: string) => void
}

/** As the service sees it; only what tests look at is spelled out. */
export interface ServiceTwin {
  readonly deviceId: string
  readonly etag: string
  readonly version: number
  readonly connectionState: 'Connected' | 'Disconnected'
  readonly modelId: string
  readonly tags: JsonObject
  readonly properties: { readonly desired: JsonObject; readonly reported: JsonObject }
}

export type DeviceStats = Readonly<DeviceCounters>

export type BenchHub = Awaited<ReturnType<typeof startHub>>

/** A local stand-in for Azure IoT Hub: real protocols, real TLS, loopback only. */
export async function startHub({ stateDir, mqttPort, restPort, log = () => {} }: HubOptions) {
  const certificates = await ensureCertificates(join(stateDir, 'certs'))
  const fresh = { policies: newPolicyKeys(), ports: { mqtt: 0, rest: 0 } }
  const store = await Store.open(stateDir, fresh, log)
  const { policies, ports } = store.settings

  const events = new Events(log)
  const devices = new Devices(store, events)
  const methods = new Methods(devices)
  const faults = new Faults(fault => strike(fault, devices))
  const authorities = (store.settings.authorities ?? []).map(pem => new X509Certificate(pem))
  function addAuthority(certificate: string): void {
    const added = new X509Certificate(certificate)
    if (authorities.some(({ fingerprint256 }) => fingerprint256 === added.fingerprint256)) return
    authorities.push(added)
    store.settings = { ...store.settings, authorities: authorities.map(String) }
  }
  const assigned: { host?: string } = {}
  const assignedHost = () => assigned.host ?? `localhost:${mqtt.port}`
  const hosts = [BENCH_HOST, 'localhost', '127.0.0.1', '[::1]', GUEST_VIEW]
  const provisioning = await openProvisioning({
    dir: join(stateDir, 'dps'),
    hub: {
      name: BENCH_HOST,
      get address() {
        return assignedHost()
      },
      devices,
      trust: addAuthority,
    },
    faults,
    log,
  })
  const parts = {
    devices,
    methods,
    faults,
    certificates,
    hosts,
    authorities: () => authorities,
    log,
    provisioning: provisioning.doors,
  }

  const mqtt = await startMqttServer({ ...parts, port: mqttPort ?? ports.mqtt })
  const jobs = new Jobs(devices, methods, log)
  const routes = [...deviceRoutes, ...queryRoutes(jobs), ...faultRoutes]
  const onUpgrade = mqttOverWebSocket(parts)
  const blobs = await openBlobs(join(stateDir, 'blobs'), () => `https://localhost:${rest.port}`)
  const fileUploads = new FileUploads(devices, blobs, BENCH_HOST, log)
  const doors = [blobs, fileUploads, provisioning]
  const other: typeof provisioning.answer = (...call) => doors.some(door => door.answer(...call))
  const rest = await startRestServer({
    ...parts,
    port: restPort ?? ports.rest,
    policies,
    routes,
    onUpgrade,
    other,
  }).catch(async error => {
    await mqtt.close()
    throw error
  })
  store.settings = { ...store.settings, ports: { mqtt: mqtt.port, rest: rest.port } }
  await store.flush()

  const bench = {
    host: BENCH_HOST,
    names: PROVISIONING_HOSTS,
    ports: { '443': rest.port, '8883': mqtt.port },
    caFile: certificates.caFile,
  }
  const benchFile = join(stateDir, 'bench.json')
  await writeFile(benchFile, JSON.stringify(bench))
  // For `pi-adu-operator logs`.
  await writeFile(join(stateDir, 'container.url'), `${blobs.url('rcw', 7 * 86_400)}\n`, { mode: 0o600 })
  log(`hub: MQTT on ${mqtt.port}, REST on ${rest.port}`)

  const serviceConnectionString = (policy: PolicyName = 'iothubowner') =>
    `HostName=${BENCH_HOST};SharedAccessKeyName=${policy};SharedAccessKey=${policies[policy]}`

  let stopped: Promise<void> | undefined
  async function stop(): Promise<void> {
    jobs.stop()
    methods.stop()
    await Promise.all([mqtt.close(), rest.close()])
    await Promise.all([store.close(), provisioning.close()])
  }

  return {
    mqttPort: mqtt.port,
    restPort: rest.port,
    hostName: BENCH_HOST,
    caFile: certificates.caFile,
    ca: certificates.ca,
    certificates,
    /** What PI_ADU_BENCH may name instead of holding the JSON itself. */
    benchFile,

    /** Connection string of the owner's policy, for use through the preload: see `childEnvironment`. */
    serviceConnectionString: serviceConnectionString(),
    policyConnectionString: serviceConnectionString,

    /**
     * By default the official form for gateways, which needs no preload. `direct` makes the port a part of the hub's name;
     * `cloud` is the form of the cloud, for use through the preload. `webSocket` is the gateway's port for `mqtt/ws`.
     */
    deviceConnectionString(id: string, form: { direct?: boolean; cloud?: boolean; webSocket?: boolean } = {}): string {
      const record = devices.get(id)
      const { device, module } = namesOf(id)
      const names = `DeviceId=${device}${module === undefined ? '' : `;ModuleId=${module}`}`
      const byKey = record.thumbprints.length === 0 && !record.caSigned
      const key = `${names};${byKey ? `SharedAccessKey=${record.keys.primary}` : 'x509=true'}`
      if (form.direct) return `HostName=localhost:${mqtt.port};${key}`
      return `HostName=${BENCH_HOST};${key}${form.cloud ? '' : `;GatewayHostName=localhost:${form.webSocket ? rest.port : mqtt.port}`}`
    },

    /** A header for own REST calls: `https://localhost:{restPort}/…?api-version=2021-04-12`. */
    authorization(policy: PolicyName = 'iothubowner'): string {
      return createSas(BENCH_HOST, policies[policy], Date.now() / 1000 + 3600, policy)
    },

    /** `base` with the preload added, so that a Node child with unmodified SDKs finds this hub. */
    childEnvironment: (base: NodeJS.ProcessEnv = process.env) => preloadEnvironment(bench, base),

    createDevice: (id: string, credential: Credential = {}): JsonObject =>
      deviceJson(devices.create(id, identityFor(credential)), devices),
    /** Everything below that takes a device's id takes `device/module` too. */
    createModule: (device: string, module: string, credential: Credential = {}): JsonObject =>
      deviceJson(devices.create(moduleId(device, module), identityFor(credential)), devices),
    /** From now on this certificate (PEM) may sign those of devices that are `caSigned`. */
    addAuthority,
    /** The Device Provisioning Service, on the same ports. */
    provisioning,
    /** A container of a storage account, and what devices have told of their file uploads. */
    blobs,
    fileUploads: fileUploads.notices,
    /** For `provisioning.linkHub` of another bench. */
    assignable: { name: `localhost:${mqtt.port}`, address: `localhost:${mqtt.port}`, devices, trust: addAuthority },
    /** What the provisioning service tells devices: by default `localhost` and the MQTT port. */
    setAssignedHost: (host: string) => void Object.assign(assigned, { host }),
    hasDevice: (id: string) => devices.find(id) !== undefined,
    deleteDevice: (id: string) => devices.delete(id),
    /** New keys for a device, which has to connect again. */
    rotateKeys: (id: string) => void devices.updateIdentity(id, { keys: { primary: newKey(), secondary: newKey() } }),
    setStatus: (id: string, status: 'enabled' | 'disabled') => void devices.updateIdentity(id, { status }),

    getTwin: (id: string) => twinJson(devices.get(id), devices) as unknown as ServiceTwin,
    /** Merge patch; null removes. Returns the new version of desired. */
    updateDesired: (id: string, patch: JsonObject) => devices.updateTwin(id, { desired: patch }).twin.desired.version,
    updateTags: (id: string, patch: JsonObject) => void devices.updateTwin(id, { tags: patch }),
    isConnected: (id: string) => devices.link(id) !== undefined,
    isSubscribed: (id: string, filter: string) => devices.link(id)?.isSubscribed(filter) ?? false,

    /** Sends a connected device what no hub would send. */
    publishRaw: (id: string, topic: string, payload: Buffer | string) =>
      devices.link(id)?.sendRaw(topic, Buffer.from(payload)),

    /** As over REST, but with free timeouts. Rejects with HubError: its `errorCode` is 404103 or 504101. */
    invokeMethod(
      id: string,
      name: string,
      payload: Json = null,
      { responseMs = 30_000, connectMs = 0 }: { responseMs?: number; connectMs?: number } = {},
    ): Promise<MethodAnswer> {
      return methods.invoke(id, { name, payload, responseMs, connectMs })
    },

    /** Both return the function that ends it. */
    onEvent: (listener: HubListener) => events.on(listener),
    onReported(listener: (deviceId: string, patch: JsonObject, reported: JsonObject) => void) {
      return events.on(event => {
        if (event.type === 'reported') listener(event.deviceId, event.patch, event.reported)
      })
    },

    /** Resolves to the first truthy answer of `check`, which is asked now and after each event of the hub. */
    waitFor: <T>(check: () => T, options?: WaitOptions) => events.waitFor(check, options),
    waitForConnected: (id: string, options?: WaitOptions) =>
      events.waitFor(() => devices.link(id) !== undefined, { what: `${id} to connect`, ...options }),
    waitForDisconnected: (id: string, options?: WaitOptions) =>
      events.waitFor(() => devices.link(id) === undefined, { what: `${id} to disconnect`, ...options }),
    /** Resolves to the reported properties once `check` likes them. */
    waitForReported: (id: string, check: (reported: JsonObject) => boolean, options?: WaitOptions) =>
      events.waitFor(
        () => {
          const reported = devices.get(id).twin.reported.value
          return check(reported) ? reported : undefined
        },
        { what: `a report of ${id}`, ...options },
      ) as Promise<JsonObject>,

    faults,

    /** Since this hub started. */
    stats: (): ReadonlyMap<string, DeviceStats> =>
      new Map([...devices.all(), ...devices.modules()].map(({ id }) => [id, { ...devices.counters(id) }] as const)),

    /** Writes pending changes to the disk. */
    flush: () => store.flush(),

    /** Ends every connection and leaves the state complete on disk. May be called again. */
    stop(): Promise<void> {
      stopped ??= stop()
      return stopped
    },
  }
}

/** Instead of a token: a certificate with this thumbprint (hexadecimal SHA-1 or SHA-256), or one of an authority. */
interface Credential {
  readonly thumbprint?: string
  readonly caSigned?: boolean
}

const identityFor = ({ thumbprint, caSigned }: Credential) => ({
  ...(thumbprint !== undefined && { thumbprints: [thumbprint] }),
  ...(caSigned && { caSigned }),
})

function strike(fault: Fault, devices: Devices): void {
  if (fault.kind === 'forgetSessions') {
    for (const { id } of [...devices.all(), ...devices.modules()])
      if (concerns(fault, id)) devices.rememberSession(id, null)
  }
  for (const [id, link] of [...devices.links()]) {
    if (!concerns(fault, id)) continue
    if (fault.kind === 'dropSockets') link.close('fault: dropped')
    if (fault.kind === 'blackHole') link.blackHole()
    if (fault.kind === 'expireTokens') link.expireToken(fault.afterMs ?? 0)
  }
}
