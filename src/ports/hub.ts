import type { Contract } from './contract.ts'

/** The properties of the device twin, as received and unchecked. */
export interface Twin {
  readonly desired: unknown
  readonly reported: unknown
}

/** JSON merge patch on the reported properties. */
export type Reported = Readonly<Record<string, unknown>>

/** Connects to the hub. */
export interface Hub {
  /** One attempt; resolves when connected and subscribed. */
  connect(signal: AbortSignal): Promise<HubConnection>
}

export interface MethodAnswer {
  /** As an HTTP status; never 0. */
  readonly status: number
  readonly payload: unknown
}

/** `payload` is as received, unchecked. */
export type MethodListener = (name: string, payload: unknown) => Promise<MethodAnswer>

/** One connection. It never reconnects by itself. */
export interface HubConnection {
  /** As whom the device is connected: `device`, or `device/module`. */
  readonly name: string
  /** Reads the whole current twin. */
  readTwin(signal: AbortSignal): Promise<Twin>
  /** Resolves when the hub has accepted the patch. Safe to repeat. */
  report(patch: Reported, signal: AbortSignal): Promise<void>
  /** Called with each desired patch since the connection was made, in the order received. One listener. */
  onDesired(listener: (patch: unknown) => void): void
  /**
   * From now on `listener` answers every direct method call, whatever its name. Call it once per connection. An answer after the
   * connection was lost is dropped.
   */
  serve(listener: MethodListener): void
  /** Aborted, with a HubError as reason, once the connection is lost or closed. */
  readonly lost: AbortSignal
  close(): Promise<void>
}

/** A missing answer is a HubError too. */
export const hubContract: Contract<Hub & HubConnection> = {
  connect: ['HubError'],
  readTwin: ['HubError'],
  report: ['HubError'],
  close: [],
}
