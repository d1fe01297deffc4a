import { HubError, messageOf } from './domain/errors.ts'
import { redactAll } from './domain/redact.ts'
import type { Clock, Hub, HubConnection, Log, MethodListener, Reported } from './ports.ts'
import { backOff } from './workflow/back-off.ts'
import { mergePatch } from './workflow/merge-patch.ts'

export interface HubLinkOptions {
  /** A connection older than this, in milliseconds, is replaced: SAS tokens end, and a reconnect reads the twin anew. */
  readonly connectionLifetime: number
  /** Called with each new connection, once the twin was read. */
  readonly onConnected: (reported: unknown) => Promise<void>
  /** Called with the whole desired properties: on each connection, and as `isNews` after each change. */
  readonly onDesired: (desired: unknown, isNews: boolean) => void
  /** Called when a connection has ended. */
  readonly onLost: () => void
  /** Answers direct methods: from the moment on that `onDesired` was called. */
  readonly onMethod: MethodListener
}

/** The direct methods of the tutorials from before Device Update. */
const METHODS = ['firmwareUpdate', 'reboot']

/** A connection that lasted this long did work: the next failure starts with a short wait again. */
const STABLE_AFTER = 60_000

/**
 * Keeps one connection to the hub alive, for ever: connect, read the twin, follow its patches, start over when anything
 * looks wrong. A Client serves for one connection, see `adapters/iot-hub.ts`.
 */
export class HubLink {
  readonly #hub: Hub
  readonly #clock: Clock
  readonly #log: Log
  readonly #options: HubLinkOptions
  #connection: HubConnection | undefined

  constructor(hub: Hub, clock: Clock, log: Log, options: HubLinkOptions) {
    this.#hub = hub
    this.#clock = clock
    this.#log = log
    this.#options = options
  }

  /** Connected, and the twin was read over this connection. */
  get connected(): boolean {
    return this.#connection !== undefined
  }

  /** Errors: HubError when there is no connection, or no answer; HubRejection. */
  async report(patch: Reported, signal: AbortSignal): Promise<void> {
    if (!this.#connection) throw new HubError('not connected to the hub')
    // Every report passes here, and a twin is read by many.
    await this.#connection.report(redactAll(patch), signal)
  }

  /** Runs until `signal` aborts. */
  async run(signal: AbortSignal): Promise<never> {
    let failures = 0
    for (;;) {
      const begun = this.#clock.monotonic()
      try {
        await this.#once(signal)
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof HubError)) throw error
        failures = this.#clock.monotonic() - begun > STABLE_AFTER ? 1 : failures + 1
        const pause = backOff(failures, this.#clock)
        this.#log.warn('hub.lost', { why: error.message, retryInMs: Math.round(pause) })
        await this.#clock.sleep(pause, signal)
        continue
      }
      failures = 0
    }
  }

  /** One connection, from its start to its end. Returns when it was replaced on purpose. */
  async #once(signal: AbortSignal): Promise<void> {
    const connection = await this.#hub.connect(signal)
    const lifetime = AbortSignal.any([signal, connection.lost])
    try {
      let twin = await connection.readTwin(lifetime)
      let desired = twin.desired
      let reread = Promise.resolve()
      connection.onDesired(patch => {
        const merged = mergePatch(desired, patch)
        if (versionOf(merged) === versionOf(desired) + 1) {
          desired = merged
          this.#options.onDesired(desired, true)
        } else if (versionOf(merged) > versionOf(desired)) {
          // A patch was missed: only the whole document helps.
          reread = reread.then(async () => {
            twin = await connection.readTwin(lifetime)
            desired = twin.desired
            this.#options.onDesired(desired, true)
          })
          reread.catch(error => this.#log.warn('hub.reread-failed', { why: messageOf(error) }))
        }
      })
      this.#connection = connection
      this.#log.info('hub.connected')
      await this.#options.onConnected(twin.reported)
      this.#options.onDesired(desired, false)
      connection.serve(METHODS, this.#options.onMethod)
      await this.#clock.sleep(this.#options.connectionLifetime * (0.9 + this.#clock.random() / 10), lifetime)
    } catch (error) {
      throw connection.lost.aborted && !signal.aborted ? connection.lost.reason : error
    } finally {
      this.#connection = undefined
      this.#options.onLost()
      await connection.close()
    }
  }
}

function versionOf(desired: unknown): number {
  const version = (desired as { $version?: unknown } | undefined)?.$version
  return typeof version === 'number' ? version : 0
}
