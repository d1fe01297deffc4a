import { isObject, type Json, type JsonObject } from '../hub/json.ts'

/** `azureDeviceUpdateAgent.client` as reported (PROTOCOL.md, "Contract of 2021"). */
export interface Client2021 {
  readonly state?: number
  readonly resultCode?: number
  readonly extendedResultCode?: number
  readonly installedUpdateId?: string
}

export interface Order2021 {
  /** As `installedUpdateId` has it. */
  readonly updateId: string
  readonly manifest: string
  readonly signature: string
  readonly fileUrls: Readonly<Record<string, string>>
}

export type End2021 = 'applied' | 'failed' | 'cancelled'

const COMPONENT = 'azureDeviceUpdateAgent'
export const ACTION = { download: 0, install: 1, apply: 2, cancel: 255 } as const
const STATE = { idle: 0, downloaded: 2, installed: 4, failed: 255 } as const

/** A desired patch. */
export const order2021 = (service: JsonObject): JsonObject => ({ [COMPONENT]: { __t: 'c', service } })

const CANCEL = order2021({
  action: ACTION.cancel,
  updateManifest: null,
  updateManifestSignature: null,
  fileUrls: null,
})

export const clientOf = (reported: Json): Client2021 => (componentOf(reported).client as Client2021 | undefined) ?? {}

/** The desired `$version` that the device has acknowledged last. */
export const acknowledged2021 = (reported: Json): number => {
  const { av } = (componentOf(reported).service as { av?: number } | undefined) ?? {}
  return av ?? 0
}

const componentOf = (reported: Json): JsonObject => {
  const component = isObject(reported) ? reported[COMPONENT] : undefined
  return isObject(component) ? component : {}
}

/**
 * The service of 2021 with one device: it orders each phase when the report of the one before is there, removes the URLs after
 * the download, and answers a failure with a cancel.
 */
export class Orchestrator2021 {
  readonly #order: Order2021
  readonly #send: (patch: JsonObject) => number
  /** What was ordered last, and the desired version of that order. */
  #ordered: { readonly action: number; readonly version: number } | undefined
  #failure: Client2021 | undefined
  #end: End2021 | undefined
  #wasCancelled = false

  /** `send` changes the desired properties and returns their version. */
  constructor(order: Order2021, send: (patch: JsonObject) => number) {
    this.#order = order
    this.#send = send
  }

  /** How it ended, once the device is idle again. */
  get end(): End2021 | undefined {
    return this.#end
  }

  /** What the device reported with its failure. */
  get failure(): Client2021 | undefined {
    return this.#failure
  }

  get action(): number | undefined {
    return this.#ordered?.action
  }

  /** The operator's cancel. */
  cancel(): void {
    if (this.#end || this.#wasCancelled) return
    this.#wasCancelled = true
    this.#give(ACTION.cancel, CANCEL)
  }

  /** Called with the reported properties, again and again. */
  look(reported: Json): void {
    const client = clientOf(reported)
    if (this.#end) return
    if (!this.#ordered) this.#download(client)
    // What the device says before it knows the order is about something else.
    else if (acknowledged2021(reported) >= this.#ordered.version) this.#next(client)
  }

  #next(client: Client2021): void {
    const { action } = this.#ordered!
    const { state, installedUpdateId } = client
    if (action === ACTION.cancel) {
      if (state !== STATE.idle) return
      if (this.#failure) this.#end = 'failed'
      else if (this.#wasCancelled) this.#end = 'cancelled'
      else this.#download(client)
      return
    }
    if (state === STATE.failed) {
      this.#failure = client
      this.#give(ACTION.cancel, CANCEL)
    } else if (state === STATE.idle && installedUpdateId === this.#order.updateId) this.#end = 'applied'
    else if (action === ACTION.download && state === STATE.downloaded) {
      this.#send(order2021({ fileUrls: null }))
      this.#give(ACTION.install, order2021({ action: ACTION.install }))
    } else if (action === ACTION.install && state === STATE.installed) {
      this.#give(ACTION.apply, order2021({ action: ACTION.apply }))
    }
  }

  /** A device that is not idle is made so first. */
  #download({ state }: Client2021): void {
    const { manifest, signature, fileUrls } = this.#order
    const service = { action: ACTION.download, updateManifest: manifest, updateManifestSignature: signature, fileUrls }
    const isIdle = state === undefined || state === STATE.idle
    this.#give(isIdle ? ACTION.download : ACTION.cancel, isIdle ? order2021(service) : CANCEL)
  }

  #give(action: number, patch: JsonObject): void {
    this.#ordered = { action, version: this.#send(patch) }
  }
}
