import type { JsonObject } from './json.ts'

/** What happens in the hub, for tests and tools that watch it. */
export type HubEvent =
  | { readonly type: 'connected' | 'disconnected' | 'subscribed'; readonly deviceId: string }
  /** `patch` as the device sent it, `reported` as it stands now. */
  | { readonly type: 'reported'; readonly deviceId: string; readonly patch: JsonObject; readonly reported: JsonObject }
  | { readonly type: 'twinRead' | 'twinUpdated'; readonly deviceId: string }
  /** Before it is answered. */
  | {
      readonly type: 'request'
      readonly deviceId: string
      readonly kind: 'twinGet' | 'twinPatch' | 'methodAnswer'
      readonly rid: string
    }
  | { readonly type: 'telemetry'; readonly deviceId: string; readonly properties: string; readonly body: Buffer }

export type HubListener = (event: HubEvent) => void

export interface WaitOptions {
  /** Default 10 s. */
  readonly timeoutMs?: number
  /** Named in the error when the time is over. */
  readonly what?: string
}

export class Events {
  readonly #listeners = new Set<HubListener>()
  readonly #log: (line: string) => void

  constructor(log: (line: string) => void) {
    this.#log = log
  }

  /** Returns the function that ends it. */
  on(listener: HubListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** A listener that throws is its own trouble, not the hub's. */
  emit(event: HubEvent): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event)
      } catch (error) {
        this.#log(`a listener of ${event.type} threw: ${error}`)
      }
    }
  }

  /** Resolves to the first truthy answer of `check`, asked now and after each event; rejects after the timeout. */
  waitFor<T>(check: () => T, { timeoutMs = 10_000, what = 'a condition' }: WaitOptions = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      let off = () => {}
      const timer = setTimeout(() => {
        off()
        reject(new Error(`waited ${timeoutMs} ms in vain for ${what}`))
      }, timeoutMs)
      const look = () => {
        let answer: T
        try {
          answer = check()
        } catch (error) {
          reject(error)
          clearTimeout(timer)
          off()
          return
        }
        if (!answer) return
        resolve(answer)
        clearTimeout(timer)
        off()
      }
      off = this.on(look)
      look()
    })
  }
}
