import { randomBytes } from 'node:crypto'
import { deviceNotFound, HubError, invalidArgument, preconditionFailed } from './errors.ts'
import type { Events } from './events.ts'
import { isModule, namesOf } from './ids.ts'
import type { JsonObject } from './json.ts'
import { newKey } from './policies.ts'
import type { DeviceRecord, Store } from './store.ts'
import * as twins from './twin.ts'

/** A live connection, as far as the rest of the hub is concerned with it. */
export interface DeviceLink {
  isSubscribed(filter: string): boolean
  sendDesired(patch: JsonObject): void
  sendMethod(name: string, rid: string, payload: string): void
  /** For tests: any topic and bytes, as a hub that is broken or not the hub would send them, subscribed or not. */
  sendRaw(topic: string, payload: Buffer): void
  /** Ends the connection without a word; MQTT 3.1.1 has no word a server could say. */
  close(reason: string): void
  /** For faults: the connection stays, dead. */
  blackHole(): void
  /** For faults: ends the connection as if its token ran out then. */
  expireToken(afterMs: number): void
}

export interface DeviceCounters {
  connects: number
  /** Publishes by the device, and to it. */
  messagesIn: number
  messagesOut: number
}

export type IdentityUpdate = Partial<
  Pick<DeviceRecord, 'status' | 'statusReason' | 'keys' | 'thumbprints' | 'caSigned'>
>

