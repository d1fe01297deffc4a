import type { X509Certificate } from 'node:crypto'
import type { IConnectPacket } from 'mqtt-packet'
import { decoded, expiryOf, isSignedBy, parseSas, resourceOf, withoutPort } from './sas.ts'
import type { DeviceRecord } from './store.ts'

/** What a good CONNECT tells. */
export interface Accepted {
  readonly device: DeviceRecord
  readonly modelId: string
  /** Milliseconds since the epoch, of the token; infinite with a certificate. */
  readonly expires: number
}

export interface ConnectContext {
  readonly hosts: readonly string[]
  readonly now: number
  readonly find: (id: string) => DeviceRecord | undefined
  /** The client's certificate, if it has shown one. Nothing about it has been checked. */
  readonly certificate: X509Certificate | undefined
}

/** Checks a CONNECT (wire format, chapter 2). A text is the reason to refuse it, for the log only: the client gets code 5. */
export function authenticate(packet: IConnectPacket, context: ConnectContext): Accepted | string {
  const [host, clientId, query, ...rest] = (packet.username ?? '').split('/')
  if (!host || !clientId || !query?.startsWith('?') || rest.length > 0) return 'malformed username'
  if (clientId !== packet.clientId) return 'client id and username differ'
  if (!context.hosts.includes(withoutPort(host))) return `unknown host ${host}`
  const parameters = new Map(
    query
      .slice(1)
      .split('&')
      .map(part => splitAt(part, '=')),
  )
  if (!parameters.has('api-version')) return 'no api-version'

  const device = context.find(clientId)
  if (!device) return 'unknown device'
  if (device.status !== 'enabled') return 'device is disabled'
  const modelId = decoded(parameters.get('model-id')) ?? ''
  const expires = packet.password
    ? byToken(packet.password.toString(), device, context)
    : byCertificate(device, context)
  return typeof expires === 'string' ? expires : { device, modelId, expires }
}

function byToken(password: string, device: DeviceRecord, { hosts, now }: ConnectContext): number | string {
  const token = parseSas(password)
  if (!token) return 'malformed token'
  const resource = resourceOf(token)
  if (!resource || !hosts.includes(resource.host) || resource.path !== `/devices/${device.id}`) {
    return 'token of another resource'
  }
  if (device.thumbprints.length > 0) return 'the device has to use its certificate'
  if (!isSignedBy(token, [device.keys.primary, device.keys.secondary])) return 'wrong signature'
  return expiryOf(token) > now ? expiryOf(token) : 'token has expired'
}

function byCertificate(device: DeviceRecord, { certificate }: ConnectContext): number | string {
  if (!certificate) return 'neither token nor certificate'
  const plain = (fingerprint: string) => fingerprint.replaceAll(':', '').toUpperCase()
  const shown = [certificate.fingerprint, certificate.fingerprint256].map(plain)
  const known = device.thumbprints.some(thumbprint => shown.includes(plain(thumbprint)))
  return known ? Number.POSITIVE_INFINITY : 'unknown certificate'
}

function splitAt(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
