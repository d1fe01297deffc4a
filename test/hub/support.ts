import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import common from 'azure-iot-common'
import device, { type Client, type Twin } from 'azure-iot-device'
import deviceMqtt from 'azure-iot-device-mqtt'
import { type BenchHub, type HubOptions, startHub } from '../bench/hub/hub.ts'
import type { Json } from '../bench/hub/json.ts'

const cleanups = new WeakMap<TestContext, (() => Promise<unknown>)[]>()

/** As `t.after`, but last registered, first run: clients end before their hub, and that before its folder. */
export function atEnd(t: TestContext, work: () => Promise<unknown>): void {
  const registered = cleanups.get(t)
  if (registered) {
    registered.unshift(work)
    return
  }
  const all = [work]
  cleanups.set(t, all)
  t.after(async () => {
    for (const each of all) await each()
  })
}

export async function tempDir(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'bench-hub-'))
  atEnd(t, () => rm(dir, { recursive: true, force: true }))
  return dir
}

/** A hub of its own for one test. A test may stop it before and start another one in the same folder. */
export async function aHub(t: TestContext, options: Partial<HubOptions> = {}): Promise<BenchHub> {
  const stateDir = options.stateDir ?? (await tempDir(t))
  const hub = await startHub({ stateDir, ...options })
  atEnd(t, () => hub.stop())
  return hub
}

/** The unmodified SDK's client, not yet open, by default without its retries. Closed after the test. */
export function aClient(
  t: TestContext,
  hub: BenchHub,
  id: string,
  connectionString = hub.deviceConnectionString(id),
  { retries = false } = {},
): Client {
  const client = device.Client.fromConnectionString(connectionString, deviceMqtt.Mqtt)
  if (!retries) client.setRetryPolicy(new common.NoRetry())
  atEnd(t, () => within(1000, client.close()).catch(() => {}))
  return client
}

/** As `aClient`, registered, open, and with its twin read. */
export async function aDevice(t: TestContext, hub: BenchHub, id: string): Promise<{ client: Client; twin: Twin }> {
  if (!hub.hasDevice(id)) hub.createDevice(id)
  const client = aClient(t, hub, id)
  await client.setOptions({ ca: hub.ca })
  await client.open()
  return { client, twin: await within(5000, client.getTwin()) }
}

/** The SDK knows only the callback form, and never settles a request whose answer is lost. */
export const report = (twin: Twin, patch: Record<string, Json>): Promise<void> =>
  within(
    5000,
    new Promise<void>((resolve, reject) => {
      twin.properties.reported.update(patch, (error: Error | null) => (error ? reject(error) : resolve()))
    }),
  )

export function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not settled within ${ms} ms`)), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

/** The desired patch of this version, as the SDK hands it out. Register before causing it. */
export const desiredPatch = (twin: Twin, version: number): Promise<Record<string, Json>> =>
  within(
    5000,
    new Promise(resolve => {
      twin.on('properties.desired', (patch: Record<string, Json>) => {
        if (patch.$version === version) resolve(patch)
      })
    }),
  )

/** All the SDK hands out from now on, the whole document first. Resolves when the hub has the subscription. */
export async function listenToDesired(twin: Twin, hub: BenchHub, id: string): Promise<Record<string, Json>[]> {
  const seen: Record<string, Json>[] = []
  twin.on('properties.desired', (patch: Record<string, Json>) => seen.push(patch))
  await hub.waitFor(() => hub.isSubscribed(id, '$iothub/twin/PATCH/properties/desired/#'))
  return seen
}
