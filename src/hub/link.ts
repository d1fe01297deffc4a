import { HubError, messageOf } from '../domain/errors.ts'
import { redactAll } from '../domain/redact.ts'
import type { HubConnection, MethodListener, Reported } from '../ports/hub.ts'
import type { Network } from '../ports/network.ts'
import type { Ports } from '../ports/ports.ts'
import { backOff } from '../timing/back-off.ts'
import { type RetryPolicy, retrying } from '../timing/retrying.ts'
import { mergePatch } from './merge-patch.ts'
import type { TwinPart } from './twin-part.ts'

type LinkPorts = Pick<Ports, 'hub' | 'clock' | 'log' | 'events'>

export interface HubLinkOptions {
  /** Milliseconds until a connection is replaced: SAS tokens expire, and a reconnect reads the whole twin again. */
  readonly connectionLifetime: number
  /** Called on each new connection, after the twin was read. */
  readonly onConnected: (reported: unknown) => Promise<void>
  /** Called with all desired properties: on each connection, and with `isNews` after each change. */
  readonly onDesired: (desired: unknown, isNews: boolean) => void
  /** Called when a connection has ended. */
  readonly onLost: () => void
  /** Answers direct methods, once `onDesired` was called. */
  readonly onMethod: MethodListener
  /** After its news the next attempt comes soon. */
  readonly network?: Network | undefined
  /** What else the twin holds. */
  readonly parts?: readonly TwinPart[]
}

/** Milliseconds: after a connection that lasted this long, the next failure starts with a short wait again. */
const STABLE_AFTER = 60_000

/** Bugs of ours in a row, one per connection, after which the process ends to be restarted: after about half an hour. */
const MAX_FAULTS = 12

/**
 * Keeps a connection to the hub: connects, reads the twin, follows its patches, and starts over when anything looks wrong. Each
 * connection has a new Client, see `adapters/iot-hub/iot-hub.ts`.
 */
export class HubLink {
  readonly #ports: LinkPorts
  readonly #options: HubLinkOptions
  #connection: HubConnection | undefined
  #wasConnected = false
  #faults = 0

  constructor(ports: LinkPorts, options: HubLinkOptions) {
    this.#ports = ports
    this.#options = options
  }

  /** Whether it was connected at any time since this process began. */
  get wasConnected(): boolean {
    return this.#wasConnected
  }

  /** Whether the device is connected and the twin was read over this connection. */
  get connected(): boolean {
    return this.#connection !== undefined
  }

  /** Errors: HubError when there is no connection, or no answer; HubRejection. */
  async report(patch: Reported, signal: AbortSignal): Promise<void> {
    if (!this.#connection) throw new HubError('not connected to the hub')
    // Every report passes here, and many people can read a twin.
    await this.#connection.report(redactAll(patch), signal)
  }

  /** Runs until `signal` aborts. */
  async run(signal: AbortSignal): Promise<never> {
    const watch = this.#options.network?.watch()
    const policy: RetryPolicy = {
      hasWorked: milliseconds => milliseconds > STABLE_AFTER,
      pause: (error, failures) => {
        if (!(error instanceof HubError)) this.#fault(error)
        else this.#faults = 0
        return backOff(failures, this.#ports.clock)
      },
      news: (_, stop) => watch?.(stop),
      onRetry: (error, pause) => {
        this.#ports.events.tell({ event: 'hub.lost', why: messageOf(error), retryInMs: Math.round(pause) })
      },
    }
    for (;;) {
      await retrying(() => this.#once(signal), policy, this.#ports.clock, signal)
      this.#faults = 0
    }
  }

  /**
   * Input from the hub triggered a bug. A running installation goes on. If the bug repeats, the state of this process may be the
   * cause, so it ends, and a new one may do better.
   */
  #fault(error: unknown): void {
    this.#ports.log.error('hub.bug', { why: messageOf(error), stack: (error as Error)?.stack })
    this.#faults += 1
    if (this.#faults >= MAX_FAULTS) throw error
  }

  #onDesired(desired: unknown, isNews: boolean): void {
    this.#options.onDesired(desired, isNews)
    this.#each(part => part.onDesired(desired))
  }

  #each(call: (part: TwinPart) => void): void {
    for (const part of this.#options.parts ?? []) {
      try {
        call(part)
      } catch (error) {
        this.#ports.log.error('twin.part-failed', { why: messageOf(error), stack: (error as Error)?.stack })
      }
    }
  }

  /** One connection, from start to end. Returns when its lifetime is over. */
  async #once(signal: AbortSignal): Promise<void> {
    const connection = await this.#ports.hub.connect(signal)
    const behind = new AbortController()
    const lifetime = AbortSignal.any([signal, connection.lost, behind.signal])
    try {
      const twin = await connection.readTwin(lifetime)
      let desired = twin.desired
      let reread = Promise.resolve()
      const follow = (patch: unknown): void => {
        const merged = mergePatch(desired, patch)
        if (versionOf(merged) === versionOf(desired) + 1) {
          desired = merged
          this.#onDesired(desired, true)
        } else if (versionOf(merged) > versionOf(desired)) {
          // A patch was missed, so the whole document must be read.
          reread = reread.then(async () => {
            ;({ desired } = await connection.readTwin(lifetime))
            this.#onDesired(desired, true)
          })
          // This connection will not get the missed patch; the next one begins with a read.
          reread.catch(error => {
            const why = `a patch was missed, and reading the twin again failed: ${messageOf(error)}`
            behind.abort(error instanceof HubError ? new HubError(why, { cause: error }) : error)
          })
        }
      }
      connection.onDesired(patch => {
        try {
          follow(patch)
        } catch (error) {
          behind.abort(error)
        }
      })
      this.#connection = connection
      this.#wasConnected = true
      this.#ports.events.tell({ event: 'hub.connected' })
      await this.#options.onConnected(twin.reported)
      const send = (patch: Reported): Promise<void> => this.report(patch, lifetime)
      this.#each(part => part.onConnected(twin.reported, send, connection.name))
      this.#onDesired(desired, false)
      connection.serve(this.#options.onMethod)
      await this.#ports.clock.sleep(
        this.#options.connectionLifetime * (0.9 + this.#ports.clock.random() / 10),
        lifetime,
      )
    } catch (error) {
      throw connection.lost.aborted && !signal.aborted ? connection.lost.reason : error
    } finally {
      this.#connection = undefined
      this.#options.onLost()
      this.#each(part => part.onLost())
      await connection.close()
    }
  }
}

function versionOf(desired: unknown): number {
  const version = (desired as { $version?: unknown } | undefined)?.$version
  return typeof version === 'number' ? version : 0
}
