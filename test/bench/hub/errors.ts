import { randomUUID } from 'node:crypto'

/**
 * A refusal that both doors of the hub can express: over REST as a status with Azure's error body, over MQTT as a
 * status in the answer's topic with a numeric code in its body.
 */
export class HubError extends Error {
  override readonly name = 'HubError'
  readonly status: number
  /** Azure's six-digit code: the HTTP status and three more digits. */
  readonly errorCode: number
  /** Azure's word for it, such as `DeviceNotFound`. */
  readonly reason: string

  constructor(status: number, errorCode: number, reason: string, message: string) {
    super(message)
    this.status = status
    this.errorCode = errorCode
    this.reason = reason
  }
}

export const invalidArgument = (message: string) => new HubError(400, 400004, 'ArgumentInvalid', message)
export const unauthorized = (message: string) => new HubError(401, 401002, 'IotHubUnauthorizedAccess', message)
export const deviceNotFound = (id: string) => new HubError(404, 404001, 'DeviceNotFound', `${id} is not registered`)
export const deviceOffline = () =>
  new HubError(404, 404103, 'DeviceNotOnline', 'Timed out waiting for device to connect.')
export const deviceSilent = () =>
  new HubError(504, 504101, 'GatewayTimeout', 'Timed out waiting for the response from device.')
export const preconditionFailed = () =>
  new HubError(412, 412002, 'PreconditionFailed', 'the etag does not match the current one')
export const throttled = () => new HubError(429, 429001, 'ThrottlingException', 'too many requests')

/** Anything that is not a HubError is a bug of the hub: the client sees a 500, the log sees the error itself. */
export function asHubError(error: unknown, log: (line: string) => void): HubError {
  if (error instanceof HubError) return error
  log(`bug: ${error instanceof Error ? error.stack : error}`)
  return new HubError(500, 500001, 'ServerError', 'the bench hub failed; see its log')
}

/** The body with a numeric code: every twin error over MQTT, and the inside of a failed method call over REST. */
export function codedBody(error: HubError): string {
  const timestampUtc = new Date().toISOString()
  return JSON.stringify({ errorCode: error.errorCode, trackingId: randomUUID(), message: error.message, timestampUtc })
}

/** The REST body. Method calls carry the coded body as text within it (PROTOCOL.md, "Service errors"). */
export function restBody(error: HubError): string {
  if (error.errorCode === 404103 || error.errorCode === 504101) {
    return JSON.stringify({ Message: codedBody(error), ExceptionMessage: '' })
  }
  const Message = `ErrorCode:${error.reason};${error.message}`
  return JSON.stringify({ Message, ExceptionMessage: `Tracking ID:${randomUUID()}` })
}
