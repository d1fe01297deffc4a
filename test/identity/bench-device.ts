import { DpsClient, type DpsOptions } from '../../src/adapters/dps/dps-client.ts'
import { IotHub } from '../../src/adapters/iot-hub/iot-hub.ts'
import { leanMqtt } from '../../src/adapters/iot-hub/lean-mqtt.ts'
import type { HubAuth, Identity } from '../../src/ports/identity.ts'
import type { BenchHub } from '../bench/hub/hub.ts'

// The real adapters of a device, on real sockets to the bench.

leanMqtt()
const NO_PROXY = { httpProxy: undefined, httpsProxy: undefined, noProxy: [] }
const time = { behind: () => 0, seen: async () => {}, explain: (message: string) => message }

export const byKey = (key: string): HubAuth => ({ kind: 'symmetricKey', key, keyName: undefined })

/** A client of the bench's provisioning service. */
export function dpsClient(hub: BenchHub, options: Partial<DpsOptions> = {}): DpsClient {
  return new DpsClient({
    host: `localhost:${options.protocol === 'mqtt/ws' ? hub.restPort : hub.mqttPort}`,
    idScope: hub.provisioning.idScope,
    payload: undefined,
    protocol: 'mqtt',
    ca: hub.ca,
    proxies: NO_PROXY,
    time,
    patience: 20_000,
    limit: 60_000,
    ...options,
  })
}

/** `answerTimeout`: milliseconds. */
export function hubOf(hub: BenchHub, identity: Identity, answerTimeout = 5000): IotHub {
  return new IotHub({
    identity,
    ...{ modelId: 'dtmi:test;1', productInfo: 'test', ca: hub.ca, protocol: 'mqtt', proxies: NO_PROXY, time },
    ...{ keepAliveSeconds: 60, tokenSeconds: 3600, answerTimeout },
  })
}

/** Connects, reads the twin, and closes. */
export async function connects(hub: IotHub): Promise<void> {
  const { signal: never } = new AbortController()
  const connection = await hub.connect(never)
  try {
    await connection.readTwin(never)
  } finally {
    await connection.close()
  }
}

/** Numbers from a seed (mulberry32): 0 ≤ x < 1. */
export function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