const MAX_DEVICES = 10_000
const MAX_MODULES = 50
const ID = /^[A-Za-z0-9\-.+%_#*?!(),:=@$']{1,128}$/

/** The registry with its twins, and the connected devices. Both MQTT and REST use it. */
export class Devices {
  readonly events: Events
  readonly #store: Store
  readonly #links = new Map<string, DeviceLink>()
  readonly #counters = new Map<string, DeviceCounters>()

  constructor(store: Store, events: Events) {
    this.#store = store
    this.events = events
  }

  // --- identities

  find(id: string): DeviceRecord | undefined {
    return this.#store.get(id)
  }

  /** Throws HubError (404). */
  get(id: string): DeviceRecord {
    const record = this.#store.get(id)
    if (!record) throw deviceNotFound(id)
    return record
  }

  all(): DeviceRecord[] {
    return [...this.#store.all()].filter(({ id }) => !isModule(id))
  }

  /** Of one device, or all. */
  modules(deviceId?: string): DeviceRecord[] {
    const wanted = (id: string) => isModule(id) && (deviceId === undefined || namesOf(id).device === deviceId)
    return [...this.#store.all()].filter(({ id }) => wanted(id))
  }

  /**
   * Creates a device, or a module of a device. Throws HubError: 400 on a bad id, 403 when the hub is full, 404 when a
   * module's device is missing, 409 when the identity exists.
   */
  create(id: string, identity: IdentityUpdate & Partial<Pick<DeviceRecord, 'twin'>> = {}): DeviceRecord {
    if (!id.split('/').every(part => ID.test(part))) throw invalidArgument('not a valid device id')
    const { device, module } = namesOf(id)
    if (module !== undefined) {
      this.get(device)
      if (this.modules(device).length >= MAX_MODULES) throw tooMany('modules')
    }
    if (this.#store.get(id)) throw new HubError(409, 409001, 'DeviceAlreadyExists', `${id} is already registered`)
    if (this.#store.size >= MAX_DEVICES) throw tooMany('devices')
    const now = timestamp()
    const record: DeviceRecord = {
      id,
      generationId: String(Date.now()),
      etag: newEtag(),
      status: 'enabled',
      statusReason: null,
      statusUpdated: now,
      keys: { primary: newKey(), secondary: newKey() },
      thumbprints: [],
      modelId: '',
      connectionUpdated: NEVER,
      lastActivity: NEVER,
      twin: twins.newTwin(now),
      session: null,
      ...identity,
    }
    this.#store.put(record)
    return record
  }

  /** New credentials or a new status hold at once: the device has to connect again. */
  updateIdentity(id: string, identity: IdentityUpdate, ifMatch?: string): DeviceRecord {
    const old = this.get(id)
    checkEtag(ifMatch, old.etag)
    const record = { ...old, ...identity, etag: newEtag(), statusUpdated: timestamp() }
    this.#store.put(record)
    this.#links.get(id)?.close('identity has changed')
    if (identity.status === 'disabled') {
      for (const module of this.modules(id)) this.#links.get(module.id)?.close('the device was disabled')
    }
    return record
  }

  delete(id: string, ifMatch?: string): void {
    checkEtag(ifMatch, this.get(id).etag)
    for (const each of [id, ...this.modules(id).map(module => module.id)]) {
      this.#store.delete(each)
      this.#links.get(each)?.close('device was deleted')
      this.#counters.delete(each)
    }
  }

  // --- connections

  /** A device has one connection: an earlier one is closed. */
  connected(id: string, link: DeviceLink, modelId: string): void {
    const earlier = this.#links.get(id)
    this.#links.set(id, link)
    earlier?.close('the device has connected again')
    this.counters(id).connects += 1
    const now = timestamp()
    this.#store.put({ ...this.get(id), modelId, connectionUpdated: now, lastActivity: now })
    this.events.emit({ type: 'connected', deviceId: id })
  }

  /** Nothing happens when another connection has taken the place. */
  disconnected(id: string, link: DeviceLink): void {
    if (this.#links.get(id) !== link) return
    this.#links.delete(id)
    const record = this.#store.get(id)
    const now = timestamp()
    if (record) this.#store.put({ ...record, connectionUpdated: now, lastActivity: now })
    this.events.emit({ type: 'disconnected', deviceId: id })
  }

  link(id: string): DeviceLink | undefined {
    return this.#links.get(id)
  }

  links(): Iterable<[string, DeviceLink]> {
    return this.#links.entries()
  }

  counters(id: string): DeviceCounters {
    let counters = this.#counters.get(id)
    if (!counters) {
      counters = { connects: 0, messagesIn: 0, messagesOut: 0 }
      this.#counters.set(id, counters)
    }
    return counters
  }

  /** Remembers subscriptions beyond the connection; null forgets them. */
  rememberSession(id: string, filters: readonly string[] | null): void {
    const record = this.#store.get(id)
    if (record && (filters !== null || record.session !== null)) this.#store.put({ ...record, session: filters })
  }

  // --- twins

  /** The device's report. Throws HubError (400) and changes nothing when it breaks a limit. */
  report(id: string, patch: JsonObject): twins.Twin {
    const record = this.get(id)
    const twin = twins.patchReported(record.twin, patch, timestamp())
    this.#store.put({ ...record, twin })
    this.events.emit({ type: 'reported', deviceId: id, patch, reported: twin.reported.value })
    return twin
  }

  /** A change by the service; a subscribed device gets the patch. `ifMatch` as in the header; absent matches anything. */
  updateTwin(id: string, update: twins.TwinUpdate, ifMatch?: string, replace = false): DeviceRecord {
    const old = this.get(id)
    checkEtag(ifMatch, twinEtag(old))
    const change = (replace ? twins.replaceByService : twins.patchByService)(old.twin, update, timestamp())
    const record = { ...old, twin: change.twin }
    this.#store.put(record)
    if (change.devicePatch) this.#links.get(id)?.sendDesired(change.devicePatch)
    this.events.emit({ type: 'twinUpdated', deviceId: id })
    return record
  }
}

/** Azure's date for "never". */
const NEVER = '0001-01-01T00:00:00Z'

const tooMany = (what: string) => new HubError(403, 403004, 'MaximumDevicesExceeded', `too many ${what}`)
const timestamp = () => new Date().toISOString()
const newEtag = () => randomBytes(6).toString('base64')

/** Unquoted, as in bodies. Made of the generation too, so that a device made again does not repeat an old etag. */
export const twinEtag = ({ generationId, twin }: DeviceRecord) =>
  Buffer.from(`${generationId}.${twin.serviceVersion}`).toString('base64')

function checkEtag(ifMatch: string | undefined, etag: string): void {
  if (ifMatch === undefined || ifMatch === '*' || ifMatch === '"*"') return
  if (ifMatch.replace(/^"(.*)"$/, '$1') !== etag) throw preconditionFailed()
}
