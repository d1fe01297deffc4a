import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Blobs } from './blobs.ts'
import type { Devices } from './devices.ts'
import { asHubError, HubError, invalidArgument, restBody } from './errors.ts'
import { readBody, send } from './rest-server.ts'
import { decoded, expiryOf, isSignedBy, parseSas, resourceOf } from './sas.ts'

/** What a device has told of an upload. */
export interface UploadNotice {
  readonly deviceId: string
  readonly blob: string
  readonly isSuccess: boolean
  readonly statusCode: number
  readonly statusDescription: string
}

const PATH = /^\/devices\/([^/]+)\/files(?:\/notifications(?:\/([^/]+))?)?\/?$/

/** File upload of IoT Hub, for devices with a key: asks for a place, uploads, tells how that went. */
export class FileUploads {
  readonly #devices: Devices
  readonly #blobs: Blobs
  readonly #host: string
  readonly #log: (line: string) => void
  readonly #open = new Map<string, { readonly deviceId: string; readonly blob: string }>()
  readonly notices: UploadNotice[] = []

  constructor(devices: Devices, blobs: Blobs, host: string, log: (line: string) => void) {
    this.#devices = devices
    this.#blobs = blobs
    this.#host = host
    this.#log = log
  }

  /** True when it has taken the request. */
  answer(request: IncomingMessage, response: ServerResponse, path: string): boolean {
    const [, id, correlation] = PATH.exec(path) ?? []
    const deviceId = decoded(id)
    if (deviceId === undefined || request.method !== 'POST') return false
    this.#respond(request, deviceId, path.includes('/notifications'), decoded(correlation)).then(
      body => send(response, body === undefined ? { status: 204 } : { status: 200, body }),
      error => {
        const refusal = asHubError(error, this.#log)
        send(response, { status: refusal.status, text: restBody(refusal) })
      },
    )
    return true
  }

  async #respond(request: IncomingMessage, deviceId: string, isNotice: boolean, correlation: string | undefined) {
    const token = parseSas(request.headers.authorization ?? '')
    const { keys, status } = this.#devices.get(deviceId)
    const isTheirs = token && resourceOf(token)?.path === `/devices/${encodeURIComponent(deviceId)}`
    if (
      !isTheirs ||
      !isSignedBy(token, [keys.primary, keys.secondary]) ||
      expiryOf(token) < Date.now() ||
      status !== 'enabled'
    ) {
      throw new HubError(401, 401002, 'IotHubUnauthorizedAccess', 'Unauthorized')
    }
    const body = ((await readBody(request)) ?? {}) as Readonly<Record<string, unknown>>
    if (!isNotice) return this.#begin(deviceId, body.blobName)
    const correlationId = correlation ?? String(body.correlationId)
    const { blob } = this.#open.get(correlationId) ?? {}
    if (blob === undefined) throw new HubError(400, 400004, 'ArgumentInvalid', 'unknown correlation id')
    this.#open.delete(correlationId)
    const { isSuccess, statusCode, statusDescription } = body
    const notice = {
      isSuccess: isSuccess === true,
      statusCode: Number(statusCode),
      statusDescription: String(statusDescription),
    }
    this.notices.push({ deviceId, blob, ...notice })
    return undefined
  }

  #begin(deviceId: string, blobName: unknown) {
    if (typeof blobName !== 'string' || blobName === '') throw invalidArgument('blobName is missing')
    if (this.#open.size >= 10) throw new HubError(403, 403006, 'DeviceMaximumActiveFileUploadLimitExceeded', 'too many')
    const blob = `${deviceId}/${blobName}`
    const correlationId = randomUUID()
    this.#open.set(correlationId, { deviceId, blob })
    const { container, sas } = this.#blobs
    return {
      ...{ correlationId, hostName: this.#host, containerName: container, blobName: blob },
      sasToken: sas('rcw', { blob }),
    }
  }
}
