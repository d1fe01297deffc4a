import { isUtf8 } from 'node:buffer'
import type { Devices } from './devices.ts'
import { deviceOffline, deviceSilent, HubError, invalidArgument } from './errors.ts'
import type { Json } from './json.ts'
import { METHOD_CALLS } from './topics.ts'

export interface MethodCall {
  readonly name: string
  readonly payload: Json
  /** How long to wait for an answer. */
  readonly responseMs: number
  /** How long to wait for the device to connect and to subscribe to methods; 0 fails at once. */
  readonly connectMs: number
}

export interface MethodAnswer {
  readonly status: number
  readonly payload: Json
}

const MAX_PAYLOAD_BYTES = 128 * 1024
const MAX_PENDING = 10_000

interface Pending {
  readonly deviceId: string
  readonly settle: (answer: MethodAnswer | HubError) => void
}

/** Direct methods: the calls that are under way, found again by request id when the answer comes. */
export class Methods {
  readonly #devices: Devices
  readonly #pending = new Map<string, Pending>()
  #lastRid = 0

  constructor(devices: Devices) {
    this.#devices = devices
  }

  /** Rejects with HubError: 404 unknown, 404103 not connected, 504101 no answer in time, 400 bad call. */
  async invoke(deviceId: string, call: MethodCall): Promise<MethodAnswer> {
    if (!/^[^/?#+\0]{1,100}$/.test(call.name)) throw invalidArgument('not a valid method name')
    const payload = JSON.stringify(call.payload ?? null)
    if (Buffer.byteLength(payload) > MAX_PAYLOAD_BYTES) throw invalidArgument('the payload is above 128 KB')
    if (this.#pending.size >= MAX_PENDING) throw new HubError(429, 429001, 'ThrottlingException', 'too many calls')
    await this.#online(deviceId, call.connectMs)

    return await new Promise((resolve, reject) => {
      this.#lastRid += 1
      const rid = this.#lastRid.toString(16)
      const settle = (answer: MethodAnswer | HubError) => {
        clearTimeout(timer)
        this.#pending.delete(rid)
        if (answer instanceof HubError) reject(answer)
        else resolve(answer)
      }
      // A lost connection does not end the wait: the cloud does not know either whether the method ran.
      const timer = setTimeout(() => settle(deviceSilent()), call.responseMs)
      this.#pending.set(rid, { deviceId, settle })
      this.#devices.link(deviceId)?.sendMethod(call.name, rid, payload)
    })
  }

  /** An answer nobody waits for (any more), or to another device's call, is dropped. */
  answered(deviceId: string, rid: string, status: number, body: Buffer): void {
    const pending = this.#pending.get(rid)
    if (pending?.deviceId === deviceId) pending.settle(toAnswer(status, body))
  }

  /** At the end of the hub: no call stays open. */
  stop(): void {
    for (const { settle } of [...this.#pending.values()]) settle(deviceSilent())
  }

  async #online(deviceId: string, connectMs: number): Promise<void> {
    const ready = () => this.#devices.get(deviceId) && this.#devices.link(deviceId)?.isSubscribed(METHOD_CALLS)
    if (ready()) return
    if (connectMs <= 0) throw deviceOffline()
    try {
      await this.#devices.events.waitFor(ready, { timeoutMs: connectMs })
    } catch (error) {
      throw error instanceof HubError ? error : deviceOffline()
    }
  }
}

function toAnswer(status: number, body: Buffer): MethodAnswer | HubError {
  const bad = (message: string) => new HubError(502, 502001, 'InvalidResponse', message)
  if (body.length > MAX_PAYLOAD_BYTES) return bad('the answer of the device is above 128 KB')
  if (!isUtf8(body)) return bad('the answer of the device is not UTF-8')
  try {
    return { status, payload: body.length === 0 ? null : JSON.parse(body.toString()) }
  } catch {
    return bad('the answer of the device is not JSON')
  }
}
